//! What becomes of packets at the network's end of its uplink:
//!
//! ```text
//! from outside        prerouting      guard       nobody comes as one of the network
//!                                     arrivals    public addresses become private ones,
//!                                                 published ports guests' ports
//!                     forward         inbound     what comes by a published port passes
//! to outside          prerouting      tables      answers by a published port go back
//!                     forward         segments    TCP is told of the lesser MTU
//!                     postrouting     departures  private addresses become public ones
//!                                     leaving     only public addresses pass
//! for the network     input           services    nobody outside is answered
//! ```
//!
//! Security groups see private addresses: those from before the translation of what
//! leaves, and after that of what comes.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::compile::MANGLE;
use super::json::{
    IIF, OIF, accept, any, concat, counter, ct, dnat, dnat_to_port, drop, found, is, is_in, is_not,
    meta, next_hop, payload, prefix, set, snat,
};
use super::rules::Rules;
use super::{Chain, Set, Table};
use crate::plan::PUBLISHED;
use crate::public_address::Holder;
use crate::uplink::{MTU, OUT, Uplink};
use crate::vpc::Vpc;

/// From private addresses of ports to public ones, and back.
const PUBLIC: &str = "public-of";
const PRIVATE: &str = "private-of";
/// From the next hops that are NAT gateways to their public addresses.
const NAT_GATEWAYS: &str = "nat-gateways";
/// From whom packets leave.
const LEAVING: &str = "leaving-as";
/// From protocols and relayed ports to guests' addresses, and ports.
const GUESTS: &str = "published-guests";
const PORTS: &str = "published-ports";

/// NF_IP_PRI_NAT_DST, NF_IP_PRI_NAT_SRC, and after both.
pub(super) const DNAT: i32 = -100;
pub(super) const SNAT: i32 = 100;
const LAST: i32 = 300;

/// What TCP carries in a packet of [`MTU`] bytes: less 20 of IPv4 and 20 of TCP.
const SEGMENT: u16 = MTU - 40;

/// Adds to the rules of `vpc` those about its `uplink`.
pub(super) fn extend(table: &mut Table, vpc: &Vpc, uplink: Uplink) {
    table.sets.extend(sets(vpc, uplink));
    for (name, chain) in [
        ("arrivals", arrivals(uplink)),
        ("departures", departures()),
        ("leaving", leaving(uplink)),
        ("segments", segments()),
    ] {
        table.chains.insert(name.into(), chain);
    }
    for (name, first, rules) in [
        ("guard", true, guard(vpc)),
        ("services", true, services()),
        ("tables", false, vec![answers()]),
        ("inbound", true, vec![published()]),
    ] {
        let chain = table.chains.get_mut(name).map(|chain| &mut chain.rules);
        if let Some(Rules::Written(there)) = chain {
            let place = if first { 0 } else { there.len() };
            there.splice(place..place, rules);
        }
    }
}

fn sets(vpc: &Vpc, uplink: Uplink) -> Vec<(String, Set)> {
    let address = &["ipv4_addr"];
    let (mut public_of, mut private_of) = (
        Set::map(address, "ipv4_addr"),
        Set::map(address, "ipv4_addr"),
    );
    let (mut gateways, mut leaving) = (Set::map(address, "ipv4_addr"), Set::of(address));
    leaving.insert(&[json!(uplink.own())], None);
    for (public, holder) in vpc.associations() {
        leaving.insert(&[json!(public)], None);
        match holder {
            Holder::Port(id) => {
                let private: Option<Ipv4Addr> = vpc.port(*id).ok().map(|port| port.address);
                if let Some(private) = private {
                    public_of.insert(&[json!(private)], Some(json!(public)));
                    private_of.insert(&[json!(public)], Some(json!(private)));
                }
            }
            Holder::NatGateway(name) => {
                let hop = vpc.nat_gateways()[name].address;
                gateways.insert(&[json!(hop)], Some(json!(public)));
            }
        }
    }
    let port = &["inet_proto", "inet_service"];
    let (mut guests, mut ports) = (Set::map(port, "ipv4_addr"), Set::map(port, "inet_service"));
    for (guest, published) in vpc.published() {
        let publication = published.publication;
        let key = [json!(publication.protocol.name()), json!(published.relay)];
        guests.insert(&key, Some(json!(guest.address)));
        ports.insert(&key, Some(json!(publication.guest_port)));
    }
    let sets = [
        (PUBLIC, public_of),
        (PRIVATE, private_of),
        (NAT_GATEWAYS, gateways),
        (LEAVING, leaving),
        (GUESTS, guests),
        (PORTS, ports),
    ];
    sets.map(|(name, set)| (name.into(), set)).into()
}

