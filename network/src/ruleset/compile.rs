//! From a network's state to its rules.

use serde_json::{Value, json};

use super::guard::{self, DHCP_SERVER, OWNERS, ROUTERS, SOLICITATIONS};
use super::json::{
    IIF, OIF, accept, any, concat, counter, ct, drop, is, is_in, is_not, jump, mark_by, meta,
    original, payload, vmap,
};
use super::rules::{Addresses, Rules, members_of};
use super::{Chain, Family, Hook, Ruleset, Set, TABLE, Table, gateway, network_acl, peering};
use crate::id::{Id, OfGroup};
use crate::plan::{METADATA, METADATA6};
use crate::port::{Port, TAP_PREFIX};
use crate::security_group::{Direction, Peer, SecurityGroup};
use crate::vpc::Vpc;

/// From taps to the marks of their route tables.
const TABLES: &str = "tables";
/// From taps to the chains of their ports, by direction.
const OUTBOUND: &str = "outbound-of";
const INBOUND: &str = "inbound-of";

/// The port of name servers.
const DNS: u16 = 53;

/// Before fragments are put together (netfilter's NF_IP_PRI_RAW_BEFORE_DEFRAG),
/// which does not ask by which interface each came, and before connections are
/// tracked: what is forged leaves no trace.
pub(super) const FIRST: i32 = -450;
/// Before routing decides (NF_IP_PRI_MANGLE).
pub(super) const MANGLE: i32 = -150;
/// Senders' rules come before receivers'.
pub(super) const FILTER: i32 = 0;
const LATER: i32 = 10;

impl Ruleset {
    /// The rules of `vpc`.
    pub fn of(vpc: &Vpc) -> Self {
        let tables = [(Family::Arp, guard::arp(vpc)), (Family::Inet, inet(vpc))];
        Self::sealed(TABLE.into(), tables)
    }
}

fn inet(vpc: &Vpc) -> Table {
    let mut table = Table::default();
    table.sets.extend(guard::sets(vpc));
    table.sets.insert(TABLES.into(), tables(vpc));
    for (name, chain) in [
        ("guard", guard::chain()),
        (guard::METADATA_BY_IPV6, guard::metadata6()),
        (
            "tables",
            Chain::at(
                "prerouting",
                MANGLE,
                "accept",
                vec![json!([mark_by(meta(IIF), TABLES)])],
            ),
        ),
        (
            "outbound",
            forward(FILTER, IIF, OUTBOUND, errors_of_senders()),
        ),
        ("inbound", forward(LATER, OIF, INBOUND, errors())),
        ("services", services()),
    ] {
        table.chains.insert(name.into(), chain);
    }
    for (direction, map) in [
        (Direction::Outbound, OUTBOUND),
        (Direction::Inbound, INBOUND),
    ] {
        let mut chains = Set::map(&["ifname"], "verdict");
        for port in vpc.ports().values() {
            let name = chain_of_port(port, direction);
            chains.insert(&[json!(port.tap())], Some(jump(&name)));
            table.chains.insert(name, port_chain(vpc, port, direction));
        }
        table.sets.insert(map.into(), chains);
    }
    for group in vpc.groups().values() {
        let members = Set::of(&["ipv4_addr"]);
        table.sets.insert(members_of(group.id), members);
        for direction in [Direction::Outbound, Direction::Inbound] {
            let chain = group_chain(vpc, group, direction);
            table
                .chains
                .insert(chain_of_group(group.id, direction), chain);
        }
    }
    for port in vpc.ports().values() {
        for group in port.groups.iter().map(|name| &vpc.groups()[name]) {
            if let Some(members) = table.sets.get_mut(&members_of(group.id)) {
                members.insert(&[json!(port.address)], None);
            }
        }
    }
    network_acl::extend(&mut table, vpc);
    peering::extend(&mut table, vpc);
    if let Some(uplink) = vpc.uplink() {
        gateway::extend(&mut table, vpc, uplink);
    }
    table
}

/// Taps, of any port.
pub(super) fn taps() -> String {
    format!("{TAP_PREFIX}*")
}

fn tables(vpc: &Vpc) -> Set {
    let mut tables = Set::map(&["ifname"], "mark");
    for port in vpc.ports().values() {
        let number = vpc.route_table_of(port).number;
        tables.insert(&[json!(port.tap())], Some(json!(number)));
    }
    tables
}

/// Is for the port of the metadata service.
pub(super) fn http() -> Value {
    is(payload("tcp", "dport"), 80)
}

/// What `interface` says of packets is answered by the chains of the ports in
/// `map`; nobody else's packets are forwarded between ports. Before those, answers
/// pass, and `errors`.
fn forward(priority: i32, interface: &str, map: &str, errors: Vec<Value>) -> Chain {
    let mut rules = vec![json!([is(ct("state"), "established"), accept()])];
    rules.extend(errors);
    rules.extend([
        json!([
            is(ct("state"), any(&["related", "invalid"])),
            counter(),
            drop()
        ]),
        json!([vmap(meta(interface), map)]),
        json!([is(meta(interface), taps()), counter(), drop()]),
    ]);
    Chain::at("forward", priority, "accept", rules)
}

