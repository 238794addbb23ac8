//! The Ethernet address of a guest's network interface.

use std::fmt;
use std::str::FromStr;

use super::Invalid;

/// A unicast Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac([u8; 6]);

/// First octet: a group address, which no interface can have (IEEE 802).
const GROUP: u8 = 1;
/// First octet: assigned locally, not by a manufacturer.
const LOCAL: u8 = 2;

impl Mac {
    /// The octets in the order of transmission.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }

    /// An address for the guest behind `tap` on the host with `host_id` that
    /// is the same at every start, so that the guest keeps its interface's
    /// name and its DHCP lease.
    pub fn derived(host_id: &str, tap: &str) -> Self {
        let hash = fnv1a(&[host_id.as_bytes(), &[0], tap.as_bytes()].concat());
        let [first, rest @ .., _, _] = hash.to_be_bytes();
        let mut octets = [0; 6];
        octets[0] = (first & !GROUP) | LOCAL;
        octets[1..].copy_from_slice(&rest);
        Self(octets)
    }
}

/// The 64-bit FNV-1a hash: stable over releases, which std's is not.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl FromStr for Mac {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refused = || {
            Invalid::new(format!(
                "'{text}' is no MAC address: it has six pairs of hexadecimal digits, such as 02:00:00:00:00:01"
            ))
        };
        let mut octets = [0; 6];
        let mut pairs = text.split(':');
        for octet in &mut octets {
            let pair = pairs.next().ok_or_else(refused)?;
            if pair.len() != 2 || !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(refused());
            }
            *octet = u8::from_str_radix(pair, 16).map_err(|_| refused())?;
        }
        if pairs.next().is_some() {
            return Err(refused());
        }
        if octets[0] & GROUP != 0 || octets == [0; 6] {
            return Err(Invalid::new(format!(
                "'{text}' cannot be an interface's address: it is zero or a group's; one such as 02:00:00:00:00:01 can"
            )));
        }
        Ok(Self(octets))
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
    use proptest::prelude::*;

    #[test]
    fn what_is_no_unicast_address_is_refused() {
        for text in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "2:0:0:0:0:1",
            "02-00-00-00-00-01",
            "0g:00:00:00:00:01",
            "+2:00:00:00:00:01",
            "01:00:5e:00:00:01",
            "ff:ff:ff:ff:ff:ff",
            "00:00:00:00:00:00",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_derived_address_depends_on_host_and_tap() {
        let mac = Mac::derived("host", "tap0");
        assert_eq!(mac, Mac::derived("host", "tap0"));
        assert_ne!(mac, Mac::derived("host", "tap1"));
        assert_ne!(mac, Mac::derived("other", "tap0"));
        assert_ne!(Mac::derived("a", "b"), Mac::derived("ab", ""));
    }

    proptest! {
        #[test]
        fn a_derived_address_is_valid_and_survives_text(host in ".{0,40}", tap in ".{0,15}") {
            let mac = Mac::derived(&host, &tap);
            prop_assert_eq!(mac.octets()[0] & 3, LOCAL);
            prop_assert_eq!(mac.to_string().parse(), Ok(mac));
        }
    }
}
