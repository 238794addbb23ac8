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
    ports: BTreeMap<Id<OfPort>, Port>,
    uplink: Option<Uplink>,
    internet_gateway: Option<Id<OfInternetGateway>>,
    #[serde(default)]
    nat_gateways: BTreeMap<Name, NatGateway>,
    #[serde(default)]
    public_addresses: BTreeMap<Ipv4Addr, PublicAddress>,
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
    /// A NAT gateway has an address that is another's, or no public one.
    #[error("NAT gateway '{0}' has addresses that it cannot have")]
    NatGateway(Name),
    /// A public address is none, or has a holder that is not there or has another.
    #[error("public address {0} is what, or has what, it cannot")]
    PublicAddress(Ipv4Addr),
    /// Two ports are published under the same number.
    #[error("port {0} has publications that it cannot have")]
    Publications(Id<OfPort>),
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
            ports,
            uplink,
            internet_gateway,
            nat_gateways,
            public_addresses,
        } = saved;
        let vpc = Self {
            id,
            cidr,
            subnets,
            route_tables,
            groups,
            ports,
            uplink,
            internet_gateway,
            nat_gateways,
            public_addresses,
        };
        check_cidr(vpc.cidr)?;
        vpc.vet_groups()?;
        vpc.vet_route_tables()?;
        vpc.vet_subnets()?;
        vpc.vet_ports()?;
        vpc.vet_gateways()?;
        vpc.vet_publications()?;
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
mod tests {
    use serde_json::{Value, json};

    use crate::name::Name;
    use crate::port::PortWish;
    use crate::uplink::Uplink;
    use crate::vpc::Vpc;

    fn saved() -> Value {
        let mut vpc = Vpc::new("10.0.0.0/16".parse().unwrap()).unwrap();
        let front: Name = "front".parse().unwrap();
        vpc.add_subnet(front.clone(), "10.0.1.0/24".parse().unwrap())
            .unwrap();
        vpc.add_port(front, PortWish::default()).unwrap();
        serde_json::to_value(&vpc).unwrap()
    }

    fn refusal(saved: Value) -> String {
        let refused = serde_json::from_value::<Vpc>(saved).unwrap_err();
        refused.to_string()
    }

    #[test]
    fn what_a_network_cannot_be_is_refused() {
        let port = saved()["ports"].as_object().unwrap().keys().next().cloned();
        let port = format!("/ports/{}", port.unwrap());
        let of_port = |field: &str| format!("{port}/{field}");
        let cases = [
            ("/cidr".into(), json!("10.0.0.0/8"), "from /16 to /28"),
            ("/cidr".into(), json!("10.1.0.0/16"), "is not within"),
            (
                "/subnets/front/cidr".into(),
                json!("10.0.2.0/24"),
                "that it cannot have",
            ),
            (
                "/subnets/front/route_table".into(),
                json!("x"),
                "route table 'x'",
            ),
            (
                "/route_tables/main/number".into(),
                json!(254),
                "'main' has a number",
            ),
            (
                "/route_tables/main/routes".into(),
                json!({"10.0.1.0/24": "blackhole"}),
                "a route",
            ),
            (
                "/route_tables".into(),
                json!({}),
                "the network has route table 'main'",
            ),
            (
                "/groups".into(),
                json!({}),
                "the network has security group 'default'",
            ),
            (
                of_port("subnet"),
                json!("y"),
                "subnet 'y', which there is not",
            ),
            (of_port("address"), json!("10.0.1.3"), "an address"),
            (of_port("groups"), json!([]), "security groups"),
            (
                of_port("groups"),
                json!(["nobody"]),
                "security group 'nobody'",
            ),
            (
                of_port("mac"),
                json!("01:00:00:00:00:00"),
                "the MAC address of",
            ),
            (of_port("id"), json!("eni-00000000000000000"), "an id"),
            (
                "/id".into(),
                json!("sg-00000000000000000"),
                "an id is 'vpc-'",
            ),
        ];
        for (place, value, part) in cases {
            let mut saved = saved();
            let ports = saved["ports"].as_object().unwrap().keys().next().cloned();
            // Ids are different each time.
            let place = match place.strip_prefix(&port) {
                Some(field) => format!("/ports/{}{field}", ports.unwrap()),
                None => place,
            };
            *saved.pointer_mut(&place).expect(&place) = value;
            let error = refusal(saved);
            assert!(error.contains(part), "{place}: {error}");
        }
    }

