//! What decides about packets, and how it is told.

use std::fmt;
use std::net::Ipv4Addr;

use super::{AtBorder, PacketKind};
use crate::cidr::Cidr;
use crate::name::Name;
use crate::publication::Publication;
use crate::security_group::{Direction, Rule};

/// Something that decides about a packet, in the order of its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nobody has the address that it comes from: no port may send it.
    NoSender(Ipv4Addr),
    /// The sender's security groups.
    Groups {
        /// Out of a port, or into one.
        direction: Direction,
        /// Whose.
        port: Ipv4Addr,
        /// Its groups.
        groups: Vec<Name>,
        /// The group and rule that let it pass; `None` if none does.
        by: Option<(Name, Rule)>,
    },
    /// The route table of the sender's subnet.
    Route {
        /// Which.
        table: Name,
        /// The route that was taken; `None` if none leads there.
        route: Option<(Cidr, Way)>,
    },
    /// The packet leaves a subnet, or comes into one.
    NetworkAcl(AtBorder),
    /// The packet passes, and its answers are dropped.
    Answers {
        /// One of them.
        answer: PacketKind,
        /// Where.
        border: AtBorder,
    },
    /// The packet goes to another network, which says what becomes of it there.
    Peered {
        /// By which peering.
        name: Name,
        /// The network.
        peer: Name,
    },
    /// A peering carries only what is from one of its networks to the other.
    NotPeered {
        /// Which.
        name: Name,
        /// Where the packet is for.
        address: Ipv4Addr,
    },
    /// The packet came by a peering to which the route of its answers does not lead.
    NoWayBack(Name),
    /// It is sent to a port that takes only what is for itself.
    NotItsOwn(Ipv4Addr),
    /// The network is where it is for, and no port has the address.
    NoReceiver(Ipv4Addr),
    /// By the internet gateway leaves only who has a public address.
    NoPublicAddress(Ipv4Addr),
    /// What a NAT gateway sends on goes to the internet gateway or nowhere.
    NatGatewayAstray(Name),
    /// A gateway puts one address in the place of another.
    Translated {
        /// The NAT gateway; `None` if it is the internet gateway.
        by: Option<Name>,
        /// What stood there.
        from: Ipv4Addr,
        /// What stands there now.
        to: Ipv4Addr,
    },
    /// From outside, nobody in the network is reached at the address, and why.
    NotFromOutside(Ipv4Addr, &'static str),
    /// A port of the host leads to a guest, whatever its groups say.
    Published {
        /// What is published.
        publication: Publication,
        /// Where it leads.
        to: Ipv4Addr,
    },
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the network's own ports.
    Local,
    /// To a port that routes.
    Port(Ipv4Addr),
    /// Outside.
    InternetGateway,
    /// Outside, by way of another route table.
    NatGateway(Name),
    /// To another network.
    Peering(Name),
    /// Nowhere: so it was made, or its target is gone.
    Blackhole,
}

impl Step {
    /// Whether the packet goes on.
    pub fn passes(&self) -> bool {
        match self {
            Self::NoSender(_)
            | Self::NotItsOwn(_)
            | Self::NoReceiver(_)
            | Self::NoPublicAddress(_)
            | Self::NatGatewayAstray(_)
            | Self::NotPeered { .. }
            | Self::NoWayBack(_)
            | Self::NotFromOutside(..) => false,
            Self::Peered { .. } => true,
            Self::Translated { .. } | Self::Published { .. } => true,
            Self::NetworkAcl(border) | Self::Answers { border, .. } => border.passes(),
            Self::Groups { by, .. } => by.is_some(),
            Self::Route { route, .. } => !matches!(route, None | Some((_, Way::Blackhole))),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSender(address) => write!(f, "no port has {address}, so none may send as it"),
            Self::NetworkAcl(border) => border.fmt(f),
            Self::Peered { name, peer } => write!(f, "peering '{name}': to network '{peer}'"),
            Self::NotPeered { name, address } => write!(
                f,
                "peering '{name}' goes from one network to the other only, and {address} is \
                 further away"
            ),
            Self::NoWayBack(name) => write!(
                f,
                "the route of its answers is not by peering '{name}', by which it comes"
            ),
            Self::Answers { answer, border } => {
                write!(f, "its answers, like {answer}, {border}")
            }
            Self::NotItsOwn(address) => {
                write!(
                    f,
                    "{address} takes only what is for itself: its source check is on"
                )
            }
            Self::NoReceiver(address) => write!(f, "no port has {address}"),
            Self::NoPublicAddress(address) => write!(
                f,
                "internet gateway: {address} has no public address, so it does not leave"
            ),
            Self::NatGatewayAstray(name) => write!(
                f,
                "NAT gateway '{name}' sends on by the internet gateway only"
            ),
            Self::Translated { by, from, to } => {
                match by {
                    Some(name) => write!(f, "NAT gateway '{name}'")?,
                    None => f.write_str("internet gateway")?,
                }
                write!(f, ": {from} becomes {to}")
            }
            Self::NotFromOutside(address, why) => {
                write!(f, "{address} is not reached from outside: {why}")
            }
            Self::Published { publication, to } => write!(
                f,
                "published as {publication} at {to}, whatever its security groups say"
            ),
            Self::Groups {
                direction,
                port,
                by: Some((group, rule)),
                ..
            } => {
                let group = group.as_str();
                write!(f, "{direction} at {port}: '{group}' allows {rule}")
            }
            Self::Groups {
                direction,
                port,
                groups,
                by: None,
            } => {
                let names: Vec<&str> = groups.iter().map(Name::as_str).collect();
                let names = names.join("', '");
                write!(f, "{direction} at {port}: no rule of '{names}' allows it")
            }
            Self::Route { table, route } => {
                write!(f, "route table '{table}': ")?;
                match route {
                    None => f.write_str("no route leads there"),
                    Some((destination, way)) => write!(f, "{destination} {way}"),
                }
            }
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("is the network itself"),
            Self::Port(address) => write!(f, "goes by way of {address}"),
            Self::InternetGateway => f.write_str("goes by the internet gateway"),
            Self::NatGateway(name) => write!(f, "goes by NAT gateway '{name}'"),
            Self::Peering(name) => write!(f, "goes by peering '{name}'"),
            Self::Blackhole => f.write_str("leads nowhere"),
        }
    }
}
