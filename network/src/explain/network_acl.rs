//! What network ACLs make of a packet at the borders of subnets, and of its answers.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use super::{Packet, PacketKind, Step};
use crate::name::Name;
use crate::network_acl::{AclRule, Action, Number};
use crate::port::Port;
use crate::security_group::Direction;
use crate::traffic::Traffic;
use crate::vpc::Vpc;

/// Where Linux has those listen for answers who connect (ip(7),
/// ip_local_port_range).
const EPHEMERAL: RangeInclusive<u16> = 32768..=60999;

/// The types of ICMP that ask and answer (RFC 792).
const ECHO: u8 = 8;
const ECHO_REPLY: u8 = 0;

/// What a subnet's network ACL makes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtBorder {
    /// Out of the subnet, or into it.
    pub direction: Direction,
    /// The subnet.
    pub subnet: Name,
    /// Who is at the other end.
    pub other: Ipv4Addr,
    /// The network ACL.
    pub acl: Name,
    /// The rule that decides, and its number; `None` if none is about the packet.
    pub by: Option<(Number, AclRule)>,
}

/// On the way from one port to another.
pub(super) fn between(vpc: &Vpc, sender: &Port, receiver: &Port, packet: Packet) -> Vec<Step> {
    match sender.subnet == receiver.subnet {
        true => Vec::new(),
        false => vec![
            leaving(vpc, &sender.subnet, packet),
            entering(vpc, &receiver.subnet, packet),
        ],
    }
}

/// Out of `subnet`.
pub(super) fn leaving(vpc: &Vpc, subnet: &Name, packet: Packet) -> Step {
    let border = at(vpc, subnet, Direction::Outbound, packet.to, packet.kind);
    Step::NetworkAcl(border)
}

/// Into `subnet`.
pub(super) fn entering(vpc: &Vpc, subnet: &Name, packet: Packet) -> Step {
    let border = at(vpc, subnet, Direction::Inbound, packet.from, packet.kind);
    Step::NetworkAcl(border)
}

/// The border at which answers are dropped to the packet of which `steps` tell, if
/// one does that. They cross what it has crossed, the other way and the last first.
pub(super) fn answers(vpc: &Vpc, steps: &[Step], kind: PacketKind) -> Option<Step> {
    let borders = steps.iter().rev().filter_map(|step| match step {
        Step::NetworkAcl(border) => Some(border),
        _ => None,
    });
    let mut each = borders.flat_map(|there| {
        let back = match there.direction {
            Direction::Inbound => Direction::Outbound,
            Direction::Outbound => Direction::Inbound,
        };
        let (_, acl) = vpc.network_acl_of(&there.subnet);
        let answers = answers_to(kind, acl.rules(back).values()).into_iter();
        answers.map(move |answer| {
            let border = at(vpc, &there.subnet, back, there.other, answer);
            (answer, border)
        })
    });
    let dropped = each.find(|(_, border)| !border.passes());
    dropped.map(|(answer, border)| Step::Answers { answer, border })
}

fn at(
    vpc: &Vpc,
    subnet: &Name,
    direction: Direction,
    other: Ipv4Addr,
    kind: PacketKind,
) -> AtBorder {
    let (name, acl) = vpc.network_acl_of(subnet);
    let mut rules = acl.rules(direction).iter();
    let by = rules.find(|(_, rule)| kind.is(rule.traffic) && rule.cidr.contains(other));
    AtBorder {
        direction,
        subnet: subnet.clone(),
        other,
        acl: name.clone(),
        by: by.map(|(number, rule)| (*number, *rule)),
    }
}

/// Packets that answer: one of each kind that `rules` tell apart.
fn answers_to<'a>(kind: PacketKind, rules: impl Iterator<Item = &'a AclRule>) -> Vec<PacketKind> {
    let each = |of: fn(u16) -> PacketKind| told_apart(rules).into_iter().map(of).collect();
    match kind {
        PacketKind::Tcp(_) => each(PacketKind::Tcp),
        PacketKind::Udp(_) => each(PacketKind::Udp),
        PacketKind::Icmp(ECHO, _) => vec![PacketKind::Icmp(ECHO_REPLY, 0)],
        // Nothing answers errors.
        PacketKind::Icmp(..) => Vec::new(),
        PacketKind::Other(protocol) => vec![PacketKind::Other(protocol)],
    }
}

/// Ports of [`EPHEMERAL`], one of each part that rules are about.
fn told_apart<'a>(rules: impl Iterator<Item = &'a AclRule>) -> BTreeSet<u16> {
    let mut ports = BTreeSet::from([*EPHEMERAL.start()]);
    for rule in rules {
        if let Traffic::Tcp(some) | Traffic::Udp(some) = rule.traffic {
            let (first, last) = some.bounds();
            ports.extend([first, last.saturating_add(1)]);
        }
    }
    ports.retain(|port| EPHEMERAL.contains(port));
    ports
}

impl AtBorder {
    /// Whether the packet crosses it.
    pub fn passes(&self) -> bool {
        matches!(&self.by, Some((_, rule)) if rule.action == Action::Allow)
    }
}

