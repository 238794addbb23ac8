//! From a bridge's state to its rules.
//!
//! ```text
//! a frame    prerouting    guard        is nothing that only a router, a bridge or a
//!                                       DHCP server says, if its port is guarded
//!                          senders      sender's MAC address is its port's
//!            forward       private      its port's private VLAN has the way out
//! ```
//!
//! Linux has a flag for ports that are isolated from each other, and none for
//! communities, nor for what is between both: all of it is rules here, so that one
//! table says who may talk to whom. A port's private VLAN is a chain, found by the
//! tap that a frame came by; a change of ports is a change of elements. A tap that
//! no rule knows sends nothing.

use serde_json::{Value, json};

use super::json::{
    IIF, OIF, accept, concat, counter, drop, goto, is, is_in, is_not, jump, meta, pass, payload,
    vmap,
};
use super::rules::Rules;
use super::{Chain, Family, Ruleset, Set, TABLE, Table};
use crate::bridge::Bridge;
use crate::bridge::port::Port;
use crate::bridge::private_vlan::PrivateVlan;
use crate::name::Name;

/// What the uplink is called in the bridge's namespace; no tap is.
pub const UPLINK: &str = "uplink";

/// Who may send as whom: tap and MAC address of each port.
const SENDERS: &str = "senders";
/// The MAC addresses of all ports: nobody sends from them but the ports, so that
/// no address moves to another port.
const OWN: &str = "own";
/// The taps of guarded ports.
const GUARDED: &str = "guarded";
/// From the taps of ports that are not promiscuous to the chains of what they
/// reach.
const PARTS: &str = "parts";
/// Those taps.
const SECONDARY: &str = "secondary";
/// The chain of what isolated ports reach, and how those of others end.
const ISOLATED: &str = "isolated";
/// Of a fragment that begins a packet.
const WHOLE: &str = "whole";

/// Before the bridge learns (NF_BR_PRI_NAT_DST_BRIDGED).
const FIRST: i32 = -300;
const FILTER: i32 = 0;

impl Ruleset {
    /// The rules of `bridge`.
    pub fn of_bridge(bridge: &Bridge) -> Self {
        let tables = [(Family::Bridge, table(bridge))].into();
        let name = TABLE.into();
        Self { name, tables }
    }
}

fn table(bridge: &Bridge) -> Table {
    let mut table = Table::default();
    let mut senders = Set::of(&["ifname", "ether_addr"]);
    let mut own = Set::of(&["ether_addr"]);
    let mut guarded = Set::of(&["ifname"]);
    let mut secondary = Set::of(&["ifname"]);
    let mut parts = Set::map(&["ifname"], "verdict");
    for port in bridge.ports().values() {
        let (tap, mac) = (json!(port.tap()), json!(port.mac));
        senders.insert(&[tap.clone(), mac.clone()], None);
        own.insert(&[mac], None);
        if port.guard {
            guarded.insert(std::slice::from_ref(&tap), None);
        }
        if let Some(chain) = chain_of(&port.private_vlan) {
            secondary.insert(std::slice::from_ref(&tap), None);
            parts.insert(&[tap], Some(goto(&chain)));
        }
        if let PrivateVlan::Community(name) = &port.private_vlan {
            add_member(&mut table, name, port);
        }
    }
    let sets = [
        (SENDERS, senders),
        (OWN, own),
        (GUARDED, guarded),
        (SECONDARY, secondary),
        (PARTS, parts),
    ];
    let sets = sets.map(|(name, set)| (name.into(), set));
    table.sets.extend(sets);
    let chains = [
        ("guard", called(guard())),
        (WHOLE, called(whole())),
        (
            "senders",
            Chain::at("prerouting", FIRST, "drop", of_senders()),
        ),
        (ISOLATED, called(isolated())),
        (
            "private",
            Chain::at(
                "forward",
                FILTER,
                "accept",
                vec![json!([vmap(meta(IIF), PARTS)])],
            ),
        ),
    ];
    let chains = chains.map(|(name, chain)| (name.into(), chain));
    table.chains.extend(chains);
    table
}

/// A community is a set of taps, and the chain of what they reach.
fn add_member(table: &mut Table, name: &Name, port: &Port) {
    let members = format!("members-{name}");
    let set = table.sets.entry(members.clone());
    let set = set.or_insert_with(|| Set::of(&["ifname"]));
    set.insert(&[json!(port.tap())], None);
    let chain = vec![
        json!([is_in(meta(OIF), &members), accept()]),
        json!([goto(ISOLATED)]),
    ];
    table.chains.insert(community(name), called(chain));
}

fn chain_of(part: &PrivateVlan) -> Option<String> {
    match part {
        PrivateVlan::Promiscuous => None,
        PrivateVlan::Isolated => Some(ISOLATED.into()),
        PrivateVlan::Community(name) => Some(community(name)),
    }
}

