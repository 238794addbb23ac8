//! The cable from a network to its host: whatever leaves the network goes by it.
//!
//! Its ends have link-local addresses (RFC 3927), which no other network of the
//! host has; nobody else gets to know them. They are found by the cable's number.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::id::{Id, OfVpc};
use crate::mac::Mac;

/// What the network's end is called there.
pub const OUT: &str = "out";

/// What the names of the hosts' ends begin with, and those of no other interface.
pub const HOST_PREFIX: &str = "plinth";

/// The longest name of an interface (IFNAMSIZ less its end).
const LONGEST_NAME: usize = 15;

/// How long packets may be that leave, or come (EC2, "Network MTU").
pub const MTU: u16 = 1500;

/// The first addresses: those before are reserved (RFC 3927 §2.1).
const FIRST: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 0);

/// Pairs of addresses up to 169.254.127.255, well before those of the metadata
/// service.
const COUNT: u16 = 127 * 128;

/// A cable, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Uplink(u16);

/// Not the number of a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not the number of an uplink, which is below {COUNT}")]
pub struct BadUplink(u16);

impl Uplink {
    /// All of them, the one that suits `vpc` first: networks that do not know of
    /// each other are to have different ones.
    pub fn all(vpc: Id<OfVpc>) -> impl Iterator<Item = Self> {
        let digits = u64::from_str_radix(&vpc.digits()[..10], 16);
        let first = digits.expect("an id has hexadecimal digits") % u64::from(COUNT);
        let first = u16::try_from(first).expect("it is below COUNT");
        (first..COUNT).chain(0..first).map(Self)
    }

    /// The address of the host's end.
    pub fn host(self) -> Ipv4Addr {
        self.address(0)
    }

    /// The address of the network's end.
    pub fn own(self) -> Ipv4Addr {
        self.address(1)
    }

    fn address(self, end: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(FIRST) + 2 * u32::from(self.0) + end)
    }

    /// The MAC address of the host's end. It is chosen here, since programs of the
    /// host change what the kernel chose (systemd.link(5), MACAddressPolicy).
    pub fn host_mac(self) -> Mac {
        Mac::local(u64::from(u32::from(self.host())))
    }
}

impl TryFrom<u16> for Uplink {
    type Error = BadUplink;

    fn try_from(number: u16) -> Result<Self, BadUplink> {
        let uplink = (number < COUNT).then_some(Self(number));
        uplink.ok_or(BadUplink(number))
    }
}

impl From<Uplink> for u16 {
    fn from(uplink: Uplink) -> Self {
        uplink.0
    }
}

/// What the host's end of the cable of `vpc` is called.
pub fn host_link(vpc: Id<OfVpc>) -> String {
    let digits = vpc.digits();
    format!(
        "{HOST_PREFIX}{}",
        &digits[..LONGEST_NAME - HOST_PREFIX.len()]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_cable_has_two_addresses_of_its_own() {
        let mut addresses = BTreeSet::new();
        let vpc = Id::random().unwrap();
        let all: Vec<Uplink> = Uplink::all(vpc).collect();
        for uplink in &all {
            assert!(addresses.insert(uplink.host()) && addresses.insert(uplink.own()));
            assert_eq!(u32::from(uplink.host()) + 1, u32::from(uplink.own()));
            assert_eq!(Uplink::try_from(u16::from(*uplink)), Ok(*uplink));
        }
        assert_eq!(all.len(), usize::from(COUNT));
        let (first, last) = (addresses.first().unwrap(), addresses.last().unwrap());
        assert_eq!(*first, FIRST);
        assert_eq!(*last, Ipv4Addr::new(169, 254, 127, 255));
        assert!(Uplink::try_from(COUNT).is_err());
        assert_eq!(host_link(vpc).len(), 15);
    }
}
