//! Routes, in any table of a namespace.
//!
//! All that is added here has the same protocol number (`static`) and, per
//! family, the same metric: a table has at most one of them for a destination.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use super::error::KernelError;
use super::link::LinkIndex;
use super::netlink::{Answer, Netlink};

/// What the kernel gives IPv6 routes for which nobody names a metric
/// (`IP6_RT_PRIO_USER`). IPv4 routes then have 0.
const METRIC6: u32 = 1024;

/// Where packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// Packets to these addresses. Nothing but its first bits counts: others are
    /// zero in what is listed, and refused in what is added.
    pub destination: IpNet,
    /// The table: 254 is the one that every packet is looked up in if nothing
    /// else is said; 0 and 255 are the kernel's own.
    pub table: u32,
    /// Where.
    pub target: Target,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// It is for a neighbour on this link.
    Link(LinkIndex),
    /// It goes to another router, which is a neighbour on this link whatever the
    /// link's own addresses are. The namespace's loopback interface must have
    /// been up: before, an IPv4 router's address is not told from a broadcast.
    Gateway {
        /// The router's address, of the same family.
        address: IpAddr,
        /// The link.
        link: LinkIndex,
    },
    /// It is dropped, and nobody told.
    Blackhole,
    /// The next policy rule says.
    Throw,
}

impl Netlink {
    /// The routes of `table` that a [`Target`] can express, those that the
    /// kernel made by itself among them.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn routes(&self, table: u32) -> Result<Vec<Route>, KernelError> {
        self.routes_of(Some(table))
    }

    /// The same of all tables, the kernel's own among them.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn all_routes(&self) -> Result<Vec<Route>, KernelError> {
        self.routes_of(None)
    }

    fn routes_of(&self, table: Option<u32>) -> Result<Vec<Route>, KernelError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let answers = self.route_messages(family, table)?;
            routes.extend(answers.iter().filter_map(route));
        }
        Ok(routes)
    }

    /// Adds a route.
    ///
    /// # Errors
    /// [`KernelError::Taken`]: the table has one for this destination. The link
    /// is down or not there, or the privilege is missing.
    pub fn add_route(&self, wanted: &Route) -> Result<(), KernelError> {
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        let task = || self.task(format_args!("{wanted} cannot be added"));
        match self.change(RouteNetlinkMessage::NewRoute(message(wanted)), flags) {
            Ok(()) => Ok(()),
            Err(refusal) if refusal.errno == Errno::EXIST => {
                let family = family(wanted.destination);
                let messages = self.route_messages(family, Some(wanted.table))?;
                let mut routes = messages.iter().filter(|m| is_ours(m)).filter_map(route);
                match routes.find(|there| there.destination == wanted.destination) {
                    Some(there) if there == *wanted => Ok(()),
                    there => Err(KernelError::Taken {
                        task: task(),
                        there: there.map_or("another".into(), |there| there.to_string()),
                    }),
                }
            }
            Err(refusal) => Err(refusal.at(task())),
        }
    }

    /// Adds a route in the place of one for the same destination, if there is
    /// one: at any moment, packets go where one of them says.
    ///
    /// # Errors
    /// As [`Netlink::add_route`].
    pub fn replace_route(&self, route: &Route) -> Result<(), KernelError> {
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        self.change(RouteNetlinkMessage::NewRoute(message(route)), flags)
            .map_err(|r| r.at(self.task(format_args!("{route} cannot be put in place"))))
    }

    /// Removes the route for `destination` from `table`, wherever it leads, if
    /// there is one and it was added here.
    ///
    /// # Errors
    /// The privilege is missing.
    pub fn remove_route(&self, destination: IpNet, table: u32) -> Result<(), KernelError> {
        let mut message = skeleton(destination, table);
        message.header.scope = RouteScope::NoWhere;
        match self.change(RouteNetlinkMessage::DelRoute(message), 0) {
            Err(refusal) if !matches!(refusal.errno, Errno::SRCH | Errno::NOENT) => Err(refusal
                .at(self.task(format_args!(
                    "the route to {destination} of table {table} cannot be removed"
                )))),
            _ => Ok(()),
        }
    }

    fn route_messages(
        &self,
        family: AddressFamily,
        table: Option<u32>,
    ) -> Result<Vec<RouteMessage>, KernelError> {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.attributes.extend(table.map(RouteAttribute::Table));
        // Where there is no IPv6, the kernel lists another family instead.
        let routes = |answer: Answer| match answer {
            RouteNetlinkMessage::NewRoute(message) if message.header.address_family == family => {
                Some(message)
            }
            _ => None,
        };
        match self.list(&RouteNetlinkMessage::GetRoute(message)) {
            Ok(answers) => Ok(answers.into_iter().filter_map(routes).collect()),
            // A table is there as long as there is a route in it.
            Err(refusal) if refusal.errno == Errno::NOENT => Ok(Vec::new()),
            Err(refusal) => {
                let which = table.map_or("routes".into(), |table| format!("table {table}"));
                Err(refusal.at(self.task(format_args!("{which} cannot be listed"))))
            }
        }
    }
}

