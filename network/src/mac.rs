//! The Ethernet address of a port.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The address of one interface, `02:00:00:00:00:01`: not a group's, not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

/// Not the address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the MAC address of an interface is six pairs of hexadecimal digits, 02:00:00:00:00:01, of \
     which the first is even"
)]
pub struct BadMac;

impl Mac {
    /// Of an interface that is given no other: locally administered
    /// (IEEE 802 §8.4.2), made of 40 of its own bits.
    pub fn local(bits: u64) -> Self {
        let [.., a, b, c, d, e] = bits.to_be_bytes();
        Self([0x02, a, b, c, d, e])
    }

    /// Its bytes, as on the wire.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }

    /// The IPv6 address of its interface on its link (RFC 4291 §2.5.6 and appendix A).
    pub fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        let universal = 0x02;
        let high = [0xfe, 0x80, 0, 0, 0, 0, 0, 0];
        let low = [a ^ universal, b, c, 0xff, 0xfe, d, e, f];
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&high);
        octets[8..].copy_from_slice(&low);
        Ipv6Addr::from(octets)
    }
}

impl FromStr for Mac {
    type Err = BadMac;

    fn from_str(text: &str) -> Result<Self, BadMac> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or(BadMac)?;
            let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            let value = u8::from_str_radix(part, 16);
            *octet = value.ok().filter(|_| digits).ok_or(BadMac)?;
        }
        let of_group = octets[0] & 1 == 1;
        if parts.next().is_some() || of_group || octets == [0; 6] {
            return Err(BadMac);
        }
        Ok(Self(octets))
    }
}

impl TryFrom<String> for Mac {
    type Error = BadMac;

    fn try_from(text: String) -> Result<Self, BadMac> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_has_the_address_on_its_link_that_is_made_of_its_own() {
        let mac: Mac = "34:56:78:9a:bc:de".parse().unwrap();
        // The example of RFC 2464 §4 and §5.
        let address = "fe80::3656:78ff:fe9a:bcde".parse::<Ipv6Addr>();
        assert_eq!(mac.link_local(), address.unwrap());
    }

    #[test]
    fn an_address_is_read_as_it_is_written() {
        let mac = Mac::local(0x1234_5678_9abc);
        assert_eq!(mac.to_string(), "02:34:56:78:9a:bc");
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for bad in [
            "",
            "02:0:0:0:0:1",
            "01:00:00:00:00:01",
            "00:00:00:00:00:00",
            "+2:00:00:00:00:01",
            "02:00:00:00:00:01:02",
        ] {
            assert_eq!(bad.parse::<Mac>(), Err(BadMac), "{bad}");
        }
    }
}
