//! The ways out of a network: its internet gateway, NAT gateways, public addresses,
//! and the ports of guests that are published.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::{Vpc, by, by_gateway, known, special, untaken};
use crate::cidr::Cidr;
use crate::id::{Id, OfInternetGateway, OfNatGateway, OfPort};
use crate::name::Name;
use crate::nat_gateway::NatGateway;
use crate::port::Port;
use crate::public_address::{Holder, PublicAddress};
use crate::publication::{Publication, Published};
use crate::refused::Refused;
use crate::uplink::Uplink;

/// Internet gateway.
impl Vpc {
    /// The internet gateway.
    ///
    /// # Errors
    /// There is none.
    pub fn internet_gateway(&self) -> Result<Id<OfInternetGateway>, Refused> {
        self.internet_gateway.ok_or(Refused::NoInternetGateway)
    }

    /// The cable to the host, if there is a reason for one at the moment.
    pub fn uplink(&self) -> Option<Uplink> {
        let mut ports = self.ports.values();
        let publishes = ports.any(|port| !port.published.is_empty());
        let needed = self.internet_gateway.is_some() || publishes;
        self.uplink.filter(|_| needed)
    }

    /// The cable that is the network's, whether or not there is a reason for it.
    pub fn last_uplink(&self) -> Option<Uplink> {
        self.uplink
    }

    /// A way out for those that have a public address and a route to it. It goes by
    /// `uplink`, unless the network has another.
    ///
    /// # Errors
    /// There is one.
    pub fn attach_internet_gateway(
        &mut self,
        uplink: Uplink,
    ) -> Result<Id<OfInternetGateway>, Refused> {
        if let Some(there) = self.internet_gateway {
            return Err(Refused::HasInternetGateway(there));
        }
        let id = Id::random()?;
        self.uplink.get_or_insert(uplink);
        self.internet_gateway = Some(id);
        Ok(id)
    }

    /// Takes the way out away. Routes to it then lead nowhere.
    ///
    /// # Errors
    /// There is none, or somebody has a public address.
    pub fn detach_internet_gateway(&mut self) -> Result<(), Refused> {
        self.internet_gateway()?;
        if let Some((address, holder)) = self.associations().next() {
            let by = self.called(holder);
            return Err(Refused::InternetGatewayInUse { by, address });
        }
        self.internet_gateway = None;
        Ok(())
    }
}

/// Public addresses.
impl Vpc {
    /// All public addresses, and what has them.
    pub fn public_addresses(&self) -> &BTreeMap<Ipv4Addr, PublicAddress> {
        &self.public_addresses
    }

    /// The public addresses that something has, and what.
    pub fn associations(&self) -> impl Iterator<Item = (Ipv4Addr, &Holder)> {
        let addresses = self.public_addresses.iter();
        addresses.filter_map(|(address, public)| Some((*address, public.holder.as_ref()?)))
    }

    /// The address by which `holder` is known outside.
    pub fn public_address_of(&self, holder: &Holder) -> Option<Ipv4Addr> {
        let mut associations = self.associations();
        let found = associations.find(|(_, other)| *other == holder);
        found.map(|(address, _)| address)
    }

    /// Has `address`, which no other network has, be this network's.
    ///
    /// # Errors
    /// It is already, or cannot be.
    pub fn allocate(&mut self, address: Ipv4Addr) -> Result<&PublicAddress, Refused> {
        self.check_public(address)?;
        if self.public_addresses.contains_key(&address) {
            return Err(Refused::PublicAddressExists(address));
        }
        let public = PublicAddress {
            id: Id::random()?,
            holder: None,
        };
        Ok(self.public_addresses.entry(address).or_insert(public))
    }

    /// Gives a public address up.
    ///
    /// # Errors
    /// The network does not have it, or something in it does.
    pub fn release(&mut self, address: Ipv4Addr) -> Result<(), Refused> {
        self.unassociated(address)?;
        self.public_addresses.remove(&address);
        Ok(())
    }

    /// Has a port be known outside by `address`.
    ///
    /// # Errors
    /// There is no such address or port, or either has another already, or there is
    /// no internet gateway.
    pub fn associate_address(
        &mut self,
        address: Ipv4Addr,
        port: Id<OfPort>,
    ) -> Result<(), Refused> {
        self.port(port)?;
        self.hold(address, Holder::Port(port))
    }

    /// Has nothing be known by `address`.
    ///
    /// # Errors
    /// There is no such address, or nothing has it, or a NAT gateway, which does not
    /// do without.
    pub fn disassociate_address(&mut self, address: Ipv4Addr) -> Result<(), Refused> {
        let unknown = Refused::UnknownPublicAddress(address);
        let public = self.public_addresses.get_mut(&address).ok_or(unknown)?;
        match &public.holder {
            None => Err(Refused::NotAssociated(address)),
            Some(Holder::NatGateway(gateway)) => Err(Refused::AddressOfNatGateway {
                address,
                gateway: gateway.clone(),
            }),
            Some(Holder::Port(_)) => {
                public.holder = None;
                Ok(())
            }
        }
    }

    /// Whether `address` can be public, as far as this network goes.
    pub(crate) fn check_public(&self, address: Ipv4Addr) -> Result<(), Refused> {
        let own = self.cidr.contains(address);
        let own = own.then(|| format!("the network itself, {}", self.cidr));
        let special = special(Cidr::host(address)).map(String::from);
        match own.or(special) {
            Some(whose) => Err(Refused::NotPublic { address, whose }),
            None => Ok(()),
        }
    }