impl fmt::Display for AtBorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (direction, subnet, acl) = (self.direction, &self.subnet, &self.acl);
        write!(f, "{direction} at subnet '{subnet}': ")?;
        match &self.by {
            Some((number, rule)) => {
                let does = match rule.action {
                    Action::Allow => "allows",
                    Action::Deny => "denies",
                };
                let (traffic, cidr) = (rule.traffic, rule.cidr);
                write!(
                    f,
                    "rule {number} of network ACL '{acl}' {does} {traffic} {cidr}"
                )
            }
            None => write!(f, "no rule of network ACL '{acl}' is about it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{explain, passes};
    use super::*;
    use crate::cidr::Cidr;
    use crate::port::PortWish;
    use crate::security_group::{Peer, Rule};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// 10.0.1.4 and 10.0.1.5 in `front`, 10.0.2.4 in `back`, whose network ACL
    /// `strict` has no rules; their groups let everything in.
    fn vpc() -> Vpc {
        let mut vpc = Vpc::new("10.0.0.0/16".parse().unwrap()).unwrap();
        for (subnet, range) in [("front", "10.0.1.0/24"), ("back", "10.0.2.0/24")] {
            vpc.add_subnet(name(subnet), range.parse().unwrap())
                .unwrap();
        }
        for subnet in ["front", "front", "back"] {
            vpc.add_port(name(subnet), PortWish::default()).unwrap();
        }
        let all = Rule {
            traffic: Traffic::All,
            peer: Peer::Cidr(Cidr::ALL),
        };
        vpc.authorize(&name("default"), Direction::Inbound, all)
            .unwrap();
        vpc.add_network_acl(name("strict")).unwrap();
        vpc.associate_network_acl(&name("back"), &name("strict"))
            .unwrap();
        vpc
    }

    fn add(vpc: &mut Vpc, direction: Direction, number: u16, rule: &str) {
        let mut words = rule.split(' ');
        let mut word = || words.next().unwrap();
        let rule = AclRule {
            action: word().parse().unwrap(),
            traffic: word().parse().unwrap(),
            cidr: word().parse().unwrap(),
        };
        let number = number.try_into().unwrap();
        vpc.add_acl_rule(&name("strict"), direction, number, rule)
            .unwrap();
    }

    fn told(vpc: &Vpc, from: &str, to: &str, kind: &str) -> (bool, String) {
        let steps = explain(
            vpc,
            Packet {
                from: from.parse().unwrap(),
                to: to.parse().unwrap(),
                kind: kind.parse().unwrap(),
            },
        );
        (passes(&steps), steps.last().unwrap().to_string())
    }

    #[test]
    fn the_first_rule_that_is_about_a_packet_decides() {
        let mut vpc = vpc();
        let ask = |vpc: &Vpc| told(vpc, "10.0.1.4", "10.0.2.4", "80");
        let (passes, why) = ask(&vpc);
        assert!(!passes);
        assert_eq!(
            why,
            "inbound at subnet 'back': no rule of network ACL 'strict' is about it"
        );
        add(&mut vpc, Direction::Outbound, 1, "allow all 0.0.0.0/0");
        add(&mut vpc, Direction::Inbound, 200, "allow tcp:80 0.0.0.0/0");
        assert!(ask(&vpc).0);
        add(&mut vpc, Direction::Inbound, 300, "deny tcp 10.0.1.0/24");
        assert!(ask(&vpc).0);
        add(&mut vpc, Direction::Inbound, 100, "deny all 10.0.1.4/32");
        let (passes, why) = ask(&vpc);
        assert!(!passes);
        assert_eq!(
            why,
            "inbound at subnet 'back': rule 100 of network ACL 'strict' denies all 10.0.1.4/32"
        );
        assert!(told(&vpc, "10.0.1.5", "10.0.2.4", "80").0);
        assert!(told(&vpc, "10.0.1.4", "10.0.1.5", "80").0, "no border");
    }

    #[test]
    fn answers_need_rules_of_their_own() {
        let mut vpc = vpc();
        let ask = |vpc: &Vpc, kind| told(vpc, "10.0.1.4", "10.0.2.4", kind);
        add(&mut vpc, Direction::Inbound, 1, "allow all 0.0.0.0/0");
        let (passes, why) = ask(&vpc, "80");
        assert!(!passes);
        assert_eq!(
            why,
            "its answers, like tcp:32768, outbound at subnet 'back': no rule of network ACL \
             'strict' is about it"
        );
        assert!(ask(&vpc, "icmp:3/4").0, "which has none");
        add(
            &mut vpc,
            Direction::Outbound,
            10,
            "allow tcp:32768-60999 10.0.1.0/24",
        );
        assert!(ask(&vpc, "80").0);
        assert!(!ask(&vpc, "udp:53").0);
        assert!(!ask(&vpc, "icmp").0);
        add(&mut vpc, Direction::Outbound, 20, "allow icmp:0 0.0.0.0/0");
        assert!(ask(&vpc, "icmp").0);
        // Some of them are not all.
        add(&mut vpc, Direction::Outbound, 5, "deny tcp:40000 0.0.0.0/0");
        let (passes, why) = ask(&vpc, "80");
        assert!(!passes && why.contains("tcp:40000, outbound"), "{why}");
    }
}