/// The family of a prefix.
pub(super) fn family(prefix: IpNet) -> AddressFamily {
    match prefix {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    }
}

/// What is common to all messages about a route.
fn skeleton(destination: IpNet, table: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination);
    message.header.destination_prefix_length = destination.prefix_len();
    message.header.protocol = RouteProtocol::Static;
    let address = destination.addr().into();
    message.attributes = vec![
        RouteAttribute::Destination(address),
        RouteAttribute::Table(table),
    ];
    if destination.addr().is_ipv6() {
        message.attributes.push(RouteAttribute::Priority(METRIC6));
    }
    message
}

fn message(route: &Route) -> RouteMessage {
    let mut message = skeleton(route.destination, route.table);
    message.header.kind = RouteType::Unicast;
    match route.target {
        Target::Link(link) => {
            message.header.scope = RouteScope::Link;
            message.attributes.push(RouteAttribute::Oif(link.get()));
        }
        Target::Gateway { address, link } => {
            message.header.flags = RouteFlags::Onlink;
            message.attributes.extend([
                RouteAttribute::Gateway(address.into()),
                RouteAttribute::Oif(link.get()),
            ]);
        }
        Target::Blackhole => message.header.kind = RouteType::BlackHole,
        Target::Throw => message.header.kind = RouteType::Throw,
    }
    message
}

/// Whether [`Netlink::add_route`] made it, or could have.
fn is_ours(message: &RouteMessage) -> bool {
    message.header.protocol == RouteProtocol::Static
}

