//! What becomes of a packet that opens a connection, and which rule, table or
//! missing route decides it. From the network's state alone: that the kernel does
//! the same is tested where there is one.

mod network_acl;
mod outside;
mod peering;

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::cidr::Cidr;
use crate::name::Name;
use crate::port::Port;
use crate::publication::Publication;
use crate::route_table::Target;
use crate::security_group::{Direction, Peer, Rule};
use crate::traffic::{ICMP, TCP, Traffic, UDP};
use crate::vpc::Vpc;

pub use network_acl::AtBorder;

/// A packet, the first of its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Who sends it.
    pub from: Ipv4Addr,
    /// Whom it is for.
    pub to: Ipv4Addr,
    /// What it is.
    pub kind: PacketKind,
}

/// What a packet is. Written `tcp:443` or just `443`, `udp:53`, `icmp` (an echo
/// request), `icmp:3/4`, or the number of another protocol after `protocol:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// TCP to this port.
    Tcp(u16),
    /// UDP to this port.
    Udp(u16),
    /// ICMP of this type and code.
    Icmp(u8, u8),
    /// Another protocol.
    Other(u8),
}

/// Not a kind of packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a packet: 443, tcp:443, udp:53, icmp, icmp:3/4 or protocol:47")]
pub struct BadPacketKind(String);

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

/// What decided, up to the first that let the packet, or its answers, not pass.
pub fn explain(vpc: &Vpc, packet: Packet) -> Vec<Step> {
    let mut steps = Vec::new();
    for step in way(vpc, packet) {
        let ends = !step.passes();
        steps.push(step);
        if ends {
            return steps;
        }
    }
    steps.extend(network_acl::answers(vpc, &steps, packet.kind));
    steps
}

/// Whether the packet arrives, and so do its answers.
pub fn passes(steps: &[Step]) -> bool {
    steps.iter().all(Step::passes)
}

fn way(vpc: &Vpc, packet: Packet) -> Vec<Step> {
    let port_at = |address| vpc.ports().values().find(|port| port.address == address);
    let Some(sender) = port_at(packet.from) else {
        return match vpc.cidr.contains(packet.from) {
            true => vec![Step::NoSender(packet.from)],
            false => match peering::comes_by(vpc, packet) {
                Some((name, _)) => peering::inwards(vpc, packet, name),
                None => outside::inwards(vpc, packet),
            },
        };
    };
    let (route, way) = route(vpc, &sender.subnet, packet.to);
    let mut steps = vec![groups(vpc, sender, Direction::Outbound, packet), route];
    let receiver = match way {
        Some(Way::InternetGateway | Way::NatGateway(_)) => {
            steps.push(network_acl::leaving(vpc, &sender.subnet, packet));
            steps.extend(outside::outwards(vpc, sender, packet, way));
            // By its public address, one of the network is reached from outside.
            if let Some(Step::Translated { to: from, .. }) = steps.last()
                && vpc.public_addresses().contains_key(&packet.to)
            {
                let from = *from;
                steps.extend(outside::inwards(vpc, Packet { from, ..packet }));
            }
            return steps;
        }
        Some(Way::Peering(name)) => {
            steps.extend(peering::outwards(vpc, sender, packet, &name));
            return steps;
        }
        Some(Way::Port(router)) => port_at(router),
        _ => port_at(packet.to),
    };
    if let Some(receiver) = receiver {
        steps.extend(network_acl::between(vpc, sender, receiver, packet));
    }
    steps.push(match receiver {
        Some(receiver) if receiver.source_check && receiver.address != packet.to => {
            Step::NotItsOwn(receiver.address)
        }
        Some(receiver) => groups(vpc, receiver, Direction::Inbound, packet),
        None => Step::NoReceiver(packet.to),
    });
    steps
}

fn groups(vpc: &Vpc, port: &Port, direction: Direction, packet: Packet) -> Step {
    let other = match direction {
        Direction::Inbound => packet.from,
        Direction::Outbound => packet.to,
    };
    let allows = |rule: &&Rule| packet.kind.is(rule.traffic) && is_peer(vpc, &rule.peer, other);
    let by = port.groups.iter().find_map(|name| {
        let rule = vpc.groups()[name].rules(direction).iter().find(allows)?;
        Some((name.clone(), rule.clone()))
    });
    Step::Groups {
        direction,
        port: port.address,
        groups: port.groups.clone(),
        by,
    }
}

fn is_peer(vpc: &Vpc, peer: &Peer, address: Ipv4Addr) -> bool {
    match peer {
        Peer::Cidr(cidr) => cidr.contains(address),
        Peer::Group(name) => vpc.members(name).any(|port| port.address == address),
    }
}

