//! Peered networks in the kernel, with guests that are namespaces: who reaches whom,
//! and what becomes of a peering that was half made.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};

use network::explain::{Packet, PacketKind, Step, explain, passes};
use network::network_acl::{AclRule, Action};
use network::route_table::Target;
use network::security_group::Direction;
use network::traffic::Traffic;

use super::super::change::{check, create_vpc, delete as delete_switch, up};
use super::super::fixture::{Guest, Host, SILENCE, name, rule, soon};
use super::super::gateway::{allocate, attach};
use super::super::internet::{FAR, Internet, seen, tell};
use super::super::kernel::{Namespace, Netlink};
use super::super::tests::dropped;
use super::*;

const EVERYBODY: &str = "0.0.0.0/0";

/// A network with 10.N.0.0/16 whose groups let everything in; its subnet is `front`.
fn network(host: &Host, text: &str, number: u8) -> Name {
    let vpc = name(text);
    let range = format!("10.{number}.0.0/16").parse().unwrap();
    create_vpc(&host.switches, vpc.clone(), range).unwrap();
    host.change(&vpc, |vpc| {
        let range = format!("10.{number}.1.0/24").parse().unwrap();
        vpc.add_subnet(name("front"), range).map(drop)
    });
    host.authorize(&vpc, "default", Direction::Inbound, rule("all", EVERYBODY));
    vpc
}

fn peer(host: &Host, text: &str, first: &Name, second: &Name) {
    create(&host.switches, &name(text), first, second).unwrap();
}

fn route(host: &Host, vpc: &Name, range: &str, peering: &str) {
    host.change(vpc, |vpc| {
        let target = Target::Peering(vpc.peering_named(&name(peering))?);
        vpc.add_route(&name("main"), range.parse().unwrap(), target)
    });
}

/// `one` with 10.1.0.0/16 and `two` with 10.2.0.0/16, with routes to each other.
fn peered(host: &Host) -> (Name, Name) {
    let (one, two) = (network(host, "one", 1), network(host, "two", 2));
    peer(host, "link", &one, &two);
    route(host, &one, "10.2.0.0/16", "link");
    route(host, &two, "10.1.0.0/16", "link");
    (one, two)
}

fn is_in_order(host: &Host, networks: &[&Name]) {
    for vpc in networks {
        assert_eq!(check(&host.switches, vpc).unwrap(), [""; 0], "{vpc}");
    }
}

/// Whether `from`, of the network `vpc`, reaches `to` is what is said of it, and
/// `expected`.
fn reaches(host: &Host, vpc: &Name, from: &Guest, to: &Guest, expected: bool) {
    let packet = Packet {
        from: from.address,
        to: to.address,
        kind: PacketKind::Tcp(80),
    };
    let told = |vpc: &Name| {
        let record = host.switches.read(vpc).unwrap();
        explain(record.vpc(vpc).unwrap(), packet)
    };
    let mut steps = told(vpc);
    if let Some(Step::Peered { peer, .. }) = steps.last().cloned() {
        steps.extend(told(&peer));
    }
    assert_eq!(passes(&steps), expected, "{steps:?}");
    match expected {
        true => assert!(soon(|| from.reaches_tcp(to, 80)), "{steps:?}"),
        false => assert!(!from.reaches_tcp(to, 80), "{steps:?}"),
    }
}

