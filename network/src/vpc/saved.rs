//! A network as a file has it. What is read is not trusted: it becomes a [`Vpc`],
//! which holds all that a [`Vpc`] that was made by its methods does, or is refused
//! with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::Deserialize;

use super::{FIRST_TABLE, MOST_GROUPS_OF_A_PORT, Vpc, check_cidr, check_size};
use crate::cidr::Cidr;
use crate::id::{Id, OfInternetGateway, OfPort, OfVpc};
use crate::name::Name;
use crate::nat_gateway::NatGateway;
use crate::network_acl::{self, NetworkAcl, default_name};
use crate::peering::Peering;
use crate::port::Port;
use crate::public_address::{Holder, PublicAddress};
use crate::publication::Published;
use crate::refused::Refused;
use crate::route_table::{MAIN, RouteTable};
use crate::security_group::{self, Direction, MOST_RULES, Peer, SecurityGroup};
use crate::subnet::Subnet;
use crate::uplink::Uplink;

/// The largest number of a route table: the kernel's marks and tables have 32
/// bits, and no network has as many tables.
const LAST_TABLE: u32 = 1 << 24;

/// What a file says of a network.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    id: Id<OfVpc>,
    cidr: Cidr,
    subnets: BTreeMap<Name, Subnet>,
    route_tables: BTreeMap<Name, RouteTable>,
    groups: BTreeMap<Name, SecurityGroup>,
    /// None in records from before there were any.
    network_acls: Option<BTreeMap<Name, NetworkAcl>>,
    ports: BTreeMap<Id<OfPort>, Port>,
    uplink: Option<Uplink>,
    internet_gateway: Option<Id<OfInternetGateway>>,
    #[serde(default)]
    nat_gateways: BTreeMap<Name, NatGateway>,
    #[serde(default)]
    public_addresses: BTreeMap<Ipv4Addr, PublicAddress>,
    #[serde(default)]
    peerings: BTreeMap<Name, Peering>,
}

/// Why what a file says is no network.
#[derive(Debug, thiserror::Error)]
pub enum BadVpc {
    /// The addresses will not do.
    #[error(transparent)]
    Addresses(#[from] Refused),
    /// Subnets share addresses.
    #[error("subnet '{0}' overlaps another")]
    Overlap(Name),
    /// Something names what is not there.
    #[error("{user} has {what} '{name}', which there is not")]
    Missing {
        /// Who names it.
        user: String,
        /// A subnet, a security group, a route table.
        what: &'static str,
        /// Its name.
        name: Name,
    },
    /// A route table's number is another's, or the kernel's.
    #[error("route table '{0}' has a number that it cannot have")]
    Number(Name),
    /// A route leads into the network.
    #[error("route table '{0}' has a route that it cannot have")]
    Route(Name),
    /// A port is not what its place says, or has what another has.
    #[error("port {0} has an address, a MAC address or an id that it cannot have")]
    Port(Id<OfPort>),
    /// Too few groups, or too many, or out of order.
    #[error("port {0} has security groups that it cannot have")]
    Groups(Id<OfPort>),
    /// Too many rules.
    #[error("security group '{0}' has too many rules")]
    Rules(Name),
    /// Too many rules, or the id of another.
    #[error("network ACL '{0}' has too many rules, or an id that it cannot have")]
    NetworkAcl(Name),
    /// A NAT gateway has an address that is another's, or no public one.
    #[error("NAT gateway '{0}' has addresses that it cannot have")]
    NatGateway(Name),
    /// A public address is none, or has a holder that is not there or has another.
    #[error("public address {0} is what, or has what, it cannot")]
    PublicAddress(Ipv4Addr),
    /// Two ports are published under the same number.
    #[error("port {0} has publications that it cannot have")]
    Publications(Id<OfPort>),
    /// A peering is with the network itself, or has what another has.
    #[error("peering '{0}' has a network, addresses or a cable that it cannot have")]
    Peering(Name),
    /// Something needs an uplink or an internet gateway that is not there.
    #[error("it leads outside without a way there")]
    NoWay,
}

impl TryFrom<Saved> for Vpc {
    type Error = BadVpc;

