//! What becomes of packets at a network's ends of its peerings: from addresses of the
//! other network to its own, and the other way, they pass. All else is dropped at
//! both ends, so that neither network relies on the other.

use serde_json::{Value, json};

use super::compile::{FILTER, MANGLE};
use super::json::{IIF, OIF, accept, counter, drop, is, is_not, meta, payload, prefix, set};
use super::rules::Rules;
use super::{Chain, Table};
use crate::cidr::Cidr;
use crate::peering::{LINK_PREFIX, MTU, Peering};
use crate::port::TAP_PREFIX;
use crate::vpc::Vpc;

/// Before network ACLs.
const BEFORE: i32 = FILTER - 30;

/// What TCP carries in a packet of [`MTU`] bytes: less 20 of IPv4 and 20 of TCP.
const SEGMENT: u16 = MTU - 40;

/// Adds to the rules of `vpc` those about its peerings.
pub(super) fn extend(table: &mut Table, vpc: &Vpc) {
    if vpc.peerings().is_empty() {
        return;
    }
    for (name, chain) in [("peerings", passing(vpc)), ("peered-segments", segments())] {
        table.chains.insert(name.into(), chain);
    }
    for (name, rules) in [("guard", guard(vpc)), ("services", services())] {
        let chain = table.chains.get_mut(name).map(|chain| &mut chain.rules);
        if let Some(Rules::Written(there)) = chain {
            there.splice(0..0, rules);
        }
    }
}

fn any_peering() -> String {
    format!("{LINK_PREFIX}*")
}

fn of(field: &str, cidr: Cidr) -> Value {
    let first = cidr.first().to_string();
    is(payload("ip", field), prefix(&first, cidr.prefix()))
}

/// Who comes has an address of the other network, and wants one of this one.
fn guard(vpc: &Vpc) -> Vec<Value> {
    let comes = |peering: &Peering| {
        let redirect = is(payload("icmp", "type"), "redirect");
        let by = || is(meta(IIF), peering.link());
        let (theirs, own) = (of("saddr", peering.cidr), of("daddr", vpc.cidr));
        [
            json!([by(), redirect, counter(), drop()]),
            json!([by(), theirs, own, accept()]),
        ]
    };
    let rest = json!([is(meta(IIF), any_peering()), counter(), drop()]);
    let each = vpc.peerings().values().flat_map(comes);
    each.chain([rest]).collect()
}

/// The network answers its own guests only.
fn services() -> Vec<Value> {
    vec![json!([is(meta(IIF), any_peering()), counter(), drop()])]
}

/// Guests alone send there, under addresses of this network and to those of the other,
/// and to them alone is sent what comes.
fn passing(vpc: &Vpc) -> Chain {
    let guests = || format!("{TAP_PREFIX}*");
    let goes = |peering: &Peering| {
        let (own, theirs) = (of("saddr", vpc.cidr), of("daddr", peering.cidr));
        let by = is(meta(OIF), peering.link());
        json!([is(meta(IIF), guests()), by, own, theirs, accept()])
    };
    let rest = [
        json!([is(meta(OIF), any_peering()), counter(), drop()]),
        json!([
            is(meta(IIF), any_peering()),
            is_not(meta(OIF), guests()),
            counter(),
            drop()
        ]),
    ];
    let each = vpc.peerings().values().map(goes);
    Chain::at("forward", BEFORE, "accept", each.chain(rest).collect())
}

/// Inside, packets are longer: the ends of a connection are told when it begins.
fn segments() -> Chain {
    let flags = json!({"&": [payload("tcp", "flags"), ["syn", "rst"]]});
    let begins = is(flags, "syn");
    let size = json!({"tcp option": {"name": "maxseg", "field": "size"}});
    let rule = |interface: &str| {
        let by = is(meta(interface), any_peering());
        json!([by, begins.clone(), set(size.clone(), SEGMENT)])
    };
    Chain::at("forward", MANGLE, "accept", vec![rule(IIF), rule(OIF)])
}
