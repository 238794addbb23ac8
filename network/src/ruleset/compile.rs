//! From a network's state to its rules.

use serde_json::{Value, json};

use super::json::{
    IIF, OIF, accept, any, concat, counter, ct, drop, is, is_in, is_not, jump, mark_by, meta,
    payload, prefix, range, vmap,
};
use super::{Chain, Family, Hook, Ruleset, Set, Table, replacement};
use crate::cidr::Cidr;
use crate::id::{Id, OfGroup};
use crate::port::{Port, TAP_PREFIX};
use crate::security_group::{Direction, Peer, Rule, SecurityGroup};
use crate::traffic::{ICMP, Ports, Traffic};
use crate::vpc::Vpc;

/// Who may send as whom: tap, MAC and IP address of each port.
const SENDERS: &str = "senders";
/// Tap and MAC address of the ports that may send as others.
const ROUTERS: &str = "routers";
/// From taps to the marks of their route tables.
const TABLES: &str = "tables";
/// From taps to the chains of their ports, by direction.
const OUTBOUND: &str = "outbound-of";
const INBOUND: &str = "inbound-of";

/// The seal: a set with one element, a digest of all the rest.
const SEAL: &str = "seal";

/// Before connection tracking (netfilter's NF_IP_PRI_RAW), so that what is
/// forged leaves no trace.
const RAW: i32 = -300;
/// Before routing decides (NF_IP_PRI_MANGLE).
const MANGLE: i32 = -150;
/// Senders' rules come before receivers'.
const FILTER: i32 = 0;
const LATER: i32 = 10;

impl Ruleset {
    /// The rules of `vpc`.
    pub fn of(vpc: &Vpc) -> Self {
        let tables = [(Family::Arp, arp(vpc)), (Family::Inet, inet(vpc))];
        let tables = tables.into();
        Self { tables }.sealed()
    }

    fn sealed(mut self) -> Self {
        let digest = crc32fast::hash(replacement(&self).to_string().as_bytes());
        let mut seal = Set::of(&["mark"]);
        seal.insert(&[json!(digest)], None);
        if let Some(table) = self.tables.get_mut(&Family::Inet) {
            table.sets.insert(SEAL.into(), seal);
        }
        self
    }
}

/// The network answers ARP, for the owners of addresses only.
fn arp(vpc: &Vpc) -> Table {
    let sender = concat(&[
        meta(IIF),
        payload("arp", "saddr ether"),
        payload("arp", "saddr ip"),
    ]);
    let router = concat(&[meta(IIF), payload("arp", "saddr ether")]);
    let rules = vec![
        json!([is_not(meta(IIF), taps()), accept()]),
        json!([is_in(sender, SENDERS), accept()]),
        json!([is_in(router, ROUTERS), accept()]),
        json!([counter(), drop()]),
    ];
    let guard = Chain::at("input", FILTER, "accept", rules);
    Table {
        sets: owners(vpc).into(),
        chains: [("guard".into(), guard)].into(),
    }
}

