//! Which routes a network's namespace is to have, and by which rules its packets
//! find them.
//!
//! Every port has a route of its own in the main table: to its address by way of
//! its tap. Packets that come from a tap are marked with the number of their
//! subnet's route table ([`ruleset`](crate::ruleset)), which the kernel then asks
//! first. It sends what is for the network itself on to the main table, so that
//! the local route always holds, and knows the routes that somebody made.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::cidr::Cidr;
use crate::route_table::{RouteTable, Target};
use crate::vpc::Vpc;

/// The kernel's table that is asked last.
pub const MAIN_TABLE: u32 = 254;

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

/// Where every guest finds its metadata (EC2, "Access instance metadata").
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

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
        plan
    }
}

fn routes(vpc: &Vpc, table: &RouteTable) -> Vec<Route> {
    let route = |destination, hop| Route {
        table: table.number,
        destination,
        hop,
    };
    let own = route(vpc.cidr, Hop::Throw);
    let made = table.routes.iter();
    let made = made.map(|(destination, target)| route(*destination, hop(vpc, *target)));
    made.chain([own]).collect()
}

/// A route whose target is gone leads nowhere, rather than by another way (EC2,
/// "blackhole").
fn hop(vpc: &Vpc, target: Target) -> Hop {
    match target {
        Target::Port(id) => vpc.port(id).map_or(Hop::Blackhole, |port| Hop::Gateway {
            link: port.tap(),
            address: port.address,
        }),
        Target::Blackhole => Hop::Blackhole,
    }
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
}
