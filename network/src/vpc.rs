//! A routed network: its addresses, subnets, route tables, security groups, network
//! ACLs, ports and gateways, and the changes that can be made to it. A change that is
//! refused leaves everything as it was.

mod gateways;
mod network_acls;
mod peerings;
mod saved;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::id::{Id, OfInternetGateway, OfPort, OfVpc};
use crate::mac::Mac;
use crate::name::Name;
use crate::nat_gateway::NatGateway;
use crate::network_acl::{self, NetworkAcl};
use crate::peering::Peering;
use crate::port::{Port, PortWish, free_id, own_mac};
use crate::public_address::PublicAddress;
use crate::refused::Refused;
use crate::route_table::{MAIN, RouteTable, Target};
use crate::security_group::{self, Direction, MOST_RULES, Peer, Rule, SecurityGroup};
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

/// Subnets.
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

/// Route tables.
impl Vpc {
    /// A new route table, which leads nowhere but to the network itself.
    ///
    /// # Errors
    /// The name is taken.
    pub fn add_route_table(&mut self, name: Name) -> Result<&RouteTable, Refused> {
        untaken("route table", &self.route_tables, &name)?;
        let taken: BTreeSet<u32> = self.route_tables.values().map(|one| one.number).collect();
        let number = (FIRST_TABLE..).find(|number| !taken.contains(number));
        let table = RouteTable {
            id: Id::random()?,
            number: number.expect("there are fewer tables than numbers"),
            routes: BTreeMap::new(),
        };
        Ok(self.route_tables.entry(name).or_insert(table))
    }

    /// Takes a route table away.
    ///
    /// # Errors
    /// There is none, a subnet has it, or it is the main one.
    pub fn remove_route_table(&mut self, name: &Name) -> Result<(), Refused> {
        let what = "route table";
        known(what, &self.route_tables, name)?;
        permanent(what, name, MAIN)?;
        let mut subnets = self.subnets.iter();
        let user = subnets.find(|(_, subnet)| subnet.route_table == *name);
        unused(what, name, user.map(|(name, _)| format!("subnet '{name}'")))?;
        self.route_tables.remove(name);
        Ok(())
    }

    /// Has the packets of a subnet's ports go by `table`.
    ///
    /// # Errors
    /// There is no such table, or subnet.
    pub fn associate(&mut self, subnet: &Name, table: &Name) -> Result<(), Refused> {
        known("route table", &self.route_tables, table)?;
        known("subnet", &self.subnets, subnet)?;
        if let Some(subnet) = self.subnets.get_mut(subnet) {
            subnet.route_table = table.clone();
        }
        Ok(())
    }

    /// A new route.
    ///
    /// # Errors
    /// There is no such table or target, the table leads there already, or the
    /// network's own addresses are meant.
    pub fn add_route(
        &mut self,
        table: &Name,
        destination: Cidr,
        target: Target,
    ) -> Result<(), Refused> {
        known("route table", &self.route_tables, table)?;
        if self.cidr.covers(destination) {
            return Err(Refused::Local(destination));
        }
        match target {
            Target::Port(port) => drop(self.port(port)?),
            Target::InternetGateway(_) => drop(self.internet_gateway()?),
            Target::NatGateway(id) if self.nat_gateway(id).is_none() => {
                return Err(Refused::UnknownNatGateway(id));
            }
            Target::Peering(id) if self.peering(id).is_none() => {
                return Err(Refused::UnknownPeering(id));
            }
            Target::NatGateway(_) | Target::Peering(_) | Target::Blackhole => {}
        }
        let name = table;
        let Some(table) = self.route_tables.get_mut(name) else {
            return Ok(());
        };
        if table.routes.contains_key(&destination) {
            let table = name.clone();
            return Err(Refused::RouteExists { table, destination });
        }
        table.routes.insert(destination, target);
        Ok(())
    }

    /// Takes a route away.
    ///
    /// # Errors
    /// There is no such table, or route.
    pub fn remove_route(&mut self, table: &Name, destination: Cidr) -> Result<(), Refused> {
        known("route table", &self.route_tables, table)?;
        let routes = self.route_tables.get_mut(table);
        let removed = routes.and_then(|table| table.routes.remove(&destination));
        let table = table.clone();
        let gone = Refused::NoSuchRoute { table, destination };
        removed.map(|_| ()).ok_or(gone)
    }
}

/// Security groups.
impl Vpc {
    /// A new group, which lets out everything and nothing in.
    ///
    /// # Errors
    /// The name is taken.
    pub fn add_group(
        &mut self,
        name: Name,
        description: String,
    ) -> Result<&SecurityGroup, Refused> {
        untaken("security group", &self.groups, &name)?;
        let group = SecurityGroup::new(Id::random()?, description);
        Ok(self.groups.entry(name).or_insert(group))
    }

    /// Takes a group away.
    ///
    /// # Errors
    /// There is none, it is the default one, or a port has it, or another
    /// group's rule is about it.
    pub fn remove_group(&mut self, name: &Name) -> Result<(), Refused> {
        let what = "security group";
        known(what, &self.groups, name)?;
        permanent(what, name, security_group::DEFAULT)?;
        unused(what, name, self.members(name).next().map(by))?;
        let mut others = self.groups.iter().filter(|(other, _)| *other != name);
        let user = others.find(|(_, group)| group.refers_to(name));
        unused(
            what,
            name,
            user.map(|(other, _)| format!("a rule of '{other}'")),
        )?;
        self.groups.remove(name);
        Ok(())
    }

    /// Lets through what `rule` allows.
    ///
    /// # Errors
    /// There is no such group, it has the rule, or as many as it can.
    pub fn authorize(
        &mut self,
        name: &Name,
        direction: Direction,
        rule: Rule,
    ) -> Result<(), Refused> {
        if let Peer::Group(other) = &rule.peer {
            known("security group", &self.groups, other)?;
        }
        known("security group", &self.groups, name)?;
        let Some(group) = self.groups.get_mut(name) else {
            return Ok(());
        };
        let rules = group.rules_mut(direction);
        if rules.contains(&rule) {
            return Err(Refused::RuleExists(name.clone()));
        }
        if rules.len() >= MOST_RULES {
            let group = name.clone();
            return Err(Refused::TooManyRules { group, direction });
        }
        rules.insert(rule);
        Ok(())
    }

    /// No longer lets through what only `rule` allows. What is tracked already
    /// goes on.
    ///
    /// # Errors
    /// There is no such group, or rule.
    pub fn revoke(
        &mut self,
        name: &Name,
        direction: Direction,
        rule: &Rule,
    ) -> Result<(), Refused> {
        known("security group", &self.groups, name)?;
        let group = self.groups.get_mut(name);
        let removed = group.is_some_and(|group| group.rules_mut(direction).remove(rule));
        if removed {
            return Ok(());
        }
        Err(Refused::NoSuchRule(name.clone()))
    }
}

/// Ports.
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
    fn free_address(&self, subnet: &Name) -> Result<Ipv4Addr, Refused> {
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
