//! Bridges in the kernel, with guests plugged in that are namespaces: who talks to
//! whom, and what becomes of bridges.

use std::collections::BTreeSet;
use std::fs;

use network::bridge::private_vlan::PrivateVlan;
use network::name::Name;
use vmm::QueueCount;

use super::bridge_fixture::{EVERYBODY, Inbox, address, send};
use super::change;
use super::fixture::{Guest, Host, name, soon};
use super::kernel::{LinkIndex, Namespace, Netlink, nft};
use super::plug::{Machine, plug};
use crate::option::net::{NetEnd, NetOption};

/// The network in a bridge's namespace, and the number of the bridge there.
fn inside(host: &Host, bridge: &Name) -> (Netlink, LinkIndex) {
    let namespace = Namespace::open(&host.namespace(bridge)).unwrap();
    let net = Netlink::in_namespace(&namespace).unwrap();
    let link = net.link("bridge").unwrap().unwrap().index;
    (net, link)
}

/// RFC 5517 §2.1, for each role and each other, in each direction.
#[test]
fn private_vlans_let_talk_who_may() {
    let host = Host::new();
    let lan = host.bridge("lan");
    let parts = [
        "promiscuous",
        "promiscuous",
        "isolated",
        "isolated",
        "red",
        "red",
        "blue",
    ];
    let guests: Vec<(String, PrivateVlan, Guest)> = (1..)
        .zip(parts)
        .map(|(number, part)| {
            let options = format!(",private-vlan={part}");
            let guest = host.bridge_guest(&lan, &options, number);
            (format!("{part}-{number}"), part.parse().unwrap(), guest)
        })
        .collect();
    let inboxes: Vec<Inbox> = guests
        .iter()
        .map(|(.., guest)| Inbox::new(guest, 9))
        .collect();
    let all_get_what_they_may = |what: &str| {
        for (inbox, (own, part, _)) in inboxes.iter().zip(&guests) {
            let senders = guests
                .iter()
                .filter(|(name, from, _)| name != own && from.reaches(part));
            let wanted: BTreeSet<String> = senders.map(|(name, ..)| name.clone()).collect();
            eprintln!("{what} to {own}");
            inbox.gets(&wanted);
        }
    };
    // Before the bridge has learned where anybody is, and then that it has: what
    // goes to all ports, and what goes to one.
    for (name, _, from) in &guests {
        send(from, EVERYBODY, address(255), 9, name.as_bytes());
    }
    all_get_what_they_may("broadcast");
    for (name, _, from) in &guests {
        for (other, _, to) in &guests {
            if name != other {
                send(from, to.mac.octets(), to.address, 9, name.as_bytes());
            }
        }
    }
    all_get_what_they_may("unicast");
    assert_eq!(host.differences(&lan), [""; 0]);
}

#[test]
fn nobody_sends_as_somebody_else() {
    let host = Host::new();
    let lan = host.bridge("lan");
    let honest = host.bridge_guest(&lan, "", 1);
    let liar = host.bridge_guest(&lan, "", 2);
    let witness = host.bridge_guest(&lan, "", 3);
    honest.serve_udp(7);
    assert!(soon(|| liar.reaches_udp(&honest, 7)));
    assert!(soon(|| witness.reaches_udp(&honest, 7)));
    let before = host.dropped(&lan, "senders");
    liar.change_mac("02:00:00:00:66:66");
    assert!(!liar.reaches_udp(&honest, 7));
    assert!(soon(|| host.dropped(&lan, "senders") > before));
    // As another guest: what is for that goes on going there.
    let before = host.dropped(&lan, "senders");
    liar.change_mac(&honest.mac.to_string());
    assert!(!liar.reaches_udp(&witness, 7));
    assert!(soon(|| host.dropped(&lan, "senders") > before));
    assert!(soon(|| witness.reaches_udp(&honest, 7)));
    // The one that it was given.
    let stored = host.switches.read(&lan).unwrap();
    let mac = liar.mac.to_string();
    let ports = stored.kind.ports();
    assert!(ports.iter().any(|port| port.address == mac));
    liar.change_mac(&mac);
    assert!(soon(|| liar.reaches_udp(&honest, 7)));
}

