//! The ports of a network, and what each has that no other may have.

use std::net::Ipv4Addr;

use super::{MOST_GROUPS_OF_A_PORT, Vpc, by, by_gateway, known};
use crate::id::{Id, OfPort};
use crate::mac::Mac;
use crate::name::Name;
use crate::port::{Port, PortWish, free_id, own_mac};
use crate::refused::Refused;
use crate::security_group;

impl Vpc {
    /// The port `id`.
    ///
    /// # Errors
    /// There is none.
    pub fn port(&self, id: Id<OfPort>) -> Result<&Port, Refused> {
        self.ports.get(&id).ok_or(Refused::UnknownPort(id))
    }

    /// The port that has `address`.
    ///
    /// # Errors
    /// There is none.
    pub fn port_at(&self, address: Ipv4Addr) -> Result<&Port, Refused> {
        let mut ports = self.ports.values();
        let found = ports.find(|port| port.address == address);
        found.ok_or(Refused::NoPortAt(address))
    }

    /// A new port of `subnet`.
    ///
    /// # Errors
    /// There is no such subnet or group; the subnet is full; or an address is
    /// taken, or cannot be a port's.
    pub fn add_port(&mut self, subnet: Name, wish: PortWish) -> Result<&Port, Refused> {
        known("subnet", &self.subnets, &subnet)?;
        let address = self.choose_address(&subnet, wish.address)?;
        let id = free_id(self.ports.keys())?;
        let mac = self.choose_mac(id, wish.mac)?;
        let mut groups = wish.groups;
        if groups.is_empty() {
            groups.push(Name::own(security_group::DEFAULT));
        }
        let groups = self.vetted(groups)?;
        let port = Port {
            id,
            subnet,
            mac,
            address,
            groups,
            source_check: true,
            owner: wish.owner,
            published: Vec::new(),
        };
        Ok(self.ports.entry(id).or_insert(port))
    }

    /// Takes a port away. Routes to it then lead nowhere, and a public address that
    /// it has is associated with nothing.
    ///
    /// # Errors
    /// There is none.
    pub fn remove_port(&mut self, id: Id<OfPort>) -> Result<Port, Refused> {
        let port = self.ports.remove(&id).ok_or(Refused::UnknownPort(id))?;
        self.free_addresses_of(id);
        Ok(port)
    }

    /// Gives a port other security groups.
    ///
    /// # Errors
    /// There is no such port or group, or they are too few or too many.
    pub fn set_groups(&mut self, id: Id<OfPort>, groups: Vec<Name>) -> Result<(), Refused> {
        let groups = self.vetted(groups)?;
        let port = self.ports.get_mut(&id).ok_or(Refused::UnknownPort(id))?;
        port.groups = groups;
        Ok(())
    }

    /// Has a port send from its own address only, or from any.
    ///
    /// # Errors
    /// There is no such port.
    pub fn set_source_check(&mut self, id: Id<OfPort>, on: bool) -> Result<(), Refused> {
        let port = self.ports.get_mut(&id).ok_or(Refused::UnknownPort(id))?;
        port.source_check = on;
        Ok(())
    }

    fn choose_address(&self, subnet: &Name, wish: Option<Ipv4Addr>) -> Result<Ipv4Addr, Refused> {
        let name = subnet;
        let subnet = &self.subnets[name];
        let Some(address) = wish else {
            return self.free_address(name);
        };
        if !subnet.offers(address) {
            return Err(Refused::BadAddress {
                address,
                subnet: name.clone(),
                cidr: subnet.cidr,
            });
        }
        match self.owner_of(address) {
            Some(by) => Err(Refused::AddressTaken { address, by }),
            None => Ok(address),
        }
    }

    /// The first address of a subnet that nobody has.
    pub(super) fn free_address(&self, subnet: &Name) -> Result<Ipv4Addr, Refused> {
        let ports = self.ports.values().map(|port| port.address);
        let gateways = self.nat_gateways.values().map(|gateway| gateway.address);
        let free = self.subnets[subnet].free(&ports.chain(gateways).collect());
        free.ok_or_else(|| Refused::Exhausted(subnet.clone()))
    }

    /// Who has `address` in the network.
    fn owner_of(&self, address: Ipv4Addr) -> Option<String> {
        let mut ports = self.ports.values();
        let port = ports.find(|port| port.address == address).map(by);
        let mut gateways = self.nat_gateways.iter();
        port.or_else(|| {
            let gateway = gateways.find(|(_, gateway)| gateway.address == address);
            gateway.map(|(name, _)| by_gateway(name))
        })
    }

    fn choose_mac(&self, id: Id<OfPort>, wish: Option<Mac>) -> Result<Mac, Refused> {
        let mac = wish.unwrap_or_else(|| own_mac(id));
        match self.ports.values().find(|port| port.mac == mac) {
            Some(port) => Err(Refused::MacTaken { mac, by: by(port) }),
            None => Ok(mac),
        }
    }

    /// Each once, in order.
    fn vetted(&self, mut groups: Vec<Name>) -> Result<Vec<Name>, Refused> {
        groups.sort();
        groups.dedup();
        if !(1..=MOST_GROUPS_OF_A_PORT).contains(&groups.len()) {
            return Err(Refused::GroupCount(groups.len()));
        }
        for group in &groups {
            known("security group", &self.groups, group)?;
        }
        Ok(groups)
    }
}
