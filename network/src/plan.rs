//! Which routes a network's namespace is to have, and by which rules its packets
//! find them.
//!
//! Every port has a route of its own in the main table: to its address by way of
//! its tap. Packets that come from a tap are marked with the number of their
//! subnet's route table ([`ruleset`](crate::ruleset)), which the kernel then asks
//! first. It sends what is for the network itself on to the main table, so that
//! the local route always holds, and knows the routes that somebody made.
//!
//! What leaves the network goes by its [uplink](crate::uplink). By its next hop there
//! one sees why: that is the host's end for what goes by the internet gateway, and a
//! NAT gateway's address for what goes by that. The route table of a NAT gateway's
//! subnet is asked here already: where it leads to the internet gateway, so does the
//! gateway.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::cidr::Cidr;
use crate::nat_gateway::NatGateway;
use crate::peering::Peering;
use crate::route_table::{RouteTable, Target};
use crate::uplink::{OUT, Uplink};
use crate::vpc::Vpc;

/// The kernel's table that is asked last.
pub const MAIN_TABLE: u32 = 254;

/// The number of the table, and the mark, of what goes back to whoever came by a
/// published port, whatever the route tables say.
pub const PUBLISHED: u32 = 999;

/// What the kernel is to know, in no particular order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Routes of all tables.
    pub routes: BTreeSet<Route>,
    /// Marks, each of which is also the number of the table to be asked for
    /// packets that have it.
    pub marks: BTreeSet<u32>,
    /// Addresses that the network itself answers to: routers, name servers, and
    /// the metadata service.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// The cable to the host, if there is to be one.
    pub uplink: Option<Uplink>,
    /// Addresses at the cable's other end: the next hops of what leaves.
    pub next_hops: BTreeSet<Ipv4Addr>,
    /// Addresses that the host sends there.
    pub public_addresses: BTreeSet<Ipv4Addr>,
    /// The cables to other networks.
    pub peerings: Vec<Peering>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The kernel's number of its table.
    pub table: u32,
    /// Where it leads.
    pub destination: Cidr,
    /// What becomes of packets.
    pub hop: Hop,
}

/// What a route does with packets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hop {
    /// They are for a host at an interface's other end.
    Link(String),
    /// They are for a host there that passes them on.
    Gateway {
        /// The interface.
        link: String,
        /// The host's address.
        address: Ipv4Addr,
    },
    /// Another table is asked.
    Throw,
    /// They are dropped.
    Blackhole,
}

impl Hop {
    /// The interface that packets go by, if they go by one.
    pub fn link(&self) -> Option<&str> {
        match self {
            Self::Link(link) | Self::Gateway { link, .. } => Some(link),
            Self::Throw | Self::Blackhole => None,
        }
    }
}

/// Where every guest finds its metadata (EC2, "Access instance metadata").
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// The same by IPv6. A network has no other IPv6: a guest asks from its interface's
/// address on its link, and is told by its router that this one is there, too.
pub const METADATA6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// That router's own address on the link of any guest.
pub const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// Where every guest finds a name server, beside that of its subnet (EC2,
/// "Amazon DNS server").
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);

impl Plan {
    /// What `vpc` needs.
    pub fn of(vpc: &Vpc) -> Self {
        let mut plan = Self::default();
        for port in vpc.ports().values() {
            plan.routes.insert(Route {
                table: MAIN_TABLE,
                destination: Cidr::host(port.address),
                hop: Hop::Link(port.tap()),
            });
        }
        // What is the network's and no port's is nobody's.
        plan.routes.insert(Route {
            table: MAIN_TABLE,
            destination: vpc.cidr,
            hop: Hop::Blackhole,
        });
        for table in vpc.route_tables().values() {
            plan.marks.insert(table.number);
            plan.routes.extend(routes(vpc, table));
        }
        plan.addresses.extend([METADATA, NAME_SERVER]);
        for subnet in vpc.subnets().values() {
            plan.addresses
                .extend([subnet.router(), subnet.name_server()]);
        }
        plan.uplink = vpc.uplink();
        plan.peerings = vpc.peerings().values().cloned().collect();
        plan.extend_outside(vpc);
        plan
    }

