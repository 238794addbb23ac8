//! Who a packet is from is decided before anything else: by the tap that it came by,
//! each port has its own addresses, and what it sends under others is dropped.

use std::net::Ipv4Addr;

use serde_json::json;

use super::compile::{FILTER, FIRST, http, taps};
use super::json::{
    IIF, accept, any, concat, counter, drop, is, is_in, is_not, jump, meta, payload, prefix,
};
use super::rules::Rules;
use super::{Chain, Set, Table};
use crate::cidr::Cidr;
use crate::plan::METADATA6;
use crate::vpc::Vpc;

/// Who may send as whom: tap, MAC and IP address of each port, and no address at
/// all, as a guest does that asks for one (RFC 2131 §4.1) or whether another has
/// it (RFC 5227 §2.1.1).
const SENDERS: &str = "senders";
/// The same by IPv6, of each port's address on its link.
const SENDERS6: &str = "senders6";
/// The chain that says which packets by IPv6 pass.
pub(super) const METADATA_BY_IPV6: &str = "metadata-by-ipv6";
/// Tap and MAC address of the ports that may send as others.
pub(super) const ROUTERS: &str = "routers";
/// Tap and IP address of each port.
pub(super) const OWNERS: &str = "owners";

/// The ports of DHCP (RFC 2131 §4.1).
const DHCP_CLIENT: u16 = 68;
pub(super) const DHCP_SERVER: u16 = 67;

/// To whom is sent who asks for the MAC address of the metadata service (RFC 4291
/// §2.7.1), or for a router.
const SOLICITED: &str = "ff02::1:ff00:254";
const ALL_ROUTERS: &str = "ff02::2";
pub(super) const SOLICITATIONS: [&str; 2] = ["nd-neighbor-solicit", "nd-router-solicit"];

/// What the guard, and others, know of ports.
pub(super) fn sets(vpc: &Vpc) -> impl Iterator<Item = (String, Set)> {
    let own = [
        (SENDERS6.into(), senders6(vpc)),
        (OWNERS.into(), owners(vpc)),
    ];
    senders(vpc).into_iter().chain(own)
}

/// Who may send as whom.
fn senders(vpc: &Vpc) -> [(String, Set); 2] {
    let mut senders = Set::of(&["ifname", "ether_addr", "ipv4_addr"]);
    let mut routers = Set::of(&["ifname", "ether_addr"]);
    for port in vpc.ports().values() {
        let (tap, mac) = (json!(port.tap()), json!(port.mac));
        let nobody = json!(Ipv4Addr::UNSPECIFIED);
        senders.insert(&[tap.clone(), mac.clone(), nobody], None);
        if port.source_check {
            senders.insert(&[tap, mac, json!(port.address)], None);
        } else {
            routers.insert(&[tap, mac], None);
        }
    }
    [(SENDERS.into(), senders), (ROUTERS.into(), routers)]
}

fn senders6(vpc: &Vpc) -> Set {
    let mut senders = Set::of(&["ifname", "ether_addr", "ipv6_addr"]);
    for port in vpc.ports().values() {
        let own = json!(port.mac.link_local());
        senders.insert(&[json!(port.tap()), json!(port.mac), own], None);
    }
    senders
}

fn owners(vpc: &Vpc) -> Set {
    let mut owners = Set::of(&["ifname", "ipv4_addr"]);
    for port in vpc.ports().values() {
        owners.insert(&[json!(port.tap()), json!(port.address)], None);
    }
    owners
}

/// The network answers ARP, for the owners of addresses only.
pub(super) fn arp(vpc: &Vpc) -> Table {
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
        sets: senders(vpc).into(),
        chains: [("guard".into(), guard)].into(),
    }
}

/// What a guest sends under another's name goes no further, nor what is for
/// everybody, but for its asking the network for its address.
pub(super) fn chain() -> Chain {
    let sender = concat(&[meta(IIF), payload("ether", "saddr"), payload("ip", "saddr")]);
    let router = concat(&[meta(IIF), payload("ether", "saddr")]);
    let to = |range: Cidr| {
        let range = prefix(&range.first().to_string(), range.prefix());
        is(payload("ip", "daddr"), range)
    };
    let groups: Cidr = "224.0.0.0/3".parse().expect("this is a range");
    let rules = vec![
        json!([is_not(meta(IIF), taps()), accept()]),
        json!([is(meta("nfproto"), "ipv6"), jump(METADATA_BY_IPV6)]),
        json!([is_not(meta("nfproto"), "ipv4"), counter(), drop()]),
        json!([
            is(payload("ip", "daddr"), Ipv4Addr::BROADCAST.to_string()),
            is(payload("udp", "sport"), DHCP_CLIENT),
            is(payload("udp", "dport"), DHCP_SERVER),
            is_in(sender.clone(), SENDERS),
            accept()
        ]),
        json!([to(groups), counter(), drop()]),
        // Nobody sends from there but to everybody.
        json!([
            is(payload("ip", "saddr"), Ipv4Addr::UNSPECIFIED.to_string()),
            counter(),
            drop()
        ]),
        json!([is_in(sender, SENDERS), accept()]),
        json!([is_in(router, ROUTERS), accept()]),
        json!([counter(), drop()]),
    ];
    Chain::at("prerouting", FIRST, "accept", rules)
}

/// All of IPv6 that there is: a guest asks for its router, and for the metadata
/// service, as its own interface. It is a chain of its own, so that packets by IPv4 do
/// not pass its rules.
pub(super) fn metadata6() -> Chain {
    let sender = || {
        let key = [
            meta(IIF),
            payload("ether", "saddr"),
            payload("ip6", "saddr"),
        ];
        is_in(concat(&key), SENDERS6)
    };
    let to = |addresses: &[&str]| is(payload("ip6", "daddr"), any(addresses));
    let asks = |what: &str| is(payload("icmpv6", "type"), what);
    let [neighbour, router] = SOLICITATIONS;
    let service = METADATA6.to_string();
    let rules = vec![
        json!([
            sender(),
            to(&[service.as_str(), SOLICITED]),
            asks(neighbour),
            accept()
        ]),
        json!([sender(), to(&[ALL_ROUTERS]), asks(router), accept()]),
        json!([sender(), to(&[service.as_str()]), http(), accept()]),
    ];
    Chain {
        hook: None,
        rules: Rules::Written(rules),
    }
}