    #[test]
    fn two_subnets_or_ports_with_the_same_are_refused() {
        let mut twice = saved();
        twice["subnets"]["back"] = twice["subnets"]["front"].clone();
        assert!(refusal(twice).contains("overlaps another"));
        let mut twice = saved();
        let (_, port) = twice["ports"].as_object().unwrap().iter().next().unwrap();
        let mut other = port.clone();
        let id = "eni-0123456789abcdef0";
        other["id"] = json!(id);
        twice["ports"][id] = other;
        assert!(refusal(twice).contains("that it cannot have"));
    }

    /// One with an internet gateway, a NAT gateway and a published port.
    fn saved_with_gateways() -> Value {
        let mut vpc: Vpc = serde_json::from_value(saved()).unwrap();
        let port = *vpc.ports().keys().next().unwrap();
        let uplink = Uplink::try_from(3).unwrap();
        vpc.attach_internet_gateway(uplink).unwrap();
        for address in ["203.0.113.1", "203.0.113.2"] {
            vpc.allocate(address.parse().unwrap()).unwrap();
        }
        vpc.associate_address("203.0.113.1".parse().unwrap(), port)
            .unwrap();
        let (egress, front) = ("egress".parse().unwrap(), "front".parse().unwrap());
        vpc.add_nat_gateway(egress, front, "203.0.113.2".parse().unwrap())
            .unwrap();
        vpc.publish(port, "80:80".parse().unwrap(), uplink).unwrap();
        serde_json::to_value(&vpc).unwrap()
    }

    #[test]
    fn what_gateways_cannot_be_is_refused() {
        let whole = saved_with_gateways();
        let read: Vpc = serde_json::from_value(whole.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), whole);
        let port = read.ports().keys().next().unwrap();
        let published = format!("/ports/{port}/published");
        let twice = |publication: &str, relay: u16| {
            json!([{"publication": "80:80", "relay": 80},
                   {"publication": publication, "relay": relay}])
        };
        for (place, value, part) in [
            ("/uplink", json!(null), "without a way"),
            ("/uplink", json!(65535), "is not the number of an uplink"),
            ("/internet_gateway", json!(null), "without a way"),
            (
                "/internet_gateway",
                json!("nat-00000000000000000"),
                "an id is",
            ),
            (
                "/nat_gateways/egress/subnet",
                json!("x"),
                "subnet 'x', which",
            ),
            (
                "/nat_gateways/egress/address",
                json!("10.0.1.1"),
                "'egress' has addresses",
            ),
            (
                "/nat_gateways/egress/address",
                json!("10.0.1.4"),
                "'egress' has addresses",
            ),
            ("/nat_gateways", json!({}), "203.0.113.2 is what"),
            (
                "/public_addresses/203.0.113.2/holder",
                json!(null),
                "'egress' has addresses",
            ),
            (
                "/public_addresses/203.0.113.1/holder",
                json!({"port": "eni-00000000000000000"}),
                "203.0.113.1 is what",
            ),
            (
                "/public_addresses/203.0.113.1/holder",
                json!({"nat-gateway": "egress"}),
                "203.0.113.2 is what",
            ),
            (&published, twice("80:81", 81), "has publications"),
            (&published, twice("1.2.3.4:81:81", 80), "has publications"),
            (
                &published,
                json!([{"publication": "80:80", "relay": 0}]),
                "has publications",
            ),
            (
                &published,
                json!([{"publication": "80", "relay": 1}]),
                "HOSTPORT",
            ),
        ] {
            let mut saved = whole.clone();
            *saved.pointer_mut(place).expect(place) = value;
            let error = refusal(saved);
            assert!(error.contains(part), "{place}: {error}");
        }
        for address in ["10.0.9.9", "169.254.169.254", "224.0.0.1"] {
            let mut saved = whole.clone();
            let public = saved["public_addresses"]["203.0.113.1"].clone();
            saved["public_addresses"][address] = public;
            assert!(refusal(saved).contains("is what, or has what, it cannot"));
        }
    }

    #[test]
    fn a_record_from_before_there_were_gateways_is_read_and_written_the_same() {
        let old = saved();
        for field in [
            "uplink",
            "internet_gateway",
            "nat_gateways",
            "public_addresses",
        ] {
            assert_eq!(old.get(field), None);
        }
        let read: Vpc = serde_json::from_value(old.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), old);
    }
}