    fn extend_outside(&mut self, vpc: &Vpc) {
        let Some(uplink) = self.uplink else { return };
        let gateways = vpc.nat_gateways().values();
        self.next_hops.insert(uplink.host());
        self.next_hops.extend(gateways.map(|one| one.address));
        self.public_addresses.extend(vpc.public_addresses().keys());
        self.marks.insert(PUBLISHED);
        for (destination, hop) in [(Cidr::ALL, out(uplink.host())), (vpc.cidr, Hop::Throw)] {
            self.routes.insert(Route {
                table: PUBLISHED,
                destination,
                hop,
            });
        }
    }
}

fn routes(vpc: &Vpc, table: &RouteTable) -> Vec<Route> {
    let mut hops = vec![(vpc.cidr, Hop::Throw)];
    for (destination, target) in &table.routes {
        let gateway = match target {
            Target::NatGateway(id) => vpc.nat_gateway(*id),
            _ => None,
        };
        match gateway {
            Some((_, gateway)) => hops.extend(through(vpc, gateway, table, *destination)),
            None => hops.push((*destination, hop(vpc, *target))),
        }
    }
    let routes = hops.into_iter().map(|(destination, hop)| Route {
        table: table.number,
        destination,
        hop,
    });
    routes.collect()
}

/// A route whose target is gone leads nowhere, rather than by another way (EC2,
/// "blackhole").
fn hop(vpc: &Vpc, target: Target) -> Hop {
    match target {
        Target::Port(id) => vpc.port(id).map_or(Hop::Blackhole, |port| Hop::Gateway {
            link: port.tap(),
            address: port.address,
        }),
        Target::InternetGateway(id) if vpc.internet_gateway().ok() == Some(id) => {
            let uplink = vpc.uplink();
            uplink.map_or(Hop::Blackhole, |uplink| out(uplink.host()))
        }
        Target::Peering(id) => {
            let peering = vpc.peering(id);
            peering.map_or(Hop::Blackhole, |(_, peering)| Hop::Gateway {
                link: peering.link(),
                address: peering.next_hop(),
            })
        }
        _ => Hop::Blackhole,
    }
}

/// Where packets of `table` to `destination` go that are to go by `gateway`: to each
/// part of it for which the gateway's own table has a route, as far as `table` says
/// nothing else of that part.
fn through(
    vpc: &Vpc,
    gateway: &NatGateway,
    table: &RouteTable,
    destination: Cidr,
) -> Vec<(Cidr, Hop)> {
    let next = &vpc.route_tables()[&vpc.subnets()[&gateway.subnet].route_table];
    let is_ours = |part: &Cidr| {
        let longest = table.longest(*part);
        longest.is_some_and(|(longest, _)| longest == destination)
    };
    let parts = next.routes.keys().copied().filter(is_ours);
    let parts: BTreeSet<Cidr> = parts.chain([destination]).collect();
    let hop = |part: Cidr| {
        let next = next.longest(part).map(|(_, target)| target);
        match next.map_or(Hop::Blackhole, |target| hop(vpc, target)) {
            Hop::Gateway { link, .. } if link == OUT => out(gateway.address),
            // Nobody else is sent what a NAT gateway is to translate.
            _ => Hop::Blackhole,
        }
    };
    parts.into_iter().map(|part| (part, hop(part))).collect()
}