fn inet(vpc: &Vpc) -> Table {
    let mut table = Table::default();
    table.sets.extend(owners(vpc));
    table.sets.insert(TABLES.into(), tables(vpc));
    for (name, chain) in [
        ("guard", guard()),
        (
            "tables",
            Chain::at(
                "prerouting",
                MANGLE,
                "accept",
                vec![json!([mark_by(meta(IIF), TABLES)])],
            ),
        ),
        ("outbound", forward(FILTER, IIF, OUTBOUND)),
        ("inbound", forward(LATER, OIF, INBOUND)),
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
    for (name, group) in vpc.groups() {
        let mut members = Set::of(&["ipv4_addr"]);
        for port in vpc.members(name) {
            members.insert(&[json!(port.address)], None);
        }
        table.sets.insert(members_of(group.id), members);
        for direction in [Direction::Outbound, Direction::Inbound] {
            let chain = group_chain(vpc, group, direction);
            table
                .chains
                .insert(chain_of_group(group.id, direction), chain);
        }
    }
    table
}

/// Taps, of any port.
fn taps() -> String {
    format!("{TAP_PREFIX}*")
}

/// Who may send as whom.
fn owners(vpc: &Vpc) -> [(String, Set); 2] {
    let mut senders = Set::of(&["ifname", "ether_addr", "ipv4_addr"]);
    let mut routers = Set::of(&["ifname", "ether_addr"]);
    for port in vpc.ports().values() {
        let (tap, mac) = (json!(port.tap()), json!(port.mac));
        if port.source_check {
            senders.insert(&[tap, mac, json!(port.address)], None);
        } else {
            routers.insert(&[tap, mac], None);
        }
    }
    [(SENDERS.into(), senders), (ROUTERS.into(), routers)]
}

fn tables(vpc: &Vpc) -> Set {
    let mut tables = Set::map(&["ifname"], "mark");
    for port in vpc.ports().values() {
        let number = vpc.route_table_of(port).number;
        tables.insert(&[json!(port.tap())], Some(json!(number)));
    }
    tables
}

/// What a guest sends under another's name goes no further, nor what is for
/// everybody.
fn guard() -> Chain {
    let sender = concat(&[meta(IIF), payload("ether", "saddr"), payload("ip", "saddr")]);
    let router = concat(&[meta(IIF), payload("ether", "saddr")]);
    let to = |range: Cidr| {
        let range = prefix(&range.first().to_string(), range.prefix());
        is(payload("ip", "daddr"), range)
    };
    let groups: Cidr = "224.0.0.0/3".parse().expect("this is a range");
    let rules = vec![
        json!([is_not(meta(IIF), taps()), accept()]),
        json!([is_not(meta("nfproto"), "ipv4"), counter(), drop()]),
        json!([to(groups), counter(), drop()]),
        json!([is_in(sender, SENDERS), accept()]),
        json!([is_in(router, ROUTERS), accept()]),
        json!([counter(), drop()]),
    ];
    Chain::at("prerouting", RAW, "accept", rules)
}

/// What `interface` says of packets is answered by the chains of the ports in
/// `map`; nobody else's packets are forwarded between ports.
fn forward(priority: i32, interface: &str, map: &str) -> Chain {
    let rules = vec![
        json!([is(ct("state"), any(&["established", "related"])), accept()]),
        json!([is(ct("state"), "invalid"), counter(), drop()]),
        json!([vmap(meta(interface), map)]),
        json!([is(meta(interface), taps()), counter(), drop()]),
    ];
    Chain::at("forward", priority, "accept", rules)
}

/// What guests may have of the network itself: answers of its router to pings,
/// and its services.
fn services() -> Chain {
    let port = |protocol: &str, port: u16| is(payload(protocol, "dport"), port);
    let rules = vec![
        json!([is_not(meta(IIF), taps()), accept()]),
        json!([is(ct("state"), any(&["established", "related"])), accept()]),
        json!([is(payload("icmp", "type"), "echo-request"), accept()]),
        json!([port("udp", 53), accept()]),
        json!([port("tcp", 53), accept()]),
        json!([
            is(payload("ip", "daddr"), "169.254.169.254"),
            port("tcp", 80),
            accept()
        ]),
        json!([counter(), drop()]),
    ];
    Chain::at("input", FILTER, "accept", rules)
}

/// Asks the groups of a port; what none allows is dropped by who asked.
fn port_chain(vpc: &Vpc, port: &Port, direction: Direction) -> Chain {
    let groups = port.groups.iter().map(|name| &vpc.groups()[name]);
    let rules = groups.map(|group| json!([jump(&chain_of_group(group.id, direction))]));
    Chain {
        hook: None,
        rules: rules.collect(),
    }
}

/// Accepts what a group allows.
fn group_chain(vpc: &Vpc, group: &SecurityGroup, direction: Direction) -> Chain {
    let rules = group.rules(direction).iter();
    Chain {
        hook: None,
        rules: rules.map(|rule| allow(vpc, rule, direction)).collect(),
    }
}

fn allow(vpc: &Vpc, rule: &Rule, direction: Direction) -> Value {
    let field = match direction {
        Direction::Inbound => "saddr",
        Direction::Outbound => "daddr",
    };
    let address = payload("ip", field);
    let mut expressions = match &rule.peer {
        Peer::Cidr(Cidr::ALL) => Vec::new(),
        Peer::Cidr(cidr) => {
            let first = cidr.first().to_string();
            vec![is(address, prefix(&first, cidr.prefix()))]
        }
        Peer::Group(name) => vec![is_in(address, &members_of(vpc.groups()[name].id))],
    };
    expressions.extend(kind(rule.traffic));
    expressions.push(accept());
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
            [Some(field("type", kind)), code]
                .into_iter()
                .flatten()
                .collect()
        }
        Traffic::Other(number) => vec![protocol(number)],
    }
}

fn chain_of_port(port: &Port, direction: Direction) -> String {
    format!("{direction}-{}", port.tap())
}

fn chain_of_group(group: Id<OfGroup>, direction: Direction) -> String {
    format!("{direction}-{group}")
}

fn members_of(group: Id<OfGroup>) -> String {
    format!("members-{group}")
}

impl Chain {
    fn at(hook: &'static str, priority: i32, policy: &'static str, rules: Vec<Value>) -> Self {
        let hook = Hook {
            name: hook,
            priority,
            policy,
        };
        let hook = Some(hook);
        Self { hook, rules }
    }
}

impl Set {
    fn of(key: &'static [&'static str]) -> Self {
        Self {
            key,
            value: None,
            elements: Default::default(),
        }
    }

    fn map(key: &'static [&'static str], value: &'static str) -> Self {
        Self {
            value: Some(value),
            ..Self::of(key)
        }
    }

    fn insert(&mut self, key: &[Value], value: Option<Value>) {
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