#[test]
fn bridges_never_meet() {
    let host = Host::new();
    let (one, other) = (host.bridge("one"), host.bridge("other"));
    let client = host.bridge_guest(&one, "", 1);
    let near = host.bridge_guest(&one, "", 2);
    let far = host.bridge_guest(&other, "", 3);
    near.serve_udp(7);
    far.serve_udp(7);
    assert!(soon(|| client.reaches_udp(&near, 7)));
    assert!(!client.reaches_udp(&far, 7));
}

#[test]
fn packets_are_as_long_as_the_bridge_lets_them() {
    let host = Host::new();
    host.bridge_with("wide", None, Some(9000)).unwrap();
    let wide = name("wide");
    let (one, other) = (
        host.bridge_guest(&wide, "", 1),
        host.bridge_guest(&wide, "", 2),
    );
    let inbox = Inbox::new(&other, 9);
    let long = "x".repeat(1900);
    send(&one, other.mac.octets(), other.address, 9, long.as_bytes());
    inbox.gets(&BTreeSet::from([long]));
    let (net, _) = inside(&host, &wide);
    let taps = net.links().unwrap();
    let taps = taps.iter().filter(|link| link.name.starts_with('p'));
    assert!(taps.map(|tap| tap.mtu).eq([9000, 9000]));
}

#[test]
fn what_somebody_changed_is_found_and_mended() {
    let host = Host::new();
    let lan = host.bridge("lan");
    let (client, server) = (
        host.bridge_guest(&lan, "", 1),
        host.bridge_guest(&lan, ",private-vlan=red", 2),
    );
    server.serve_udp(7);
    assert_eq!(host.differences(&lan), [""; 0]);
    let (net, link) = inside(&host, &lan);
    let stored = host.switches.read(&lan).unwrap();
    let taps: Vec<String> = stored
        .kind
        .ports()
        .into_iter()
        .map(|port| port.tap)
        .collect();
    let tap = net.link(&taps[0]).unwrap().unwrap().index;
    net.set_master(tap, None).unwrap();
    net.set_mtu(link, vmm::Mtu::new(1400).unwrap()).unwrap();
    net.set_down(link).unwrap();
    let flush = serde_json::json!({"nftables": [{"flush": {"chain": {
        "family": "bridge", "table": "plinth", "name": "guard",
    }}}]});
    let namespace = Namespace::open(&host.namespace(&lan)).unwrap();
    nft::apply(&namespace, &flush).unwrap();
    net.add_veth("stranger", "other", &namespace).unwrap();
    let stranger = net.link("stranger").unwrap().unwrap().index;
    net.set_master(stranger, Some(link)).unwrap();
    let found = host.differences(&lan).join("\n");
    for part in [
        "its bridge is down",
        "its MTU is 1400, not 1500",
        "is not connected",
        "port stranger is not plinth's",
        "chain bridge guard was changed",
    ] {
        assert!(found.contains(part), "{part}: {found}");
    }
    net.delete_link(stranger).unwrap();
    change::up(&host.switches, &lan).unwrap();
    assert_eq!(host.differences(&lan), [""; 0]);
    assert!(soon(|| client.reaches_udp(&server, 7)));
}