fn out(address: Ipv4Addr) -> Hop {
    let link = OUT.into();
    Hop::Gateway { link, address }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;
    use crate::port::PortWish;

    #[test]
    fn ports_have_routes_and_tables_know_the_way_out() {
        let mut vpc = Vpc::new("10.0.0.0/16".parse().unwrap()).unwrap();
        let (front, main): (Name, Name) = ("front".parse().unwrap(), "main".parse().unwrap());
        vpc.add_subnet(front.clone(), "10.0.1.0/24".parse().unwrap())
            .unwrap();
        let port = vpc.add_port(front, PortWish::default()).unwrap().clone();
        vpc.add_route(&main, Cidr::ALL, Target::Port(port.id))
            .unwrap();
        let plan = Plan::of(&vpc);
        assert_eq!(plan.marks, [1000].into());
        let addresses = ["10.0.1.1", "10.0.1.2", "169.254.169.253", "169.254.169.254"]
            .map(|one| one.parse().unwrap());
        assert_eq!(plan.addresses, addresses.into());
        let route = |table, destination: &str, hop| Route {
            table,
            destination: destination.parse().unwrap(),
            hop,
        };
        let link = port.tap();
        let address = port.address;
        let expected = [
            route(MAIN_TABLE, "10.0.1.4/32", Hop::Link(link.clone())),
            route(MAIN_TABLE, "10.0.0.0/16", Hop::Blackhole),
            route(1000, "10.0.0.0/16", Hop::Throw),
            route(1000, "0.0.0.0/0", Hop::Gateway { link, address }),
        ];
        assert_eq!(plan.routes, expected.into());

        vpc.remove_port(port.id).unwrap();
        let left = route(1000, "0.0.0.0/0", Hop::Blackhole);
        assert!(Plan::of(&vpc).routes.contains(&left), "it is nobody else's");
    }

    /// Of the routes of table `number`, where they lead: next hops outside, or none.
    fn ways(vpc: &Vpc, number: u32) -> Vec<(String, Option<String>)> {
        let plan = Plan::of(vpc);
        let routes = plan.routes.iter().filter(|route| route.table == number);
        let made = routes.filter(|route| route.hop != Hop::Throw);
        made.map(|route| {
            let next = match &route.hop {
                Hop::Gateway { link, address } if link == OUT => Some(address.to_string()),
                Hop::Blackhole => None,
                other => panic!("{other:?}"),
            };
            (route.destination.to_string(), next)
        })
        .collect()
    }

    #[test]
    fn a_nat_gateway_leads_where_its_own_table_leads_to_the_internet_gateway() {
        let mut vpc = Vpc::new("10.0.0.0/16".parse().unwrap()).unwrap();
        let name = |text: &str| -> Name { text.parse().unwrap() };
        let cidr = |text: &str| -> Cidr { text.parse().unwrap() };
        for (subnet, range) in [("front", "10.0.1.0/24"), ("back", "10.0.2.0/24")] {
            vpc.add_subnet(name(subnet), cidr(range)).unwrap();
        }
        let back = vpc.add_route_table(name("private")).unwrap().number;
        vpc.associate(&name("back"), &name("private")).unwrap();
        let uplink = Uplink::try_from(7).unwrap();
        let internet = vpc.attach_internet_gateway(uplink).unwrap();
        let public = "198.19.0.1".parse().unwrap();
        vpc.allocate(public).unwrap();
        let gateway = vpc.add_nat_gateway(name("egress"), name("front"), public);
        let nat = gateway.unwrap().clone();
        let by_nat = Target::NatGateway(nat.id);
        let (main, private) = (name("main"), name("private"));
        vpc.add_route(&private, Cidr::ALL, by_nat).unwrap();
        let all = |next: Option<&str>| vec![("0.0.0.0/0".into(), next.map(String::from))];
        assert_eq!(ways(&vpc, back), all(None), "its own table leads nowhere");

        let by_internet = Target::InternetGateway(internet);
        vpc.add_route(&main, Cidr::ALL, by_internet).unwrap();
        assert_eq!(ways(&vpc, 1000), all(Some("169.254.1.14")));
        assert_eq!(ways(&vpc, back), all(Some("10.0.1.4")));
        let plan = Plan::of(&vpc);
        let hops = ["169.254.1.14", "10.0.1.4"].map(|hop| hop.parse().unwrap());
        assert_eq!(plan.next_hops, hops.into());
        assert!(plan.marks.contains(&PUBLISHED));

        // What its own table does not send there, and what the other does not send
        // to it.
        vpc.add_route(&main, cidr("192.0.2.0/24"), Target::Blackhole)
            .unwrap();
        vpc.add_route(&private, cidr("192.0.2.128/25"), by_internet)
            .unwrap();
        vpc.add_route(&main, cidr("192.0.2.192/26"), Target::Blackhole)
            .unwrap();
        let expected = [
            ("0.0.0.0/0", Some("10.0.1.4")),
            ("192.0.2.0/24", None),
            ("192.0.2.128/25", Some("169.254.1.14")),
        ];
        let expected = expected.map(|(to, next)| (to.to_owned(), next.map(String::from)));
        assert_eq!(ways(&vpc, back), expected);

        // One that leads to itself leads nowhere.
        vpc.associate(&name("front"), &private).unwrap();
        assert_eq!(ways(&vpc, back)[0], ("0.0.0.0/0".into(), None));
        vpc.associate(&name("front"), &main).unwrap();
        vpc.remove_nat_gateway(&name("egress")).unwrap();
        assert_eq!(ways(&vpc, back)[0], ("0.0.0.0/0".into(), None));
        vpc.detach_internet_gateway().unwrap();
        assert_eq!(ways(&vpc, 1000)[0], ("0.0.0.0/0".into(), None));
        assert_eq!(Plan::of(&vpc).uplink, None);
    }
}
