//! What the host has for a network in its own namespace, where it has an
//! [uplink](crate::uplink): a table of its own, named after the network.
//!
//! ```text
//! from the network    prerouting   guard    nobody comes but under public addresses
//!                     input        own      the host itself is not there for guests
//!                     postrouting  leaving  addresses of the pool become the host's
//! to the host         prerouting   arrivals published ports become the network's
//! from the host       output       calls    the same
//! ```

use serde_json::{Value, json};

use super::compile::{FILTER, FIRST};
use super::gateway::{DNAT, SNAT};
use super::json::{
    IIF, OIF, any, concat, counter, ct, dnat_to_port, drop, found, is, is_in, is_not, jump, meta,
    payload, prefix, snat,
};
use super::rules::Rules;
use super::{Chain, Family, Ruleset, Set, Table};
use crate::public_address::is_known_outside;
use crate::uplink::{HOST_PREFIX, Uplink, host_link};
use crate::vpc::Vpc;

/// Under which addresses packets come from the network.
const KNOWN: &str = "known";
/// Those to which only the host knows the way.
const MASQUERADED: &str = "masqueraded";
/// From protocols and ports of the host to the ports by which they are relayed, and
/// the same for one of the host's addresses.
const PUBLISHED: &str = "published";
const PUBLISHED_AT: &str = "published-at";
/// The chain that looks into both.
const PUBLICATIONS: &str = "publications";

impl Ruleset {
    /// The rules of `vpc` in the host's own namespace; none without an uplink.
    pub fn of_host(vpc: &Vpc) -> Self {
        let table = vpc.uplink().map(|uplink| table(vpc, uplink));
        let name = format!("plinth-{}", vpc.id);
        Self::sealed(name, [(Family::Ip, table.unwrap_or_default())])
    }
}

fn table(vpc: &Vpc, uplink: Uplink) -> Table {
    let link = host_link(vpc.id);
    let to_publications = || vec![json!([to_host(), jump(PUBLICATIONS)])];
    let publications = Chain {
        hook: None,
        rules: Rules::Written(publications(uplink)),
    };
    let chains = [
        ("guard", guard(&link, uplink)),
        ("own", own(&link)),
        (PUBLICATIONS, publications),
        (
            "arrivals",
            Chain::nat("prerouting", DNAT, to_publications()),
        ),
        ("calls", Chain::nat("output", DNAT, to_publications())),
        ("leaving", leaving(&link, uplink)),
    ];
    Table {
        sets: sets(vpc, uplink).into(),
        chains: chains.map(|(name, chain)| (name.into(), chain)).into(),
    }
}

fn sets(vpc: &Vpc, uplink: Uplink) -> [(String, Set); 4] {
    let (mut known, mut masqueraded) = (Set::of(&["ipv4_addr"]), Set::of(&["ipv4_addr"]));
    known.insert(&[json!(uplink.own())], None);
    for address in vpc.public_addresses().keys() {
        known.insert(&[json!(address)], None);
        if !is_known_outside(*address) {
            masqueraded.insert(&[json!(address)], None);
        }
    }
    let mut published = Set::map(&["inet_proto", "inet_service"], "inet_service");
    let mut published_at = Set::map(&["ipv4_addr", "inet_proto", "inet_service"], "inet_service");
    for (_, one) in vpc.published() {
        let publication = one.publication;
        let (protocol, port) = (publication.protocol.name(), publication.host_port);
        let (protocol, port) = (json!(protocol), json!(port));
        let relay = Some(json!(one.relay));
        match publication.host_address {
            None => published.insert(&[protocol, port], relay),
            Some(address) => published_at.insert(&[json!(address), protocol, port], relay),
        }
    }
    [
        (KNOWN.into(), known),
        (MASQUERADED.into(), masqueraded),
        (PUBLISHED.into(), published),
        (PUBLISHED_AT.into(), published_at),
    ]
}

fn loopback() -> Value {
    prefix("127.0.0.0", 8)
}

/// The network's own end is for whom the host sends there, and 127.0.0.1 for the host
/// itself: translated, both could be reached by others.
fn guard(link: &str, uplink: Uplink) -> Chain {
    let stranger = is_not(payload("ip", "saddr"), format!("@{KNOWN}"));
    let to_itself = is(payload("ip", "daddr"), loopback());
    let relayed = is(payload("ip", "daddr"), uplink.own().to_string());
    let rules = vec![
        json!([is(meta(IIF), link), stranger, counter(), drop()]),
        json!([is_not(meta(IIF), "lo"), to_itself, counter(), drop()]),
        json!([relayed, counter(), drop()]),
    ];
    Chain::at("prerouting", FIRST, "accept", rules)
}

fn own(link: &str) -> Chain {
    let known = any(&["established", "related"]);
    let rule = json!([
        is(meta(IIF), link),
        is_not(ct("state"), known),
        counter(),
        drop()
    ]);
    Chain::at("input", FILTER, "accept", vec![rule])
}

/// The packet is for an address of the host.
fn to_host() -> Value {
    is(
        json!({"fib": {"result": "type", "flags": ["daddr"]}}),
        "local",
    )
}

fn publications(uplink: Uplink) -> Vec<Value> {
    let port = || [meta("l4proto"), payload("th", "dport")];
    let at = || concat(&[&[payload("ip", "daddr")], port().as_slice()].concat());
    let keys = [(concat(&port()), PUBLISHED), (at(), PUBLISHED_AT)];
    let relay = |protocol: &str, key: &Value, map: &str| {
        let own = json!(uplink.own());
        let port = found(key.clone(), map);
        json!([is(meta("l4proto"), protocol), dnat_to_port(own, port)])
    };
    let each = keys.iter().flat_map(|(key, map)| {
        let protocols = ["tcp", "udp"].into_iter();
        protocols.map(move |protocol| relay(protocol, key, map))
    });
    each.collect()
}

/// What the host sends to itself comes to a guest under the address of the link's end.
fn leaving(link: &str, uplink: Uplink) -> Chain {
    let own = snat(json!(uplink.host()));
    let pooled = is_in(payload("ip", "saddr"), MASQUERADED);
    let elsewhere = is_not(meta(OIF), format!("{HOST_PREFIX}*"));
    let from_itself = is(payload("ip", "saddr"), loopback());
    let rules = vec![
        json!([is(meta(OIF), link), from_itself, own]),
        json!([elsewhere, pooled, {"masquerade": null}]),
    ];
    Chain::nat("postrouting", SNAT, rules)
}
