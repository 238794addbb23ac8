//! The subnets of a network.

use super::{Vpc, by, by_gateway, check_size, known, untaken, unused};
use crate::cidr::Cidr;
use crate::id::Id;
use crate::name::Name;
use crate::network_acl;
use crate::refused::Refused;
use crate::route_table::MAIN;
use crate::subnet::Subnet;

impl Vpc {
    /// A new subnet, with the main route table and the default network ACL.
    ///
    /// # Errors
    /// The name is taken, or the addresses are, or they are not the network's.
    pub fn add_subnet(&mut self, name: Name, cidr: Cidr) -> Result<&Subnet, Refused> {
        untaken("subnet", &self.subnets, &name)?;
        check_size(cidr)?;
        if !self.cidr.covers(cidr) {
            let (subnet, vpc) = (cidr, self.cidr);
            return Err(Refused::Outside { subnet, vpc });
        }
        let mut others = self.subnets.iter();
        if let Some((other, subnet)) = others.find(|(_, subnet)| subnet.cidr.overlaps(cidr)) {
            return Err(Refused::Overlap {
                cidr,
                other: other.clone(),
                theirs: subnet.cidr,
            });
        }
        let subnet = Subnet {
            id: Id::random()?,
            cidr,
            route_table: Name::own(MAIN),
            network_acl: network_acl::default_name(),
        };
        Ok(self.subnets.entry(name).or_insert(subnet))
    }

    /// Takes a subnet away.
    ///
    /// # Errors
    /// There is none, or it has ports or a NAT gateway.
    pub fn remove_subnet(&mut self, name: &Name) -> Result<(), Refused> {
        known("subnet", &self.subnets, name)?;
        let user = self.ports.values().find(|port| port.subnet == *name);
        unused("subnet", name, user.map(by))?;
        let mut gateways = self.nat_gateways.iter();
        let user = gateways.find(|(_, gateway)| gateway.subnet == *name);
        unused("subnet", name, user.map(|(name, _)| by_gateway(name)))?;
        self.subnets.remove(name);
        Ok(())
    }
}