    /// What a message calls `holder`.
    pub fn called(&self, holder: &Holder) -> String {
        match holder {
            Holder::Port(id) => self.ports.get(id).map_or_else(|| id.to_string(), by),
            Holder::NatGateway(name) => by_gateway(name),
        }
    }

    /// An address that the network has, and nothing in it.
    fn unassociated(&self, address: Ipv4Addr) -> Result<(), Refused> {
        let unknown = Refused::UnknownPublicAddress(address);
        let public = self.public_addresses.get(&address).ok_or(unknown)?;
        public.holder.as_ref().map_or(Ok(()), |holder| {
            let by = self.called(holder);
            Err(Refused::PublicAddressInUse { address, by })
        })
    }

    fn hold(&mut self, address: Ipv4Addr, holder: Holder) -> Result<(), Refused> {
        self.internet_gateway()?;
        self.unassociated(address)?;
        if let Some(address) = self.public_address_of(&holder) {
            let what = self.called(&holder);
            return Err(Refused::HasPublicAddress { what, address });
        }
        if let Some(public) = self.public_addresses.get_mut(&address) {
            public.holder = Some(holder);
        }
        Ok(())
    }

    fn let_go(&mut self, holder: &Holder) {
        for public in self.public_addresses.values_mut() {
            public.holder.take_if(|other| other == holder);
        }
    }

    pub(super) fn free_addresses_of(&mut self, port: Id<OfPort>) {
        self.let_go(&Holder::Port(port));
    }
}

/// NAT gateways.
impl Vpc {
    /// All NAT gateways, by name.
    pub fn nat_gateways(&self) -> &BTreeMap<Name, NatGateway> {
        &self.nat_gateways
    }

    /// The NAT gateway `id` and its name, if there is one.
    pub fn nat_gateway(&self, id: Id<OfNatGateway>) -> Option<(&Name, &NatGateway)> {
        let mut gateways = self.nat_gateways.iter();
        gateways.find(|(_, gateway)| gateway.id == id)
    }

    /// The id of the NAT gateway `name`.
    ///
    /// # Errors
    /// There is none.
    pub fn nat_gateway_named(&self, name: &Name) -> Result<Id<OfNatGateway>, Refused> {
        known("NAT gateway", &self.nat_gateways, name)?;
        Ok(self.nat_gateways[name].id)
    }

    /// A new NAT gateway in `subnet`, known outside by `public`.
    ///
    /// # Errors
    /// The name is taken; there is no such subnet, or it is full; there is no such
    /// address, or something has it; or there is no internet gateway.
    pub fn add_nat_gateway(
        &mut self,
        name: Name,
        subnet: Name,
        public: Ipv4Addr,
    ) -> Result<&NatGateway, Refused> {
        untaken("NAT gateway", &self.nat_gateways, &name)?;
        known("subnet", &self.subnets, &subnet)?;
        let gateway = NatGateway {
            id: Id::random()?,
            address: self.free_address(&subnet)?,
            subnet,
        };
        self.hold(public, Holder::NatGateway(name.clone()))?;
        Ok(self.nat_gateways.entry(name).or_insert(gateway))
    }

    /// Takes a NAT gateway away. Routes to it then lead nowhere; its public address
    /// stays the network's.
    ///
    /// # Errors
    /// There is none.
    pub fn remove_nat_gateway(&mut self, name: &Name) -> Result<(), Refused> {
        known("NAT gateway", &self.nat_gateways, name)?;
        self.nat_gateways.remove(name);
        self.let_go(&Holder::NatGateway(name.clone()));
        Ok(())
    }
}

/// Published ports.
impl Vpc {
    /// All publications, and the ports that they lead to.
    pub fn published(&self) -> impl Iterator<Item = (&Port, &Published)> {
        let ports = self.ports.values();
        ports.flat_map(|port| port.published.iter().map(move |one| (port, one)))
    }

    /// Has a port of the host, which no other network has, lead to the port `id`. It
    /// goes by `uplink`, unless the network has another.
    ///
    /// # Errors
    /// There is no such port, or the host's port leads elsewhere already.
    pub fn publish(
        &mut self,
        id: Id<OfPort>,
        publication: Publication,
        uplink: Uplink,
    ) -> Result<(), Refused> {
        self.port(id)?;
        self.check_publication(publication)?;
        let relay = self.free_relay(publication)?;
        self.uplink.get_or_insert(uplink);
        if let Some(port) = self.ports.get_mut(&id) {
            port.published.push(Published { publication, relay });
        }
        Ok(())
    }

    fn check_publication(&self, wanted: Publication) -> Result<(), Refused> {
        let mut others = self.published();
        match others.find(|(_, other)| other.publication.overlaps(&wanted)) {
            Some((port, theirs)) => Err(Refused::PublicationTaken {
                wanted,
                by: by(port),
                theirs: theirs.publication,
            }),
            None => Ok(()),
        }
    }

    /// The host's own number, unless another address of the host has it as well.
    fn free_relay(&self, wanted: Publication) -> Result<u16, Refused> {
        let taken = |relay: &u16| {
            let mut others = self.published();
            others.any(|(_, other)| {
                (other.publication.protocol, other.relay) == (wanted.protocol, *relay)
            })
        };
        let mut ports = std::iter::once(wanted.host_port).chain(1..=u16::MAX);
        let free = ports.find(|relay| !taken(relay));
        free.ok_or_else(|| Refused::Full(wanted.to_string()))
    }
}