#[test]
fn peers_reach_each_other_once_both_have_routes() {
    let host = Host::new();
    let (one, two) = (network(&host, "one", 1), network(&host, "two", 2));
    let (left, right) = (host.guest(&one, "front"), host.guest(&two, "front"));
    left.serve_tcp(80);
    right.serve_tcp(80);
    reaches(&host, &one, &left, &right, false);
    peer(&host, "link", &one, &two);
    reaches(&host, &one, &left, &right, false);
    route(&host, &one, "10.2.0.0/16", "link");
    reaches(&host, &one, &left, &right, false);
    route(&host, &two, "10.1.1.0/24", "link");
    reaches(&host, &one, &left, &right, true);
    reaches(&host, &two, &right, &left, true);
    is_in_order(&host, &[&one, &two]);
    // Longer packets are inside than between.
    let mut stream = left.connected(&right, 80);
    let sent = vec![7; 1 << 16];
    let mut writer = stream.try_clone().unwrap();
    let written = sent.clone();
    let writes = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &written));
    let mut came = vec![0; sent.len()];
    std::io::Read::read_exact(&mut stream, &mut came).unwrap();
    assert_eq!(came, sent);
    writes.join().unwrap().unwrap();
    // Groups and network ACLs hold at both ends.
    let everything = rule("all", EVERYBODY);
    host.change(&two, |vpc| {
        vpc.revoke(&name("default"), Direction::Inbound, &everything)
    });
    reaches(&host, &one, &left, &right, false);
    host.authorize(
        &two,
        "default",
        Direction::Inbound,
        rule("tcp:80", "10.1.0.0/16"),
    );
    reaches(&host, &one, &left, &right, true);
    for (network, direction) in [(&two, Direction::Inbound), (&one, Direction::Outbound)] {
        let denied = AclRule {
            action: Action::Deny,
            traffic: Traffic::All,
            cidr: "10.0.0.0/8".parse().unwrap(),
        };
        let number = 1.try_into().unwrap();
        host.change(network, |vpc| {
            vpc.add_acl_rule(&name("default"), direction, number, denied)
        });
        reaches(&host, &one, &left, &right, false);
        host.change(network, |vpc| {
            vpc.remove_acl_rule(&name("default"), direction, number)
        });
        reaches(&host, &one, &left, &right, true);
    }
    // Gone at both ends, and forgotten.
    let by_udp = rule("udp:7", "10.1.0.0/16");
    host.authorize(&two, "default", Direction::Inbound, by_udp.clone());
    right.serve_udp(7);
    let socket = left.within(|| UdpSocket::bind((left.address, 0))).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let asks = || {
        let sent = socket.send_to(b"ping", (right.address, 7));
        sent.is_ok() && socket.recv_from(&mut [0; 16]).is_ok()
    };
    assert!(soon(asks));
    host.change(&two, |vpc| {
        vpc.revoke(&name("default"), Direction::Inbound, &by_udp)
    });
    assert!(soon(asks), "what is under way goes on");
    delete(&host.switches, &two, &name("link")).unwrap();
    reaches(&host, &one, &left, &right, false);
    is_in_order(&host, &[&one, &two]);
    peer(&host, "link", &one, &two);
    for (vpc, range) in [(&one, "10.2.0.0/16"), (&two, "10.1.1.0/24")] {
        host.change(vpc, |vpc| {
            vpc.remove_route(&name("main"), range.parse().unwrap())
        });
        route(&host, vpc, range, "link");
    }
    assert!(!asks(), "that was by another peering");
    reaches(&host, &one, &left, &right, true);
}

#[test]
fn nobody_gets_by_way_of_a_peer_to_a_third() {
    let host = Host::new();
    let (one, two) = peered(&host);
    let three = network(&host, "three", 3);
    peer(&host, "next", &two, &three);
    route(&host, &two, "10.3.0.0/16", "next");
    route(&host, &three, "10.2.0.0/16", "next");
    // Routes that would lead on if peers did.
    route(&host, &one, "10.3.0.0/16", "link");
    route(&host, &three, "10.1.0.0/16", "next");
    let [left, middle, right] = [&one, &two, &three].map(|vpc| host.guest(vpc, "front"));
    for guest in [&left, &middle, &right] {
        guest.serve_tcp(80);
    }
    reaches(&host, &one, &left, &middle, true);
    reaches(&host, &three, &right, &middle, true);
    reaches(&host, &one, &left, &right, false);
    reaches(&host, &three, &right, &left, false);
    is_in_order(&host, &[&one, &two, &three]);
}

