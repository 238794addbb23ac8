//! What becomes of a packet that opens a connection, and which rule, table or
//! missing route decides it. From the network's state alone: that the kernel does
//! the same is tested where there is one.

mod network_acl;
mod outside;
mod packet;
mod peering;
mod step;

use std::net::Ipv4Addr;

use crate::cidr::Cidr;
use crate::name::Name;
use crate::port::Port;
use crate::route_table::Target;
use crate::security_group::{Direction, Peer, Rule};
use crate::vpc::Vpc;

pub use network_acl::AtBorder;
pub use packet::{BadPacketKind, Packet, PacketKind};
pub use step::{Step, Way};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::PortWish;
    use crate::traffic::Traffic;

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
}