    fn try_from(saved: Saved) -> Result<Self, BadVpc> {
        let Saved {
            id,
            cidr,
            subnets,
            route_tables,
            groups,
            network_acls,
            ports,
            uplink,
            internet_gateway,
            nat_gateways,
            public_addresses,
            peerings,
        } = saved;
        // Whoever reads it says the same of it.
        let open = || (default_name(), NetworkAcl::open(Id::like(id)));
        let network_acls = network_acls.unwrap_or_else(|| [open()].into());
        let vpc = Self {
            id,
            cidr,
            subnets,
            route_tables,
            groups,
            network_acls,
            ports,
            uplink,
            internet_gateway,
            nat_gateways,
            public_addresses,
            peerings,
        };
        check_cidr(vpc.cidr)?;
        vpc.vet_groups()?;
        vpc.vet_network_acls()?;
        vpc.vet_route_tables()?;
        vpc.vet_subnets()?;
        vpc.vet_ports()?;
        vpc.vet_gateways()?;
        vpc.vet_publications()?;
        vpc.vet_peerings()?;
        Ok(vpc)
    }
}

impl Vpc {
    fn vet_groups(&self) -> Result<(), BadVpc> {
        let default = Name::own(security_group::DEFAULT);
        named("the network", "security group", &self.groups, &default)?;
        for (name, group) in &self.groups {
            for direction in [Direction::Inbound, Direction::Outbound] {
                let rules = group.rules(direction);
                if rules.len() > MOST_RULES {
                    return Err(BadVpc::Rules(name.clone()));
                }
                for rule in rules {
                    if let Peer::Group(other) = &rule.peer {
                        let user = format!("security group '{name}'");
                        named(&user, "security group", &self.groups, other)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn vet_network_acls(&self) -> Result<(), BadVpc> {
        let what = "network ACL";
        named("the network", what, &self.network_acls, &default_name())?;
        let mut ids = BTreeSet::new();
        for (name, acl) in &self.network_acls {
            let count = acl.inbound.len().max(acl.outbound.len());
            if count > network_acl::MOST_RULES || !ids.insert(acl.id) {
                return Err(BadVpc::NetworkAcl(name.clone()));
            }
        }
        for (name, subnet) in &self.subnets {
            let user = format!("subnet '{name}'");
            named(&user, what, &self.network_acls, &subnet.network_acl)?;
        }
        Ok(())
    }

    fn vet_route_tables(&self) -> Result<(), BadVpc> {
        let main = Name::own(MAIN);
        named("the network", "route table", &self.route_tables, &main)?;
        let mut numbers = BTreeSet::new();
        for (name, table) in &self.route_tables {
            let valid = (FIRST_TABLE..=LAST_TABLE).contains(&table.number);
            if !valid || !numbers.insert(table.number) {
                return Err(BadVpc::Number(name.clone()));
            }
            if table.routes.keys().any(|to| self.cidr.covers(*to)) {
                return Err(BadVpc::Route(name.clone()));
            }
        }
        Ok(())
    }

    fn vet_subnets(&self) -> Result<(), BadVpc> {
        for (name, subnet) in &self.subnets {
            let user = format!("subnet '{name}'");
            named(
                &user,
                "route table",
                &self.route_tables,
                &subnet.route_table,
            )?;
            check_size(subnet.cidr)?;
            if !self.cidr.covers(subnet.cidr) {
                let (subnet, vpc) = (subnet.cidr, self.cidr);
                return Err(Refused::Outside { subnet, vpc }.into());
            }
            let mut others = self.subnets.iter().filter(|(other, _)| *other != name);
            if others.any(|(_, other)| other.cidr.overlaps(subnet.cidr)) {
                return Err(BadVpc::Overlap(name.clone()));
            }
        }
        Ok(())
    }

    fn vet_ports(&self) -> Result<(), BadVpc> {
        let mut addresses = BTreeSet::new();
        let mut macs = BTreeSet::new();
        let mut taps = BTreeSet::new();
        for (id, port) in &self.ports {
            let user = format!("port {id}");
            named(&user, "subnet", &self.subnets, &port.subnet)?;
            let valid = port.id == *id && self.subnets[&port.subnet].offers(port.address);
            let own =
                addresses.insert(port.address) && macs.insert(port.mac) && taps.insert(port.tap());
            if !valid || !own {
                return Err(BadVpc::Port(*id));
            }
            let count = (1..=MOST_GROUPS_OF_A_PORT).contains(&port.groups.len());
            if !count || !port.groups.is_sorted_by(|a, b| a < b) {
                return Err(BadVpc::Groups(*id));
            }
            for group in &port.groups {
                named(&user, "security group", &self.groups, group)?;
            }
        }
        Ok(())
    }

    fn vet_gateways(&self) -> Result<(), BadVpc> {
        let mut private: BTreeSet<Ipv4Addr> = self.ports.values().map(|p| p.address).collect();
        for (name, gateway) in &self.nat_gateways {
            let user = format!("NAT gateway '{name}'");
            named(&user, "subnet", &self.subnets, &gateway.subnet)?;
            let valid = self.subnets[&gateway.subnet].offers(gateway.address);
            let holder = Holder::NatGateway(name.clone());
            let known = self.public_address_of(&holder).is_some();
            if !valid || !known || !private.insert(gateway.address) {
                return Err(BadVpc::NatGateway(name.clone()));
            }
        }
        let mut holders = BTreeSet::new();
        for (address, public) in &self.public_addresses {
            let is_there = |holder: &Holder| match holder {
                Holder::Port(port) => self.ports.contains_key(port),
                Holder::NatGateway(name) => self.nat_gateways.contains_key(name),
            };
            let mut holder = public.holder.iter();
            let held = holder.all(|holder| is_there(holder) && holders.insert(holder));
            if !held || self.check_public(*address).is_err() {
                return Err(BadVpc::PublicAddress(*address));
            }
        }
        match holders.is_empty() || self.internet_gateway.is_some() {
            true => Ok(()),
            false => Err(BadVpc::NoWay),
        }
    }

    fn vet_publications(&self) -> Result<(), BadVpc> {
        let mut all: Vec<&Published> = Vec::new();
        for port in self.ports.values() {
            for own in &port.published {
                let (publication, relay) = (&own.publication, own.relay);
                let meets = |other: &&Published| {
                    let same = publication.protocol == other.publication.protocol;
                    publication.overlaps(&other.publication) || (same && relay == other.relay)
                };
                if relay == 0 || all.iter().any(meets) {
                    return Err(BadVpc::Publications(port.id));
                }
                all.push(own);
            }
        }
        let leads_out = self.internet_gateway.is_some() || !all.is_empty();
        match leads_out && self.uplink.is_none() {
            true => Err(BadVpc::NoWay),
            false => Ok(()),
        }
    }

    fn vet_peerings(&self) -> Result<(), BadVpc> {
        let mut peers = BTreeSet::from([self.id]);
        let (mut cables, mut links) = (BTreeSet::new(), BTreeSet::new());
        for (name, peering) in &self.peerings {
            let own = peers.insert(peering.peer)
                && cables.insert(peering.cable)
                && links.insert(peering.link());
            if !own || peering.cidr.overlaps(self.cidr) || check_cidr(peering.cidr).is_err() {
                return Err(BadVpc::Peering(name.clone()));
            }
        }
        Ok(())
    }
}

fn named<T>(
    user: &str,
    what: &'static str,
    all: &BTreeMap<Name, T>,
    name: &Name,
) -> Result<(), BadVpc> {
    if all.contains_key(name) {
        return Ok(());
    }
    Err(BadVpc::Missing {
        user: user.into(),
        what,
        name: name.clone(),
    })
}

#[cfg(test)]
mod tests;