#[test]
fn nobody_gets_by_way_of_a_peer_outside_or_to_what_it_answers_its_own() {
    let internet = Internet::new();
    let host = Host::new();
    let (one, two) = peered(&host);
    let gateway = attach(&host.switches, &two).unwrap();
    let out = Target::InternetGateway(gateway);
    let all: network::cidr::Cidr = EVERYBODY.parse().unwrap();
    host.change(&two, |vpc| vpc.add_route(&name("main"), all, out));
    route(&host, &one, EVERYBODY, "link");
    let (left, right) = (host.guest(&one, "front"), host.guest(&two, "front"));
    right.serve_tcp(80);
    let public = Ipv4Addr::new(203, 0, 113, 7);
    allocate(&host.switches, &two, Some(public)).unwrap();
    host.change(&two, |vpc| {
        let port = vpc.port_at(right.address)?.id;
        vpc.associate_address(public, port)
    });
    tell(&internet.namespace, 80);
    assert!(soon(
        || seen(&right.namespace, FAR, 80) == Some(public.into())
    ));
    let before = dropped(&host, &one, "peerings");
    assert_eq!(seen(&left.namespace, FAR, 80), None);
    assert!(dropped(&host, &one, "peerings") > before);
    reaches(&host, &one, &left, &right, true);
    // Its router answers pings, of its own guests.
    assert!(soon(|| right.pings_at(Ipv4Addr::new(10, 2, 1, 1))));
    let before = dropped(&host, &two, "services");
    assert!(!left.pings_at(Ipv4Addr::new(10, 2, 1, 1)));
    assert!(dropped(&host, &two, "services") > before);
    assert!(!left.pings_at(Ipv4Addr::new(169, 254, 128, 1)));
}

/// The other end relies on nobody: here packets come that this end would not send.
#[test]
fn only_addresses_of_the_peer_come_from_there() {
    let host = Host::new();
    let (one, two) = peered(&host);
    let (left, right) = (host.guest(&one, "front"), host.guest(&two, "front"));
    right.serve_udp(7);
    host.change(&one, |vpc| {
        let id = vpc.port_at(left.address)?.id;
        vpc.set_source_check(id, false)
    });
    assert!(soon(|| left.reaches_udp(&right, 7)));
    left.add_address("192.0.2.1/32");
    let before = dropped(&host, &one, "peerings");
    left.send_as("192.0.2.1".parse().unwrap(), &right, 7);
    assert!(soon(|| dropped(&host, &one, "peerings") > before));
    // Without the rules of this end.
    let namespace = Namespace::open(&host.namespace(&one)).unwrap();
    let flush = serde_json::json!({"nftables": [{"flush": {"chain": {
        "family": "inet", "table": "plinth", "name": "peerings",
    }}}]});
    super::super::kernel::nft::apply(&namespace, &flush).unwrap();
    let before = dropped(&host, &two, "guard");
    left.send_as("192.0.2.1".parse().unwrap(), &right, 7);
    assert!(soon(|| dropped(&host, &two, "guard") > before));
}

#[test]
fn who_takes_an_address_has_no_part_in_the_flows_that_a_peer_had_with_it() {
    let host = Host::new();
    let (one, two) = peered(&host);
    let everything = rule("all", EVERYBODY);
    host.change(&two, |vpc| {
        vpc.revoke(&name("default"), Direction::Inbound, &everything)
    });
    let (left, right) = (
        host.guest(&one, "front,ip=10.1.1.10"),
        host.guest(&two, "front"),
    );
    let address = left.address;
    let bind = |guest: &Guest, port| guest.within(|| UdpSocket::bind((guest.address, port)));
    let socket = bind(&right, 9).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let hears = || socket.recv_from(&mut [0; 16]).is_ok();
    let first = bind(&left, 7).unwrap();
    let to = (right.address, 9);
    assert!(soon(|| {
        // Only what is answered is let in.
        socket.send_to(b"ping", (address, 7)).unwrap();
        first.send_to(b"pong", to).unwrap();
        hears()
    }));
    while hears() {}
    drop((first, left));
    let other = host.guest(&one, "front,ip=10.1.1.10");
    let second = bind(&other, 7).unwrap();
    second.send_to(b"pong", to).unwrap();
    assert!(!hears(), "it was asked nothing");
    is_in_order(&host, &[&one, &two]);
}