/// Errors that come of a flow pass, as its answers do.
fn errors() -> Vec<Value> {
    vec![json!([is(ct("state"), "related"), accept()])]
}

/// The same, if their sender has a part in the flow, or routes: others could break
/// it.
fn errors_of_senders() -> Vec<Value> {
    let of = |end: &str| {
        let end = concat(&[meta(IIF), original(end)]);
        json!([is(ct("state"), "related"), is_in(end, OWNERS), accept()])
    };
    let router = concat(&[meta(IIF), payload("ether", "saddr")]);
    vec![
        of("ip saddr"),
        of("ip daddr"),
        json!([is(ct("state"), "related"), is_in(router, ROUTERS), accept()]),
        json!([
            is(ct("state"), "related"),
            is_not(meta(IIF), taps()),
            accept()
        ]),
    ]
}

/// What guests may have of the network itself: answers of its router to pings,
/// and its services.
fn services() -> Chain {
    let port = |protocol: &str, port: u16| is(payload(protocol, "dport"), port);
    let own = || is_in(concat(&[meta(IIF), payload("ip", "saddr")]), OWNERS);
    let rules = vec![
        json!([is_not(meta(IIF), taps()), accept()]),
        json!([is(ct("state"), any(&["established", "related"])), accept()]),
        json!([is(payload("icmp", "type"), "echo-request"), accept()]),
        json!([port("udp", DHCP_SERVER), accept()]),
        // Who asks for names has its share of them, by its address: also one that
        // routes asks for itself only.
        json!([port("udp", DNS), own(), accept()]),
        json!([port("tcp", DNS), own(), accept()]),
        json!([
            is(payload("ip", "daddr"), METADATA.to_string()),
            http(),
            accept()
        ]),
        json!([
            is(payload("ip6", "daddr"), METADATA6.to_string()),
            http(),
            accept()
        ]),
        json!([is(payload("icmpv6", "type"), any(&SOLICITATIONS)), accept()]),
        json!([counter(), drop()]),
    ];
    Chain::at("input", FILTER, "accept", rules)
}

/// Asks the groups of a port; what none allows is dropped by who asked. Only a port
/// that routes is sent what is for others.
fn port_chain(vpc: &Vpc, port: &Port, direction: Direction) -> Chain {
    let groups = port.groups.iter().map(|name| &vpc.groups()[name]);
    let chains = groups.map(|group| chain_of_group(group.id, direction));
    let checked = port.source_check && direction == Direction::Inbound;
    Chain {
        hook: None,
        rules: Rules::Jumps {
            only: checked.then_some(port.address),
            chains: chains.collect(),
        },
    }
}

/// Accepts what a group allows.
fn group_chain(vpc: &Vpc, group: &SecurityGroup, direction: Direction) -> Chain {
    let peer = |peer: &Peer| match peer {
        Peer::Cidr(cidr) => Addresses::Cidr(*cidr),
        Peer::Group(name) => Addresses::Members(vpc.groups()[name].id),
    };
    let rules = group.rules(direction).iter();
    let allowed = rules.map(|rule| (rule.traffic, peer(&rule.peer)));
    Chain {
        hook: None,
        rules: Rules::Allowed(direction, allowed.collect()),
    }
}

fn chain_of_port(port: &Port, direction: Direction) -> String {
    format!("{direction}-{}", port.tap())
}

fn chain_of_group(group: Id<OfGroup>, direction: Direction) -> String {
    format!("{direction}-{group}")
}

impl Chain {
    pub(super) fn at(
        hook: &'static str,
        priority: i32,
        policy: &'static str,
        rules: Vec<Value>,
    ) -> Self {
        Self::of_kind("filter", hook, priority, policy, rules)
    }

    /// One that translates addresses.
    pub(super) fn nat(hook: &'static str, priority: i32, rules: Vec<Value>) -> Self {
        Self::of_kind("nat", hook, priority, "accept", rules)
    }

    fn of_kind(
        kind: &'static str,
        hook: &'static str,
        priority: i32,
        policy: &'static str,
        rules: Vec<Value>,
    ) -> Self {
        let hook = Hook {
            kind,
            name: hook,
            priority,
            policy,
        };
        let hook = Some(hook);
        let rules = Rules::Written(rules);
        Self { hook, rules }
    }
}

impl Set {
    pub(super) fn of(key: &'static [&'static str]) -> Self {
        Self {
            key,
            value: None,
            elements: Default::default(),
        }
    }

    pub(super) fn map(key: &'static [&'static str], value: &'static str) -> Self {
        Self {
            value: Some(value),
            ..Self::of(key)
        }
    }

    pub(super) fn insert(&mut self, key: &[Value], value: Option<Value>) {
        let key = match key {
            [single] => single.clone(),
            several => concat(several),
        };
        let order = key.to_string();
        let element = match value {
            Some(value) => json!([key, value]),
            None => key,
        };
        self.elements.insert(order, element);
    }
}