fn comes() -> Value {
    is(meta(IIF), OUT)
}

fn goes() -> Value {
    is(meta(OIF), OUT)
}

/// Nobody outside has an address of the network, nor tells of better ways.
fn guard(vpc: &Vpc) -> Vec<Value> {
    let own = prefix(&vpc.cidr.first().to_string(), vpc.cidr.prefix());
    let redirect = is(payload("icmp", "type"), "redirect");
    vec![
        json!([comes(), is(payload("ip", "saddr"), own), counter(), drop()]),
        json!([comes(), redirect, counter(), drop()]),
    ]
}

/// What the network itself asked is answered; nobody else is outside.
fn services() -> Vec<Value> {
    let known = any(&["established", "related"]);
    vec![
        json!([comes(), is(ct("state"), known), accept()]),
        json!([comes(), counter(), drop()]),
    ]
}

/// Of flows that came by a published port, answers go back where it came from,
/// whatever the subnet's route table says.
fn answers() -> Value {
    json!([
        is_not(meta(IIF), OUT),
        is(ct("direction"), "reply"),
        is(ct("mark"), PUBLISHED),
        set(meta("mark"), PUBLISHED),
    ])
}

/// Who publishes a port means it to answer.
fn published() -> Value {
    json!([
        comes(),
        is(ct("state"), "new"),
        is(ct("mark"), PUBLISHED),
        accept()
    ])
}

fn arrivals(uplink: Uplink) -> Chain {
    let relayed = |protocol: &str| {
        let key = || concat(&[meta("l4proto"), payload("th", "dport")]);
        json!([
            comes(),
            is(payload("ip", "daddr"), uplink.own().to_string()),
            is(meta("l4proto"), protocol),
            set(ct("mark"), PUBLISHED),
            dnat_to_port(found(key(), GUESTS), found(key(), PORTS)),
        ])
    };
    let public = dnat(found(payload("ip", "daddr"), PRIVATE));
    let rules = vec![
        json!([comes(), public]),
        relayed("tcp"),
        relayed("udp"),
        json!([comes(), counter(), drop()]),
    ];
    Chain::nat("prerouting", DNAT, rules)
}

/// A next hop that is no NAT gateway is the internet gateway.
fn departures() -> Chain {
    let by_gateway = snat(found(next_hop(), NAT_GATEWAYS));
    let by_own = snat(found(payload("ip", "saddr"), PUBLIC));
    let rules = vec![
        json!([goes(), by_gateway]),
        json!([goes(), by_own]),
        json!([goes(), counter(), drop()]),
    ];
    Chain::nat("postrouting", SNAT, rules)
}

/// Nothing leaves under a private address, not even of a flow that began when it
/// went elsewhere. A NAT gateway sends no answers on: nobody came by it.
fn leaving(uplink: Uplink) -> Chain {
    let known = is_in(payload("ip", "saddr"), LEAVING);
    let answers = is(ct("direction"), "reply");
    let elsewhere = is_not(next_hop(), uplink.host().to_string());
    let rules = vec![
        json!([goes(), answers, elsewhere, counter(), drop()]),
        json!([goes(), known, accept()]),
        json!([goes(), counter(), drop()]),
    ];
    Chain::at("postrouting", LAST, "accept", rules)
}

/// Inside, packets are longer than outside: the ends of a connection are told when
/// it begins, in both directions. A lesser size stays (RFC 9293 §3.7.1).
fn segments() -> Chain {
    let flags = json!({"&": [payload("tcp", "flags"), ["syn", "rst"]]});
    let begins = is(flags, "syn");
    let size = json!({"tcp option": {"name": "maxseg", "field": "size"}});
    let rule = |way: Value| json!([way, begins.clone(), set(size.clone(), SEGMENT)]);
    Chain::at(
        "forward",
        MANGLE,
        "accept",
        vec![rule(comes()), rule(goes())],
    )
}