#[test]
fn peerings_that_cannot_be_are_refused() {
    let host = Host::new();
    let (one, two) = (network(&host, "one", 1), network(&host, "two", 2));
    let same = network(&host, "same", 1);
    let stored = || [&one, &two, &same].map(|vpc| host.switches.read(vpc).unwrap());
    let refused = |text: &str, first: &Name, second: &Name, part: &str| {
        let before = stored();
        let error = create(&host.switches, &name(text), first, second).unwrap_err();
        let error = error.report();
        assert!(error.contains(part), "{error}");
        assert_eq!(stored(), before);
    };
    refused("link", &one, &one, "with itself");
    refused(
        "link",
        &one,
        &same,
        "overlaps 10.1.0.0/16 of network 'same'",
    );
    refused("link", &one, &name("none"), "there is no switch 'none'");
    peer(&host, "link", &two, &one);
    refused("other", &one, &two, "peered already");
    refused("link", &same, &two, "there is a peering 'link' already");
    let error = delete_switch(&host.switches, &one).unwrap_err().report();
    assert!(error.contains("by peering 'link' with network 'two'"));
    delete(&host.switches, &one, &name("link")).unwrap();
    delete(&host.switches, &one, &name("link")).unwrap_err();
    peer(&host, "link", &same, &two);
    is_in_order(&host, &[&one, &two, &same]);
}

/// As after a boot, in either order.
#[test]
fn a_peering_is_made_anew_from_what_is_stored() {
    let host = Host::new();
    let (one, two) = peered(&host);
    for order in [[&one, &two], [&two, &one]] {
        for vpc in order {
            Namespace::delete(&host.namespace(vpc)).unwrap();
        }
        for vpc in order {
            up(&host.switches, vpc).unwrap();
        }
        is_in_order(&host, &[&one, &two]);
    }
    // Or with the first machine of each.
    for vpc in [&one, &two] {
        Namespace::delete(&host.namespace(vpc)).unwrap();
    }
    let (left, right) = (host.guest(&one, "front"), host.guest(&two, "front"));
    is_in_order(&host, &[&one, &two]);
    right.serve_tcp(80);
    reaches(&host, &one, &left, &right, true);
    // What somebody took away is found, and made again.
    let namespace = Namespace::open(&host.namespace(&two)).unwrap();
    let net = Netlink::in_namespace(&namespace).unwrap();
    let links = net.links().unwrap();
    let cable = links.iter().find(|link| link.name.starts_with("via"));
    net.delete_link(cable.unwrap().index).unwrap();
    for vpc in [&one, &two] {
        assert!(check(&host.switches, vpc).unwrap()[0].contains("the cable"));
    }
    up(&host.switches, &one).unwrap();
    is_in_order(&host, &[&one, &two]);
    reaches(&host, &one, &left, &right, true);
}

/// A process that was killed when it had stored one record, or both, and made nothing.
#[test]
fn what_was_half_made_is_removed_and_what_was_stored_is_made() {
    let host = Host::new();
    let (one, two) = (network(&host, "one", 1), network(&host, "two", 2));
    let path = |vpc: &Name| host.directory(vpc).join("switch.json");
    let read = |vpc: &Name| fs::read(path(vpc)).unwrap();
    let before = [&one, &two].map(read);
    peer(&host, "link", &one, &two);
    let after = [&one, &two].map(read);
    let stored = |left: &[u8], right: &[u8], made: bool| {
        let kernel = if made { &after } else { &before };
        for (vpc, bytes) in [&one, &two].into_iter().zip(kernel) {
            fs::write(path(vpc), bytes).unwrap();
        }
        for vpc in [&one, &two] {
            up(&host.switches, vpc).unwrap();
        }
        for (vpc, bytes) in [(&one, left), (&two, right)] {
            fs::write(host.directory(vpc).join("pending"), "").unwrap();
            fs::write(path(vpc), bytes).unwrap();
        }
    };
    let touch = |vpc: &Name| {
        host.change(vpc, |vpc| vpc.add_route_table(name("x")).map(drop));
        host.change(vpc, |vpc| vpc.remove_route_table(&name("x")));
    };
    for order in [[&one, &two], [&two, &one]] {
        for (left, right) in [(&after[0], &before[1]), (&before[0], &after[1])] {
            for made in [false, true] {
                // Half of one: made, or deleted, at one end.
                stored(left, right, made);
                order.into_iter().for_each(touch);
                is_in_order(&host, &[&one, &two]);
                assert_eq!([&one, &two].map(read), before);
            }
        }
        // All of one.
        stored(&after[0], &after[1], false);
        order.into_iter().for_each(touch);
        assert_eq!([&one, &two].map(read), after);
        for vpc in order {
            up(&host.switches, vpc).unwrap();
        }
        is_in_order(&host, &[&one, &two]);
    }
}
