//! A routed network: its addresses, subnets, route tables, security groups, network
//! ACLs, ports and gateways, and the changes that can be made to it. A change that is
//! refused leaves everything as it was.

mod gateways;
mod network_acls;
mod peerings;
mod ports;
mod route_tables;
mod saved;
mod security_groups;
mod subnets;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::id::{Id, OfInternetGateway, OfPort, OfVpc};
use crate::name::Name;
use crate::nat_gateway::NatGateway;
use crate::network_acl::{self, NetworkAcl};
use crate::peering::Peering;
use crate::port::Port;
use crate::public_address::PublicAddress;
use crate::refused::Refused;
use crate::route_table::{MAIN, RouteTable};
use crate::security_group::{self, Peer, Rule, SecurityGroup};
use crate::subnet::Subnet;
use crate::traffic::Traffic;
use crate::uplink::Uplink;

pub use peerings::peer;
pub use saved::BadVpc;

/// Networks and subnets have 65,536 addresses at most and 16 at least (EC2, "VPC
/// CIDR blocks").
pub const SHORTEST_PREFIX: u8 = 16;
/// The other end.
pub const LONGEST_PREFIX: u8 = 28;

/// Security groups that a port can have: EC2's highest quota.
pub const MOST_GROUPS_OF_A_PORT: usize = 16;

/// The number of the main route table. The kernel's own are below 256.
const FIRST_TABLE: u32 = 1000;

/// Ranges that no network can have, and whose they are.
const SPECIAL: [(&str, &str); 4] = [
    ("0.0.0.0/8", "hosts that have none"),
    ("127.0.0.0/8", "each host itself"),
    (
        "169.254.0.0/16",
        "single links, and of the metadata service",
    ),
    ("224.0.0.0/3", "groups of hosts"),
];

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "saved::Saved")]
pub struct Vpc {
    /// What machines call it.
    pub id: Id<OfVpc>,
    /// Its addresses.
    pub cidr: Cidr,
    subnets: BTreeMap<Name, Subnet>,
    route_tables: BTreeMap<Name, RouteTable>,
    groups: BTreeMap<Name, SecurityGroup>,
    network_acls: BTreeMap<Name, NetworkAcl>,
    ports: BTreeMap<Id<OfPort>, Port>,
    /// The cable to the host, once there was a reason for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    uplink: Option<Uplink>,
    #[serde(skip_serializing_if = "Option::is_none")]
    internet_gateway: Option<Id<OfInternetGateway>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    nat_gateways: BTreeMap<Name, NatGateway>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    public_addresses: BTreeMap<Ipv4Addr, PublicAddress>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    peerings: BTreeMap<Name, Peering>,
}

impl Vpc {
    /// A network with `cidr`, the main route table, the default security group,
    /// whose ports may talk to each other and send anything, and the default network
    /// ACL, which lets everything pass.
    ///
    /// # Errors
    /// The addresses will not do.
    pub fn new(cidr: Cidr) -> Result<Self, Refused> {
        check_cidr(cidr)?;
        let (main, default) = (Name::own(MAIN), Name::own(security_group::DEFAULT));
        let table = RouteTable {
            id: Id::random()?,
            number: FIRST_TABLE,
            routes: BTreeMap::new(),
        };
        let mut group = SecurityGroup::new(Id::random()?, "default security group".into());
        group.inbound.insert(Rule {
            traffic: Traffic::All,
            peer: Peer::Group(default.clone()),
        });
        let acl = NetworkAcl::open(Id::random()?);
        Ok(Self {
            id: Id::random()?,
            cidr,
            subnets: BTreeMap::new(),
            route_tables: BTreeMap::from([(main, table)]),
            groups: BTreeMap::from([(default, group)]),
            network_acls: BTreeMap::from([(network_acl::default_name(), acl)]),
            ports: BTreeMap::new(),
            uplink: None,
            internet_gateway: None,
            nat_gateways: BTreeMap::new(),
            public_addresses: BTreeMap::new(),
            peerings: BTreeMap::new(),
        })
    }

    /// All subnets, by name.
    pub fn subnets(&self) -> &BTreeMap<Name, Subnet> {
        &self.subnets
    }

    /// All route tables, by name.
    pub fn route_tables(&self) -> &BTreeMap<Name, RouteTable> {
        &self.route_tables
    }

    /// All security groups, by name.
    pub fn groups(&self) -> &BTreeMap<Name, SecurityGroup> {
        &self.groups
    }

    /// All ports, by id.
    pub fn ports(&self) -> &BTreeMap<Id<OfPort>, Port> {
        &self.ports
    }

    /// The ports that have the security group `group`.
    pub fn members(&self, group: &Name) -> impl Iterator<Item = &Port> {
        let ports = self.ports.values();
        ports.filter(move |port| port.groups.contains(group))
    }

    /// The route table of a port's packets.
    ///
    /// # Panics
    /// The port is of another network.
    pub fn route_table_of(&self, port: &Port) -> &RouteTable {
        let subnet = &self.subnets[&port.subnet];
        &self.route_tables[&subnet.route_table]
    }
}

fn by(port: &Port) -> String {
    format!("{} of '{}'", port.id, port.owner)
}

fn by_gateway(name: &Name) -> String {
    format!("NAT gateway '{name}'")
}

/// Whether `cidr` can be a network's.
fn check_cidr(cidr: Cidr) -> Result<(), Refused> {
    check_size(cidr)?;
    special(cidr).map_or(Ok(()), |whose| Err(Refused::Special(cidr, whose)))
}

/// Whose `cidr` is, if not all of it can be a network's.
fn special(cidr: Cidr) -> Option<&'static str> {
    let mut ranges = SPECIAL.into_iter();
    let found = ranges.find(|(range, _)| {
        let range: Cidr = range.parse().expect("these are ranges");
        range.overlaps(cidr)
    });
    found.map(|(_, whose)| whose)
}

fn check_size(cidr: Cidr) -> Result<(), Refused> {
    let fits = (SHORTEST_PREFIX..=LONGEST_PREFIX).contains(&cidr.prefix());
    fits.then_some(()).ok_or(Refused::Size(cidr))
}

fn untaken<T>(what: &'static str, all: &BTreeMap<Name, T>, name: &Name) -> Result<(), Refused> {
    let name = name.clone();
    match all.contains_key(&name) {
        true => Err(Refused::Taken { what, name }),
        false => Ok(()),
    }
}

fn known<T>(what: &'static str, all: &BTreeMap<Name, T>, name: &Name) -> Result<(), Refused> {
    if all.contains_key(name) {
        return Ok(());
    }
    let there = all.keys().cloned().collect();
    let name = name.clone();
    Err(Refused::Unknown { what, name, there })
}

fn unused(what: &'static str, name: &Name, by: Option<String>) -> Result<(), Refused> {
    let name = name.clone();
    by.map_or(Ok(()), |by| Err(Refused::InUse { what, name, by }))
}

fn permanent(what: &'static str, name: &Name, own: &str) -> Result<(), Refused> {
    let name = name.clone();
    match name.as_str() == own {
        true => Err(Refused::Permanent { what, name }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