#[test]
fn a_bridge_is_made_anew_from_what_is_stored() {
    let host = Host::new();
    let lan = host.bridge("lan");
    Namespace::delete(&host.namespace(&lan)).unwrap();
    assert_eq!(host.differences(&lan), ["it is not in the kernel"]);
    for _ in 0..2 {
        change::up(&host.switches, &lan).unwrap();
        assert_eq!(host.differences(&lan), [""; 0]);
    }
    // A process that was killed after it made the namespace.
    Namespace::delete(&host.namespace(&lan)).unwrap();
    Namespace::create(&host.namespace(&lan)).unwrap();
    let (one, other) = (
        host.bridge_guest(&lan, "", 1),
        host.bridge_guest(&lan, "", 2),
    );
    one.serve_udp(7);
    assert!(soon(|| other.reaches_udp(&one, 7)));
    assert_eq!(host.differences(&lan), [""; 0]);
    // One that was killed after it stored a port, and before there was a tap.
    let path = host.directory(&lan).join("switch.json");
    let with_other = fs::read(&path).unwrap();
    drop(other);
    assert_eq!(
        change::current(&host.switches, &lan)
            .unwrap()
            .kind
            .ports()
            .len(),
        1
    );
    fs::write(&path, with_other).unwrap();
    fs::write(host.directory(&lan).join("pending"), "").unwrap();
    change::up(&host.switches, &lan).unwrap();
    assert_eq!(host.differences(&lan), [""; 0]);
    assert_eq!(
        change::current(&host.switches, &lan)
            .unwrap()
            .kind
            .ports()
            .len(),
        1
    );
}

#[test]
fn a_bridge_in_use_is_not_deleted() {
    let host = Host::new();
    let lan = host.bridge("lan");
    let guest = host.bridge_guest(&lan, ",mac=02:00:00:00:00:07", 1);
    let refused = change::delete(&host.switches, &lan).unwrap_err().report();
    assert!(refused.contains("is in use by machine"), "{refused}");
    assert!(refused.contains("02:00:00:00:00:07"), "{refused}");
    drop(guest);
    // Its address is free again.
    drop(host.bridge_guest(&lan, ",mac=02:00:00:00:00:07", 1));
    let namespace = host.namespace(&lan);
    change::delete(&host.switches, &lan).unwrap();
    assert!(Namespace::open(&namespace).is_err());
}

#[test]
fn what_only_the_other_kind_of_switch_has_is_refused() {
    let host = Host::new();
    let (lan, vpc) = (host.bridge("lan"), host.vpc("shop"));
    for (text, parts) in [
        ("lan/front", ["'lan' is a bridge", "have no '/SUBNET'"]),
        ("lan,ip=10.0.1.9", ["'lan' is a bridge", "have no 'ip'"]),
        (
            "lan,security-group=web",
            ["no 'security-group'", "private-vlan, guard"],
        ),
        (
            "lan,source-check=off",
            ["'lan' is a bridge", "no 'source-check'"],
        ),
        (
            "shop,private-vlan=red",
            ["'shop' is a routed", "no 'private-vlan'"],
        ),
        (
            "shop,guard=on",
            ["'shop' is a routed", "ip, security-group"],
        ),
    ] {
        let option: NetOption = text.parse().unwrap();
        let NetEnd::Port(port) = &option.end else {
            panic!("it is on a switch");
        };
        let queues = QueueCount::default();
        let refused =
            plug(&host.switches, port, None, queues, &Machine::called("web")).unwrap_err();
        for part in parts {
            assert!(refused.report().contains(part), "{}", refused.report());
        }
    }
    for switch in [lan, vpc] {
        assert!(host.switches.read(&switch).unwrap().kind.ports().is_empty());
    }
}

/// Each queue is a descriptor of the same tap.
#[test]
fn a_port_has_as_many_queues_as_asked_for() {
    let host = Host::new();
    let lan = host.bridge("lan");
    let option: NetOption = "lan,queues=4".parse().unwrap();
    let NetEnd::Port(port) = &option.end else {
        panic!("it is on a switch");
    };
    let plugged = plug(
        &host.switches,
        port,
        None,
        option.queues,
        &Machine::called("web"),
    )
    .unwrap();
    assert_eq!((plugged.taps.len(), plugged.mtu.get()), (4, 1500));
    assert_eq!(host.differences(&lan), [""; 0]);
    drop(plugged);
    change::delete(&host.switches, &lan).unwrap();
}
