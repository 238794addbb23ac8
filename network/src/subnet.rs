//! A part of a network's addresses, which its ports have, and the route table
//! that their packets go by.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::id::{Id, OfSubnet};
use crate::name::Name;
use crate::network_acl::default_name;

/// Addresses at the beginning that are nobody's: the subnet's own, its router,
/// its name server and one for later (EC2, "Subnet CIDR blocks"). So is the last.
pub const RESERVED: u32 = 4;

/// A subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// What machines call it.
    pub id: Id<OfSubnet>,
    /// Its addresses.
    pub cidr: Cidr,
    /// The route table of its ports.
    pub route_table: Name,
    /// The network ACL at its border.
    #[serde(default = "default_name")]
    pub network_acl: Name,
}

impl Subnet {
    /// The router of its ports.
    pub fn router(&self) -> Ipv4Addr {
        self.reserved(1)
    }

    /// The name server of its ports.
    pub fn name_server(&self) -> Ipv4Addr {
        self.reserved(2)
    }

    fn reserved(&self, number: u32) -> Ipv4Addr {
        let address = self.cidr.nth(number);
        address.expect("a subnet has sixteen addresses at least")
    }

    /// Whether a port may have `address`.
    pub fn offers(&self, address: Ipv4Addr) -> bool {
        let first = self.reserved(RESERVED);
        self.cidr.contains(address) && address >= first && address < self.cidr.last()
    }

    /// Addresses for ports, taken ones included.
    pub fn capacity(&self) -> u64 {
        self.cidr.size() - u64::from(RESERVED) - 1
    }

    /// The first address that is not `taken`.
    pub(crate) fn free(&self, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        let addresses = (RESERVED..).map_while(|number| self.cidr.nth(number));
        let mut offered = addresses.take_while(|address| *address < self.cidr.last());
        offered.find(|address| !taken.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(cidr: &str) -> Subnet {
        Subnet {
            id: Id::random().unwrap(),
            cidr: cidr.parse().unwrap(),
            route_table: Name::own("main"),
            network_acl: default_name(),
        }
    }

    /// EC2 documents 251 of a /24.
    #[test]
    fn the_first_four_addresses_and_the_last_are_nobodys() {
        let subnet = subnet("10.0.1.0/24");
        assert_eq!(subnet.capacity(), 251);
        assert_eq!(subnet.router(), Ipv4Addr::new(10, 0, 1, 1));
        assert_eq!(subnet.name_server(), Ipv4Addr::new(10, 0, 1, 2));
        for (last, offered) in [(0, false), (3, false), (4, true), (254, true), (255, false)] {
            assert_eq!(subnet.offers(Ipv4Addr::new(10, 0, 1, last)), offered);
        }
        assert!(!subnet.offers(Ipv4Addr::new(10, 0, 2, 9)));
    }

    #[test]
    fn addresses_are_given_from_the_first_to_the_last() {
        let subnet = subnet("10.0.1.0/28");
        let mut taken = BTreeSet::new();
        while let Some(address) = subnet.free(&taken) {
            assert!(subnet.offers(address));
            assert!(taken.insert(address));
        }
        assert_eq!(taken.len() as u64, subnet.capacity());
        let freed = Ipv4Addr::new(10, 0, 1, 9);
        taken.remove(&freed);
        assert_eq!(subnet.free(&taken), Some(freed));
    }
}
