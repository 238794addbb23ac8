//! The rules of a chain: as few bytes as say what they are. A network can have a
//! hundred thousand, and a change is of one chain: only what nftables is told is
//! written out.

use std::hash::{Hash, Hasher};
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::json::{accept, counter, drop, is, is_in, is_not, jump, meta, payload, prefix, range};
use crate::cidr::Cidr;
use crate::id::{Id, OfGroup};
use crate::network_acl::{AclRule, Action};
use crate::security_group::Direction;
use crate::traffic::{ICMP, Ports, Traffic};

/// Rules, in order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rules {
    /// As nftables has them, each a list of expressions.
    Written(Vec<Value>),
    /// Other chains are asked.
    Jumps {
        /// What is for another address is dropped before.
        only: Option<Ipv4Addr>,
        chains: Vec<String>,
    },
    /// What goes that way and is of that kind, from or to that peer, is accepted.
    Allowed(Direction, Vec<(Traffic, Addresses)>),
    /// Of what goes that way, the first that is about a packet decides whether it
    /// goes on to where else one is asked. Others are dropped.
    FirstOf(Direction, Vec<AclRule>),
}

/// Addresses that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Addresses {
    Cidr(Cidr),
    /// Those of a group's ports.
    Members(Id<OfGroup>),
}

/// The set of the addresses of a group's ports.
pub(super) fn members_of(group: Id<OfGroup>) -> String {
    format!("members-{group}")
}

impl Rules {
    /// As nftables has them.
    pub(super) fn written(&self) -> Vec<Value> {
        match self {
            Self::Written(rules) => rules.clone(),
            Self::Jumps { only, chains } => {
                let others = |own: &Ipv4Addr| {
                    let others = is_not(payload("ip", "daddr"), own.to_string());
                    json!([others, counter(), drop()])
                };
                let chains = chains.iter().map(|chain| json!([jump(chain)]));
                only.iter().map(others).chain(chains).collect()
            }
            Self::Allowed(direction, rules) => rules
                .iter()
                .map(|(traffic, peer)| rule(*traffic, *peer, *direction, [accept()]))
                .collect(),
            Self::FirstOf(direction, rules) => {
                let rules = rules.iter().map(|one| numbered(one, *direction));
                rules.chain([json!([counter(), drop()])]).collect()
            }
        }
    }
}

impl Hash for Rules {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Written(rules) => rules.iter().for_each(|rule| rule.to_string().hash(state)),
            Self::Jumps { only, chains } => (only, chains).hash(state),
            Self::Allowed(direction, rules) => (direction, rules).hash(state),
            Self::FirstOf(direction, rules) => (direction, rules).hash(state),
        }
    }
}

fn numbered(one: &AclRule, direction: Direction) -> Value {
    let peer = Addresses::Cidr(one.cidr);
    match one.action {
        Action::Allow => rule(one.traffic, peer, direction, [accept()]),
        Action::Deny => rule(one.traffic, peer, direction, [counter(), drop()]),
    }
}

/// What is done with packets of that kind, from or to that peer.
fn rule<const N: usize>(
    traffic: Traffic,
    peer: Addresses,
    direction: Direction,
    done: [Value; N],
) -> Value {
    let field = match direction {
        Direction::Inbound => "saddr",
        Direction::Outbound => "daddr",
    };
    let address = payload("ip", field);
    let mut expressions = match peer {
        Addresses::Cidr(Cidr::ALL) => Vec::new(),
        Addresses::Cidr(cidr) => {
            let first = cidr.first().to_string();
            vec![is(address, prefix(&first, cidr.prefix()))]
        }
        Addresses::Members(group) => vec![is_in(address, &members_of(group))],
    };
    expressions.extend(kind(traffic));
    expressions.extend(done);
    Value::Array(expressions)
}

/// Holds for packets of that kind.
fn kind(traffic: Traffic) -> Vec<Value> {
    let protocol = |number: u8| is(meta("l4proto"), number);
    let ports = |name: &str, ports: Ports| match ports {
        Ports::ALL => is(meta("l4proto"), name),
        some => {
            let (first, last) = some.bounds();
            is(payload(name, "dport"), range(first, last))
        }
    };
    match traffic {
        Traffic::All => Vec::new(),
        Traffic::Tcp(some) => vec![ports("tcp", some)],
        Traffic::Udp(some) => vec![ports("udp", some)],
        Traffic::Icmp(None) => vec![protocol(ICMP)],
        Traffic::Icmp(Some((kind, code))) => {
            let field = |name: &str, value: u8| is(payload("icmp", name), value);
            let code = code.map(|code| field("code", code));
            let kind = Some(field("type", kind));
            [kind, code].into_iter().flatten().collect()
        }
        Traffic::Other(number) => vec![protocol(number)],
    }
}
