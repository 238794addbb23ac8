//! A range of IPv4 addresses, as networks and rules name them.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

/// A range of addresses, `10.0.0.0/16`; always its first address and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr(Ipv4Net);

/// Not a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a range of IPv4 addresses, such as 10.0.0.0/16")]
pub struct BadCidr(String);

impl Cidr {
    /// All addresses.
    pub const ALL: Self = Self(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));

    /// The one address.
    pub fn host(address: Ipv4Addr) -> Self {
        Self(Ipv4Net::from(address))
    }

    /// The first address.
    pub fn first(self) -> Ipv4Addr {
        self.0.network()
    }

    /// The last address.
    pub fn last(self) -> Ipv4Addr {
        self.0.broadcast()
    }

    /// Bits that all its addresses have in common, 0 to 32.
    pub fn prefix(self) -> u8 {
        self.0.prefix_len()
    }

    /// How many addresses there are.
    pub fn size(self) -> u64 {
        1 << (32 - self.prefix())
    }

    /// The address so many after the first; `None` past the last.
    pub fn nth(self, number: u32) -> Option<Ipv4Addr> {
        let address = u32::from(self.first()).checked_add(number)?;
        let address = Ipv4Addr::from(address);
        self.contains(address).then_some(address)
    }

    /// Whether `address` is one of them.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        self.0.contains(&address)
    }

    /// Whether all of `other` are among them.
    pub fn covers(self, other: Self) -> bool {
        self.0.contains(&other.0)
    }

    /// Whether the two have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

impl FromStr for Cidr {
    type Err = BadCidr;

    /// Takes an address in the range for its first, as EC2 does: 100.68.0.18/18
    /// is 100.68.0.0/18. An address alone is a range of one.
    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let bad = || BadCidr(text.chars().take(40).collect());
        if let Ok(address) = text.parse() {
            return Ok(Self::host(address));
        }
        let net: Ipv4Net = text.parse().map_err(|_| bad())?;
        Ok(Self(net.trunc()))
    }
}

impl TryFrom<String> for Cidr {
    type Error = BadCidr;

    fn try_from(text: String) -> Result<Self, BadCidr> {
        text.parse()
    }
}

impl From<Cidr> for IpNet {
    fn from(cidr: Cidr) -> Self {
        cidr.0.into()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_begins_where_its_length_says() {
        assert_eq!(cidr("100.68.0.18/18").to_string(), "100.68.0.0/18");
        assert_eq!(cidr("10.1.2.3").to_string(), "10.1.2.3/32");
        assert_eq!(cidr("0.0.0.0/0"), Cidr::ALL);
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0/16",
            "fd00::/8",
            "10.0.0.0/-1",
            "x",
        ] {
            let error = bad.parse::<Cidr>().unwrap_err().to_string();
            assert!(
                error.contains("is not a range of IPv4 addresses"),
                "{error}"
            );
        }
        let long = "1".repeat(10_000);
        assert!(long.parse::<Cidr>().unwrap_err().to_string().len() < 120);
    }

    #[test]
    fn ranges_cover_and_overlap() {
        let (wide, narrow) = (cidr("10.0.0.0/8"), cidr("10.9.0.0/16"));
        assert!(wide.covers(narrow) && !narrow.covers(wide));
        assert!(wide.overlaps(narrow) && narrow.overlaps(wide));
        assert!(!narrow.overlaps(cidr("10.10.0.0/16")));
        assert!(Cidr::ALL.covers(wide) && Cidr::ALL.contains(Ipv4Addr::BROADCAST));
        assert_eq!((Cidr::ALL.size(), narrow.size()), (1 << 32, 1 << 16));
    }

    #[test]
    fn addresses_are_counted_from_the_first() {
        let range = cidr("10.0.0.240/28");
        assert_eq!(range.nth(1), Some(Ipv4Addr::new(10, 0, 0, 241)));
        assert_eq!(range.nth(15), Some(range.last()));
        assert_eq!(range.nth(16), None);
        assert_eq!(cidr("255.255.255.240/28").nth(u32::MAX), None);
    }
}