/// The route from `subnet`, and where it leads. The longest prefix wins, but for the
/// local route, which always does.
fn route(vpc: &Vpc, subnet: &Name, to: Ipv4Addr) -> (Step, Option<Way>) {
    let table = vpc.subnets()[subnet].route_table.clone();
    let route = match vpc.cidr.contains(to) {
        true => Some((vpc.cidr, Way::Local)),
        false => {
            let longest = vpc.route_tables()[&table].longest(Cidr::host(to));
            longest.map(|(destination, target)| (destination, way_of(vpc, target)))
        }
    };
    let way = route.as_ref().map(|(_, way)| way.clone());
    (Step::Route { table, route }, way)
}

fn way_of(vpc: &Vpc, target: Target) -> Way {
    match target {
        Target::Port(id) => vpc
            .port(id)
            .map_or(Way::Blackhole, |port| Way::Port(port.address)),
        Target::InternetGateway(id) => match vpc.internet_gateway() {
            Ok(there) if there == id => Way::InternetGateway,
            _ => Way::Blackhole,
        },
        Target::NatGateway(id) => {
            let gateway = vpc.nat_gateway(id);
            gateway.map_or(Way::Blackhole, |(name, _)| Way::NatGateway(name.clone()))
        }
        Target::Peering(id) => {
            let peering = vpc.peering(id);
            peering.map_or(Way::Blackhole, |(name, _)| Way::Peering(name.clone()))
        }
        Target::Blackhole => Way::Blackhole,
    }
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

impl PacketKind {
    fn is(self, traffic: Traffic) -> bool {
        match (traffic, self) {
            (Traffic::All, _) => true,
            (Traffic::Tcp(ports), Self::Tcp(port)) | (Traffic::Udp(ports), Self::Udp(port)) => {
                ports.contains(port)
            }
            (Traffic::Icmp(None), Self::Icmp(..)) => true,
            (Traffic::Icmp(Some((kind, code))), Self::Icmp(own_kind, own_code)) => {
                kind == own_kind && code.is_none_or(|code| code == own_code)
            }
            (Traffic::Other(protocol), Self::Other(own)) => protocol == own,
            _ => false,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (protocol, rest) = text.split_once(':').unwrap_or(match text {
            "icmp" => ("icmp", "8/0"),
            port => ("tcp", port),
        });
        let digits = rest
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'/');
        let number = rest.parse().ok().filter(|_| digits);
        match protocol {
            "tcp" => number.map(Self::Tcp),
            "udp" => number.map(Self::Udp),
            "icmp" => {
                let (kind, code) = rest.split_once('/').unwrap_or((rest, "0"));
                let kind = kind.parse().ok().filter(|_| digits)?;
                Some(Self::Icmp(kind, code.parse().ok()?))
            }
            "protocol" => {
                let number = u8::try_from(number?).ok()?;
                (![ICMP, TCP, UDP].contains(&number)).then_some(Self::Other(number))
            }
            _ => None,
        }
    }
}

impl FromStr for PacketKind {
    type Err = BadPacketKind;

    fn from_str(text: &str) -> Result<Self, BadPacketKind> {
        let bad = || BadPacketKind(text.chars().take(40).collect());
        Self::parse(text).ok_or_else(bad)
    }
}

impl fmt::Display for PacketKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(f, "tcp:{port}"),
            Self::Udp(port) => write!(f, "udp:{port}"),
            Self::Icmp(kind, code) => write!(f, "icmp:{kind}/{code}"),
            Self::Other(protocol) => write!(f, "protocol:{protocol}"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::PortWish;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// Ports at 10.0.1.4 (default group), .5 (web) and .6 (default).
    fn vpc() -> Vpc {
        let mut vpc = Vpc::new("10.0.0.0/16".parse().unwrap()).unwrap();
        vpc.add_subnet(name("front"), "10.0.1.0/24".parse().unwrap())
            .unwrap();
        vpc.add_group(name("web"), String::new()).unwrap();
        for group in ["default", "web", "default"] {
            let wish = PortWish {
                groups: vec![name(group)],
                ..PortWish::default()
            };
            vpc.add_port(name("front"), wish).unwrap();
        }
        vpc
    }

    fn allow(vpc: &mut Vpc, group: &str, traffic: &str, peer: Peer) {
        let rule = Rule {
            traffic: traffic.parse().unwrap(),
            peer,
        };
        vpc.authorize(&name(group), Direction::Inbound, rule)
            .unwrap();
    }

    fn told(vpc: &Vpc, from: &str, to: &str, kind: &str) -> (bool, String) {
        let packet = Packet {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            kind: kind.parse().unwrap(),
        };
        let steps = explain(vpc, packet);
        let texts: Vec<String> = steps.iter().map(Step::to_string).collect();
        (passes(&steps), texts.join("\n"))
    }

    #[test]
    fn the_rule_that_decides_is_named() {
        let mut vpc = vpc();
        let (passes, why) = told(&vpc, "10.0.1.4", "10.0.1.6", "443");
        assert!(passes);
        assert_eq!(
            why,
            "outbound at 10.0.1.4: 'default' allows all 0.0.0.0/0\n\
             route table 'main': 10.0.0.0/16 is the network itself\n\
             inbound at 10.0.1.6: 'default' allows all group default"
        );
        let (passes, why) = told(&vpc, "10.0.1.4", "10.0.1.5", "443");
        assert!(!passes);
        assert!(why.ends_with("inbound at 10.0.1.5: no rule of 'web' allows it"));
        allow(
            &mut vpc,
            "web",
            "tcp:440-443",
            Peer::Cidr("10.0.1.4/30".parse().unwrap()),
        );
        assert!(told(&vpc, "10.0.1.4", "10.0.1.5", "443").0);
        assert!(!told(&vpc, "10.0.1.4", "10.0.1.5", "444").0);
        assert!(!told(&vpc, "10.0.1.4", "10.0.1.5", "udp:443").0);
        allow(&mut vpc, "web", "icmp:8", Peer::Group(name("default")));
        assert!(told(&vpc, "10.0.1.6", "10.0.1.5", "icmp").0);
        assert!(!told(&vpc, "10.0.1.6", "10.0.1.5", "icmp:3/4").0);
        let everything = Rule {
            traffic: Traffic::All,
            peer: Peer::Cidr(Cidr::ALL),
        };
        vpc.revoke(&name("web"), Direction::Outbound, &everything)
            .unwrap();
        let (_, why) = told(&vpc, "10.0.1.5", "10.0.1.4", "443");
        assert_eq!(why, "outbound at 10.0.1.5: no rule of 'web' allows it");
    }

    #[test]
    fn the_longest_route_is_taken_or_missed() {
        let mut vpc = vpc();
        let (passes, why) = told(&vpc, "10.0.1.4", "192.0.2.1", "443");
        assert!(!passes && why.ends_with("route table 'main': no route leads there"));
        let router = *vpc.ports().keys().next().unwrap();
        let own = vpc.port(router).unwrap().address;
        let from = vpc.ports().values().find(|port| port.id != router);
        let from = from.unwrap().address.to_string();
        let main = name("main");
        vpc.add_route(&main, Cidr::ALL, Target::Port(router))
            .unwrap();
        vpc.add_route(&main, "192.0.2.0/24".parse().unwrap(), Target::Blackhole)
            .unwrap();
        let (passes, why) = told(&vpc, &from, "192.0.2.1", "443");
        assert!(
            !passes && why.ends_with("192.0.2.0/24 leads nowhere"),
            "{why}"
        );
        let (passes, why) = told(&vpc, &from, "198.51.100.1", "443");
        assert!(!passes && why.ends_with("its source check is on"), "{why}");
        vpc.set_source_check(router, false).unwrap();
        let (_, why) = told(&vpc, &from, "198.51.100.1", "443");
        assert!(
            why.contains(&format!("0.0.0.0/0 goes by way of {own}")),
            "{why}"
        );
        vpc.remove_port(router).unwrap();
        let (_, why) = told(&vpc, &from, "198.51.100.1", "443");
        assert!(why.ends_with("0.0.0.0/0 leads nowhere"), "{why}");
    }

    #[test]
    fn nobody_sends_or_receives_at_an_address_without_a_port() {
        let vpc = vpc();
        let (passes, why) = told(&vpc, "10.0.1.99", "10.0.1.4", "80");
        assert!(!passes && why.contains("no port has 10.0.1.99"));
        let (passes, why) = told(&vpc, "10.0.1.4", "10.0.1.99", "80");
        assert!(!passes && why.ends_with("no port has 10.0.1.99"));
    }

    #[test]
    fn a_packet_is_read_as_it_is_written() {
        for text in ["tcp:443", "udp:0", "icmp:3/4", "protocol:47"] {
            assert_eq!(text.parse::<PacketKind>().unwrap().to_string(), text);
        }
        assert_eq!("443".parse(), Ok(PacketKind::Tcp(443)));
        assert_eq!("icmp".parse(), Ok(PacketKind::Icmp(8, 0)));
        for bad in [
            "",
            "x",
            "tcp:",
            "tcp:+1",
            "65536",
            "icmp:8/",
            "protocol:6",
            "protocol:300",
        ] {
            assert!(bad.parse::<PacketKind>().is_err(), "{bad}");
        }
    }
}