fn community(name: &Name) -> String {
    format!("community-{name}")
}

/// Others than promiscuous ports are not reached; the uplink is one.
fn isolated() -> Vec<Value> {
    vec![json!([is_in(meta(OIF), SECONDARY), counter(), drop()])]
}

fn of_senders() -> Vec<Value> {
    let sender = concat(&[meta(IIF), payload("ether", "saddr")]);
    let not_own = is_not(payload("ether", "saddr"), format!("@{OWN}"));
    vec![
        json!([is_in(meta(IIF), GUARDED), jump("guard")]),
        json!([is_in(sender, SENDERS), accept()]),
        json!([is(meta(IIF), UPLINK), not_own, accept()]),
        json!([counter(), drop()]),
    ]
}

/// What an ordinary host does not send.
fn guard() -> Vec<Value> {
    let one_of = |left: Value, values: Value| is(left, json!({"set": values}));
    let fragment = json!({"exthdr": {"name": "frag", "field": "frag-off"}});
    vec![
        // A frame for a VLAN is not looked into.
        json!([
            one_of(payload("ether", "type"), json!(["8021q", "8021ad"])),
            counter(),
            drop()
        ]),
        // To other bridges, which would take it for one (IEEE 802.1Q §8.6.3, and what
        // Cisco's have for each VLAN).
        json!([
            one_of(
                payload("ether", "daddr"),
                json!(["01:80:c2:00:00:00", "01:00:0c:cc:cc:cd"])
            ),
            counter(),
            drop()
        ]),
        // To clients of DHCP (RFC 2131 §4.1, RFC 8415 §7.2).
        json!([
            one_of(payload("udp", "dport"), json!([68, 546])),
            counter(),
            drop()
        ]),
        // Of routers (RFC 4861 §4.2 and §4.5; RFC 6105).
        json!([
            one_of(
                payload("icmpv6", "type"),
                json!(["nd-router-advert", "nd-redirect"])
            ),
            counter(),
            drop()
        ]),
        json!([is(fragment, 0), jump(WHOLE)]),
    ]
}

/// A first fragment has the beginning of what it is the first of: else that could
/// be in the second, and nothing is known of it (RFC 7112 §5, RFC 7113 §3). Every
/// protocol has four bytes, of which the last is compared with what it always is if
/// it is there.
fn whole() -> Vec<Value> {
    let fourth = json!({"payload": {"base": "th", "offset": 24, "len": 8}});
    let is_there = json!({"match": {"op": ">=", "left": fourth, "right": 0}});
    vec![json!([is_there, pass()]), json!([counter(), drop()])]
}

/// A chain that others jump to.
fn called(rules: Vec<Value>) -> Chain {
    Chain {
        hook: None,
        rules: Rules::Written(rules),
    }
}

#[cfg(test)]
mod tests {
    use super::super::replacement;
    use super::*;
    use crate::bridge::port::PortWish;

    fn bridge(parts: &[&str]) -> Bridge {
        let mut bridge = Bridge::new(None, None).unwrap();
        for part in parts {
            let wish = PortWish {
                private_vlan: part.parse().unwrap(),
                ..PortWish::default()
            };
            bridge.add_port(wish).unwrap();
        }
        bridge
    }

    fn set<'a>(rules: &'a Ruleset, name: &str) -> &'a Set {
        &rules.tables[&Family::Bridge].sets[name]
    }

    #[test]
    fn each_port_is_where_its_private_vlan_says() {
        let parts = ["promiscuous", "isolated", "red", "red", "blue"];
        let rules = Ruleset::of_bridge(&bridge(&parts));
        for (name, count) in [
            (SENDERS, 5),
            (OWN, 5),
            (GUARDED, 4),
            (SECONDARY, 4),
            (PARTS, 4),
            ("members-red", 2),
            ("members-blue", 1),
        ] {
            assert_eq!(set(&rules, name).elements.len(), count, "{name}");
        }
        let chains = &rules.tables[&Family::Bridge].chains;
        let communities = chains.keys().filter(|name| name.starts_with("community-"));
        assert_eq!(communities.count(), 2);
    }

    #[test]
    fn another_port_changes_elements_only() {
        let mut bridge = bridge(&["isolated", "red"]);
        let old = Ruleset::of_bridge(&bridge);
        let private_vlan = "red".parse().unwrap();
        let wish = PortWish {
            private_vlan,
            ..PortWish::default()
        };
        bridge.add_port(wish).unwrap();
        let new = Ruleset::of_bridge(&bridge);
        let chains = |rules: &Ruleset| rules.tables[&Family::Bridge].chains.clone();
        assert_eq!(chains(&old), chains(&new));
        assert_ne!(replacement(&old), replacement(&new));
    }
}
