//! What does not come from guarded ports of a bridge.

use std::collections::BTreeSet;

use super::bridge_fixture::{EVERYBODY, Inbox, address, send};
use super::fixture::{Host, SILENCE, checksum, soon};
use super::kernel::Netlink;

#[test]
fn who_is_guarded_serves_no_dhcp() {
    let host = Host::new();
    let lan = host.bridge("lan");
    let client = host.bridge_guest(&lan, "", 1);
    let (four, six) = (Inbox::new(&client, 68), Inbox::new(&client, 546));
    let other = Inbox::new(&client, 69);
    for (number, options, guarded) in [
        (2, "", false),
        (3, ",private-vlan=isolated", true),
        (4, ",private-vlan=red", true),
        (5, ",private-vlan=red,guard=off", false),
        (6, ",guard=on", true),
    ] {
        let server = host.bridge_guest(&lan, options, number);
        let own = format!("from {number}");
        for port in [68, 546, 69] {
            send(&server, EVERYBODY, address(255), port, own.as_bytes());
        }
        let all = BTreeSet::from([own]);
        let offers = if guarded {
            BTreeSet::new()
        } else {
            all.clone()
        };
        other.gets(&all);
        four.gets(&offers);
        six.gets(&offers);
    }
}

#[test]
fn who_is_guarded_is_no_bridge() {
    const SPANNING_TREE: [u8; 6] = [1, 0x80, 0xc2, 0, 0, 0];
    const OF_CISCO: [u8; 6] = [1, 0, 0xc, 0xcc, 0xcc, 0xcd];
    let host = Host::new();
    let lan = host.bridge("lan");
    let other = host.bridge_guest(&lan, "", 1);
    let others = Inbox::new(&other, 69);
    for (number, options, guarded) in [
        (2, "", false),
        (3, ",private-vlan=isolated", true),
        (4, ",guard=on", true),
    ] {
        let guest = host.bridge_guest(&lan, options, number);
        let mut heard = BTreeSet::new();
        for to in [SPANNING_TREE, OF_CISCO, EVERYBODY] {
            let text = format!("from {number} to {to:x?}");
            send(&guest, to, address(255), 69, text.as_bytes());
            if to == EVERYBODY || !guarded {
                heard.insert(text);
            }
        }
        others.gets(&heard);
    }
}

/// An IPv6 router's advertisement of 2001:db8:0:N::/64 to all nodes (RFC 4861
/// §4.2), with these headers before it, of which each names the next.
fn advertisement(number: u8, headers: &[&[u8]]) -> Vec<u8> {
    let source = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number];
    let all_nodes = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let mut message = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    message.extend([
        3, 4, 64, 0xc0, 0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0, 0, 0,
    ]);
    message.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, number, 0, 0, 0, 0, 0, 0, 0, 0]);
    let len = u8::try_from(message.len()).unwrap();
    let mut sum = [source.as_slice(), &all_nodes, &[0, 0, 0, len, 0, 0, 0, 58]].concat();
    sum.extend(&message);
    let sum = checksum(&sum);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let before: Vec<u8> = headers.concat();
    let first = if headers.is_empty() { 58 } else { 60 };
    let whole = u8::try_from(before.len() + message.len()).unwrap();
    let mut packet = vec![0x60, 0, 0, 0, 0, whole, first, 255];
    packet.extend(source);
    packet.extend(all_nodes);
    packet.extend(before);
    packet.extend(message);
    packet
}

#[test]
fn who_is_guarded_is_no_router() {
    const ALL_NODES: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
    const IPV6: [u8; 2] = [0x86, 0xdd];
    const PRIORITY_TAG: [u8; 4] = [0x81, 0, 0, 0];
    // Destination options that say nothing, and then ICMPv6.
    const OPTIONS: [u8; 8] = [58, 0, 1, 4, 0, 0, 0, 0];
    let host = Host::new();
    let lan = host.bridge("lan");
    let victim = host.bridge_guest(&lan, "", 1);
    let net = Netlink::in_namespace(&victim.namespace).unwrap();
    let believes = |number: u8| {
        let prefix = format!("2001:db8:0:{number:x}:");
        let addresses = net.addresses().unwrap();
        let mut texts = addresses.iter().map(|own| own.prefix.to_string());
        texts.any(|text| text.starts_with(&prefix))
    };
    let honest = host.bridge_guest(&lan, "", 2);
    let liar = host.bridge_guest(&lan, ",private-vlan=isolated", 3);
    let frames = |number: u8| {
        let plain = advertisement(number, &[]);
        let behind = advertisement(number + 1, &[&OPTIONS]);
        let tagged = advertisement(number + 2, &[]);
        [
            [IPV6.as_slice(), &plain].concat(),
            [IPV6.as_slice(), &behind].concat(),
            [PRIORITY_TAG.as_slice(), &IPV6, &tagged].concat(),
        ]
    };
    for (rest, number) in frames(0x10).iter().zip(0x10..) {
        assert!(
            soon(|| {
                honest.send_frame(ALL_NODES, rest);
                std::thread::sleep(SILENCE / 10);
                believes(number)
            }),
            "{number:x}"
        );
    }
    let before = host.dropped(&lan, "guard");
    for rest in &frames(0x20) {
        liar.send_frame(ALL_NODES, rest);
    }
    assert!(soon(|| host.dropped(&lan, "guard") >= before + 3));
    std::thread::sleep(SILENCE);
    for number in 0x20..0x23 {
        assert!(!believes(number), "{number:x}");
    }
    // A first fragment that does not say what it is of: the rest of the options,
    // which would be 16 bytes, and what is behind them are in the next.
    let before = host.dropped(&lan, "whole");
    let mut fragment = advertisement(
        0x24,
        &[&[60, 0, 0, 1, 0, 0, 0, 7], &[58, 1, 1, 4, 0, 0, 0, 0]],
    );
    fragment.truncate(40 + 8 + 8);
    (fragment[5], fragment[6]) = (16, 44);
    liar.send_frame(ALL_NODES, &[IPV6.as_slice(), &fragment].concat());
    assert!(soon(|| host.dropped(&lan, "whole") > before));
}