fn route(message: &RouteMessage) -> Option<Route> {
    let (mut destination, mut table) = (None, u32::from(message.header.table));
    let (mut gateway, mut link) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = Some(ip(address)?),
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Gateway(address) => gateway = Some(ip(address)?),
            RouteAttribute::Oif(index) => link = LinkIndex::new(*index),
            RouteAttribute::MultiPath(_) | RouteAttribute::Via(_) => return None,
            _ => {}
        }
    }
    // The kernel leaves the destination of a default route out.
    let any: IpAddr = match message.header.address_family {
        AddressFamily::Inet => [0; 4].into(),
        AddressFamily::Inet6 => [0; 16].into(),
        _ => return None,
    };
    let length = message.header.destination_prefix_length;
    Some(Route {
        destination: IpNet::new(destination.unwrap_or(any), length).ok()?,
        table,
        target: match (message.header.kind, gateway) {
            (RouteType::Unicast, None) => Target::Link(link?),
            (RouteType::Unicast, Some(address)) => Target::Gateway {
                address,
                link: link?,
            },
            (RouteType::BlackHole, _) => Target::Blackhole,
            (RouteType::Throw, _) => Target::Throw,
            _ => return None,
        },
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (destination, table) = (self.destination, self.table);
        write!(f, "the route to {destination} of table {table} ")?;
        match self.target {
            Target::Link(link) => write!(f, "through link number {link}"),
            Target::Gateway { address, link } => {
                write!(f, "by {address} through link number {link}")
            }
            Target::Blackhole => f.write_str("that drops packets"),
            Target::Throw => f.write_str("that leaves packets to the next rule"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Scratch;
    use super::*;

    const TABLES: [u32; 2] = [7, 100_000];

    fn to(destination: &str, table: u32, target: Target) -> Route {
        Route {
            destination: destination.parse().unwrap(),
            table,
            target,
        }
    }

    #[test]
    fn routes_of_every_kind_come_and_go_in_their_table() {
        let scratch = Scratch::new();
        let net = scratch.net();
        let link = net.add_veth("a", "b", &scratch).unwrap();
        net.set_up(LinkIndex::LOOPBACK).unwrap();
        net.set_up(link).unwrap();
        let gateway = |address: &str| Target::Gateway {
            address: address.parse().unwrap(),
            link,
        };
        for table in TABLES {
            assert_eq!(net.routes(table).unwrap(), []);
            let routes = [
                to("192.0.2.7/32", table, Target::Link(link)),
                to("198.51.100.0/24", table, gateway("192.0.2.9")),
                to("203.0.113.0/24", table, Target::Blackhole),
                to("203.0.113.9/32", table, Target::Throw),
                to("0.0.0.0/0", table, gateway("192.0.2.8")),
                to("2001:db8::7/128", table, Target::Link(link)),
                to("2001:db8:1::/48", table, gateway("2001:db8::9")),
                to("2001:db8:2::/48", table, Target::Blackhole),
                to("::/0", table, gateway("fe80::1")),
            ];
            for route in &routes {
                net.add_route(route).unwrap();
                net.add_route(route).unwrap();
            }
            let listed = net.routes(table).unwrap();
            assert_eq!(listed.len(), routes.len(), "{listed:?}");
            let mut all = net.all_routes().unwrap();
            all.retain(|route| route.table == table);
            assert_eq!(all, listed);
            for route in &routes {
                assert!(listed.contains(route), "{route} not in {listed:?}");
                for _ in 0..2 {
                    net.remove_route(route.destination, table).unwrap();
                }
                assert!(!net.routes(table).unwrap().contains(route), "{route}");
            }
            assert_eq!(net.routes(table).unwrap(), []);
        }
    }

    #[test]
    fn another_route_to_the_same_destination_is_in_the_way_until_replaced() {
        let scratch = Scratch::new();
        let net = scratch.net();
        let link = net.add_veth("a", "b", &scratch).unwrap();
        net.set_up(link).unwrap();
        for destination in ["192.0.2.7/32", "2001:db8::7/128"] {
            let before = to(destination, 7, Target::Link(link));
            let after = to(destination, 7, Target::Blackhole);
            net.add_route(&before).unwrap();
            let taken = net.add_route(&after).unwrap_err();
            assert!(matches!(taken, KernelError::Taken { .. }), "{taken:?}");
            assert!(taken.to_string().contains("through link"), "{taken}");
            for route in [after, after, before] {
                net.replace_route(&route).unwrap();
                let listed = net.routes(7).unwrap();
                assert!(listed.contains(&route), "{listed:?}");
            }
            net.remove_route(before.destination, 7).unwrap();
            assert_eq!(net.routes(7).unwrap(), []);
        }
    }

    #[test]
    fn the_kernels_own_routes_are_listed_and_left_alone() {
        let scratch = Scratch::new();
        let net = scratch.net();
        let link = net.add_veth("a", "b", &scratch).unwrap();
        net.set_up(link).unwrap();
        let prefix = "192.0.2.1/24".parse().unwrap();
        net.add_address(link, prefix).unwrap();
        let own = to("192.0.2.0/24", 254, Target::Link(link));
        assert_eq!(net.routes(254).unwrap(), [own]);
        net.remove_route(own.destination, 254).unwrap();
        assert_eq!(net.routes(254).unwrap(), [own]);
    }

    #[test]
    fn a_route_that_makes_no_sense_is_refused_with_the_kernels_reason() {
        let scratch = Scratch::new();
        let net = scratch.net();
        let link = net.add_veth("a", "b", &scratch).unwrap();
        // The link is down.
        let route = to("192.0.2.7/32", 7, Target::Link(link));
        let refused = net.add_route(&route).unwrap_err();
        assert!(matches!(refused, KernelError::Other { .. }), "{refused:?}");
        // Bits after the prefix.
        net.set_up(link).unwrap();
        let route = to("192.0.2.7/24", 7, Target::Link(link));
        let refused = net.add_route(&route).unwrap_err();
        let reason = std::error::Error::source(&refused).unwrap().to_string();
        assert!(reason.contains("the kernel says"), "{reason}");
    }
}
