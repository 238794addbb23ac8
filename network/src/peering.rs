//! A cable from one network to another, by which packets go from addresses of the one
//! to addresses of the other and nowhere else (EC2, "VPC peering"): there is one for
//! a pair of networks at most, their addresses do not overlap, and nobody gets by way
//! of the other network to a third, or outside. Both networks need routes to it.
//!
//! The cable's ends have link-local addresses (RFC 3927) after those of
//! [uplinks](crate::uplink), which nobody but the two networks knows.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::id::{Id, OfPeering, OfVpc};
use crate::name::Name;

/// How long packets may be that go by a peering, in bytes.
pub const MTU: u16 = 1500;

/// What the names of the cable's ends begin with, and those of no other interface of
/// a network.
pub const LINK_PREFIX: &str = "via";

/// The longest name of an interface (IFNAMSIZ less its end).
const LONGEST_NAME: usize = 15;

const FIRST: Ipv4Addr = Ipv4Addr::new(169, 254, 128, 0);

/// Pairs of addresses up to 169.254.167.255.
const COUNT: u16 = 40 * 128;

/// A peering, as one of its networks has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peering {
    /// What machines call it: the same in both networks.
    pub id: Id<OfPeering>,
    /// The other network.
    pub peer: Id<OfVpc>,
    /// What its switch is called.
    pub peer_name: Name,
    /// Its addresses.
    pub cidr: Cidr,
    /// The cable.
    pub cable: Cable,
    /// Which end of it is this network's.
    pub end: End,
}

/// A cable, by its number: no other peering of either network has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Cable(u16);

/// An end of a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The one with the lower address.
    Lower,
    /// The other.
    Upper,
}

/// Not the number of a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not the number of a peering's cable, which is below {COUNT}")]
pub struct BadCable(u16);

impl Peering {
    /// What its end is called in each network.
    pub fn link(&self) -> String {
        let digits = self.id.digits();
        format!(
            "{LINK_PREFIX}{}",
            &digits[..LONGEST_NAME - LINK_PREFIX.len()]
        )
    }

    /// The address of this network's end.
    pub fn own(&self) -> Ipv4Addr {
        self.cable.address(self.end)
    }

    /// The address of the other end, the next hop of what goes there.
    pub fn next_hop(&self) -> Ipv4Addr {
        self.cable.address(self.end.other())
    }
}

impl End {
    /// The one that is not this one.
    pub fn other(self) -> Self {
        match self {
            Self::Lower => Self::Upper,
            Self::Upper => Self::Lower,
        }
    }
}

impl Cable {
    /// The first that is not `taken`.
    pub fn free(taken: &[Self]) -> Option<Self> {
        let mut all = (0..COUNT).map(Self);
        all.find(|cable| !taken.contains(cable))
    }

    fn address(self, end: End) -> Ipv4Addr {
        let lower = u32::from(FIRST) + 2 * u32::from(self.0);
        Ipv4Addr::from(match end {
            End::Lower => lower,
            End::Upper => lower + 1,
        })
    }
}

impl TryFrom<u16> for Cable {
    type Error = BadCable;

    fn try_from(number: u16) -> Result<Self, BadCable> {
        let cable = (number < COUNT).then_some(Self(number));
        cable.ok_or(BadCable(number))
    }
}

impl From<Cable> for u16 {
    fn from(cable: Cable) -> Self {
        cable.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cables_have_addresses_of_their_own_up_to_those_of_services() {
        let last = Cable::try_from(COUNT - 1).unwrap();
        assert_eq!(last.address(End::Upper), Ipv4Addr::new(169, 254, 167, 255));
        assert!(Cable::try_from(COUNT).is_err());
        let [first, second] = [0, 1].map(|number| Cable::try_from(number).unwrap());
        assert_eq!(Cable::free(&[]), Some(first));
        assert_eq!(Cable::free(&[first]), Some(second));
        assert_eq!(second.address(End::Lower), Ipv4Addr::new(169, 254, 128, 2));
    }
}
