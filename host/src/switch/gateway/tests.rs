//! Ways out of networks, with a host that is a namespace and an internet that is
//! another: who gets where, and as whom.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::thread;
use std::time::Duration;

use network::cidr::Cidr;
use network::explain::{Packet, PacketKind, explain, passes};
use network::route_table::Target as To;
use network::security_group::Direction;

use super::super::change::{check, delete, up};
use super::super::fixture::{BOUND, Guest, Host, SILENCE, name, rule, soon};
use super::super::internet::{FAR, HOST, Internet, NEAR, seen, seen_by_udp, socket, tell};
use super::super::kernel::{Namespace, Netlink, Route, Target, nft};
use super::super::tests::{dropped, dropped_in};
use super::*;

const EVERYBODY: &str = "0.0.0.0/0";
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const OTHER_PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 8);

/// A network with an internet gateway and a route to it.
fn connected(host: &Host, text: &str) -> Name {
    let vpc = host.vpc(text);
    let gateway = attach(&host.switches, &vpc).unwrap();
    let target = To::InternetGateway(gateway);
    host.change(&vpc, |vpc| vpc.add_route(&name("main"), Cidr::ALL, target));
    vpc
}

/// Has `guest` be known by `public`.
fn associate(host: &Host, vpc: &Name, public: Ipv4Addr, guest: &Guest) {
    host.change(vpc, |vpc| {
        let port = vpc.port_at(guest.address)?.id;
        vpc.associate_address(public, port)
    });
}

fn let_in(host: &Host, vpc: &Name, traffic: &str) {
    let rule = rule(traffic, EVERYBODY);
    host.authorize(vpc, "default", Direction::Inbound, rule);
}

/// As whom a packet arrives is what is said of it, and whether.
fn told_and_true(
    host: &Host,
    vpc: &Name,
    (from, sender): (Ipv4Addr, &Namespace),
    to: Ipv4Addr,
    expected: Option<Ipv4Addr>,
) {
    let stored = host.switches.read(vpc).unwrap();
    let kind = PacketKind::Tcp(80);
    let told = explain(stored.vpc(vpc).unwrap(), Packet { from, to, kind });
    assert_eq!(passes(&told), expected.is_some(), "{told:?}");
    let expected = expected.map(IpAddr::from);
    match expected {
        Some(_) => assert!(soon(|| seen(sender, to, 80) == expected), "{told:?}"),
        None => assert_eq!(seen(sender, to, 80), None, "{told:?}"),
    }
    assert_eq!(check(&host.switches, vpc).unwrap(), [""; 0]);
}

#[test]
fn who_leaves_needs_a_gateway_a_route_and_a_public_address() {
    let internet = Internet::new();
    let host = Host::new();
    let vpc = host.vpc("way");
    let guest = host.guest(&vpc, "front");
    tell(&internet.namespace, 80);
    let from = (guest.address, &guest.namespace);
    let leaves = |expected| told_and_true(&host, &vpc, from, FAR, expected);
    leaves(None);
    let before = nft::ruleset(&internet.host).unwrap();
    assert_eq!(
        before["nftables"].as_array().unwrap().len(),
        1,
        "nothing but what nft is"
    );
    let gateway = attach(&host.switches, &vpc).unwrap();
    leaves(None);
    let by_gateway = To::InternetGateway(gateway);
    let routed = |vpc: &mut Vpc| vpc.add_route(&name("main"), Cidr::ALL, by_gateway);
    host.change(&vpc, routed);
    leaves(None);
    allocate(&host.switches, &vpc, Some(PUBLIC)).unwrap();
    leaves(None);
    associate(&host, &vpc, PUBLIC, &guest);
    leaves(Some(PUBLIC));
    let socket = socket(&guest.namespace);
    assert!(soon(
        || seen_by_udp(&socket, NEAR, 80) == Some(PUBLIC.into())
    ));
    host.change(&vpc, |vpc| vpc.remove_route(&name("main"), Cidr::ALL));
    leaves(None);
    host.change(&vpc, routed);
    leaves(Some(PUBLIC));
    host.change(&vpc, |vpc| vpc.disassociate_address(PUBLIC));
    leaves(None);
    let other = host.guest(&vpc, "front");
    associate(&host, &vpc, PUBLIC, &other);
    assert_eq!(
        seen_by_udp(&socket, NEAR, 80),
        None,
        "what was under way is not, under what is another's address"
    );
    host.change(&vpc, |vpc| vpc.disassociate_address(PUBLIC));
    host.change(&vpc, |vpc| vpc.detach_internet_gateway());
    leaves(None);
}

#[test]
fn a_damaged_network_holds_nobody_up_and_keeps_its_addresses() {
    let _internet = Internet::new();
    let host = Host::new();
    let one = connected(&host, "one");
    let first = allocate(&host.switches, &one, None).unwrap();
    let path = host.directory(&one).join("switch.json");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, "?").unwrap();
    let two = connected(&host, "two");
    let second = allocate(&host.switches, &two, None).unwrap();
    assert_ne!(second, first);
    let error = allocate(&host.switches, &two, Some(first)).unwrap_err();
    let told = format!("{first} is taken by network 'one'");
    assert!(error.report().contains(&told), "{}", error.report());
    fs::write(&path, whole).unwrap();
    for vpc in [&one, &two] {
        assert_eq!(check(&host.switches, vpc).unwrap(), [""; 0]);
    }
}

#[test]
fn a_public_address_is_one_guests_in_both_directions() {
    let internet = Internet::new();
    let host = Host::new();
    let vpc = connected(&host, "both");
    let (guest, other) = (host.guest(&vpc, "front"), host.guest(&vpc, "front"));
    allocate(&host.switches, &vpc, Some(PUBLIC)).unwrap();
    tell(&guest.namespace, 80);
    tell(&other.namespace, 80);
    // What the internet sends, it sends as its router.
    let comes = |expected| {
        told_and_true(&host, &vpc, (NEAR, &internet.namespace), PUBLIC, expected);
    };
    comes(None);
    associate(&host, &vpc, PUBLIC, &guest);
    comes(None);
    let_in(&host, &vpc, "tcp:80");
    comes(Some(NEAR));
    let only_elsewhere = rule("tcp:80", EVERYBODY);
    host.change(&vpc, |vpc| {
        vpc.revoke(&name("default"), Direction::Inbound, &only_elsewhere)
    });
    comes(None);
    let from_near = rule("tcp:80", "192.0.2.2/32");
    host.authorize(&vpc, "default", Direction::Inbound, from_near);
    comes(Some(NEAR));
    // Private addresses are known inside only, and nobody outside has one.
    internet.misroute("10.0.0.0/16");
    assert_eq!(seen(&internet.namespace, guest.address, 80), None);
    let forger = Netlink::in_namespace(&internet.namespace).unwrap();
    let link = forger.link("eth0").unwrap().unwrap().index;
    let forged = format!("{}/32", other.address).parse().unwrap();
    forger.add_address(link, forged).unwrap();
    let socket = internet
        .namespace
        .within(|| UdpSocket::bind((other.address, 0)));
    let socket = socket.unwrap().unwrap();
    let guests = guest.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 7)));
    let guests = guests.unwrap();
    guests.set_read_timeout(Some(SILENCE)).unwrap();
    socket.send_to(b"forged", (PUBLIC, 7)).unwrap();
    assert!(
        guests.recv_from(&mut [0; 16]).is_err(),
        "members may, but it is none"
    );
}

#[test]
fn addresses_of_the_pool_leave_as_the_hosts() {
    let internet = Internet::new();
    let host = Host::new();
    let vpc = connected(&host, "pool");
    let guest = host.guest(&vpc, "front");
    tell(&internet.namespace, 80);
    tell(&guest.namespace, 80);
    let public = allocate(&host.switches, &vpc, None).unwrap();
    assert_eq!(public, Ipv4Addr::new(198, 19, 0, 1));
    associate(&host, &vpc, public, &guest);
    assert!(soon(|| seen(&guest.namespace, FAR, 80) == Some(HOST.into())));
    // The host knows the way, and is let in like others.
    assert_eq!(seen(&internet.host, public, 80), None);
    let_in(&host, &vpc, "tcp:80");
    assert!(soon(|| seen(&internet.host, public, 80).is_some()));
    // But is not there for guests.
    tell(&internet.host, 80);
    assert_eq!(seen(&guest.namespace, HOST, 80), None);
}

#[test]
fn many_leave_by_a_nat_gateway_and_nobody_comes() {
    let internet = Internet::new();
    let host = Host::new();
    let vpc = connected(&host, "nat");
    host.change(&vpc, |vpc| {
        vpc.add_subnet(name("back"), "10.0.2.0/24".parse().unwrap())
            .map(drop)
    });
    host.change(&vpc, |vpc| vpc.add_route_table(name("private")).map(drop));
    host.change(&vpc, |vpc| vpc.associate(&name("back"), &name("private")));
    let_in(&host, &vpc, "all");
    let (one, other) = (host.guest(&vpc, "back"), host.guest(&vpc, "back"));
    tell(&internet.namespace, 80);
    tell(&one.namespace, 80);
    allocate(&host.switches, &vpc, Some(PUBLIC)).unwrap();
    let gateway = |public| {
        create_nat_gateway(&host.switches, &vpc, name("egress"), name("front"), public).unwrap()
    };
    let made = gateway(Some(PUBLIC));
    let by = |id| {
        host.change(&vpc, |vpc| {
            vpc.add_route(&name("private"), Cidr::ALL, To::NatGateway(id))
        });
    };
    by(made.id);
    for guest in [&one, &other] {
        let from = (guest.address, &guest.namespace);
        told_and_true(&host, &vpc, from, FAR, Some(PUBLIC));
    }
    told_and_true(&host, &vpc, (NEAR, &internet.namespace), PUBLIC, None);
    // Nor do they where the answers would go by it: it knows nothing of whom it did
    // not let out.
    allocate(&host.switches, &vpc, Some(OTHER_PUBLIC)).unwrap();
    associate(&host, &vpc, OTHER_PUBLIC, &one);
    let near = (NEAR, &internet.namespace);
    told_and_true(&host, &vpc, near, OTHER_PUBLIC, None);
    // In its own subnet it is of no use to who has no public address.
    let third = host.guest(&vpc, "front");
    let from = (third.address, &third.namespace);
    told_and_true(&host, &vpc, from, FAR, None);
    // Its own table is to lead out.
    let from = (one.address, &one.namespace);
    let out = host.change(&vpc, |vpc| vpc.internet_gateway());
    host.change(&vpc, |vpc| vpc.remove_route(&name("main"), Cidr::ALL));
    told_and_true(&host, &vpc, from, FAR, None);
    host.change(&vpc, |vpc| {
        vpc.add_route(&name("main"), Cidr::ALL, To::InternetGateway(out))
    });
    told_and_true(&host, &vpc, from, FAR, Some(PUBLIC));
    host.change(&vpc, |vpc| vpc.remove_nat_gateway(&name("egress")));
    told_and_true(&host, &vpc, from, FAR, None);
    // One that is given an address is seen as the host.
    host.change(&vpc, |vpc| vpc.remove_route(&name("private"), Cidr::ALL));
    by(gateway(None).id);
    assert!(soon(|| seen(&one.namespace, FAR, 80) == Some(HOST.into())));
}

#[test]
fn networks_with_the_same_addresses_meet_outside_only() {
    let internet = Internet::new();
    let host = Host::new();
    let networks = ["one", "other"].map(|text| connected(&host, text));
    let guests = networks
        .each_ref()
        .map(|vpc| host.guest(vpc, "front,ip=10.0.1.10"));
    tell(&internet.namespace, 80);
    for (number, (vpc, guest)) in networks.iter().zip(&guests).enumerate() {
        let public = [PUBLIC, OTHER_PUBLIC][number];
        allocate(&host.switches, vpc, Some(public)).unwrap();
        associate(&host, vpc, public, guest);
        let_in(&host, vpc, "tcp:80");
        tell(&guest.namespace, 80);
    }
    let taken = allocate(&host.switches, &networks[0], Some(OTHER_PUBLIC)).unwrap_err();
    assert!(
        taken.report().contains("taken by network 'other'"),
        "{}",
        taken.report()
    );
    let [one, other] = &guests;
    for (guest, own, others) in [(one, PUBLIC, OTHER_PUBLIC), (other, OTHER_PUBLIC, PUBLIC)] {
        assert!(soon(|| seen(&guest.namespace, FAR, 80) == Some(own.into())));
        assert!(soon(
            || seen(&guest.namespace, others, 80) == Some(own.into())
        ));
        // Even itself, by its own public address.
        let vpc = &networks[usize::from(own == OTHER_PUBLIC)];
        let from = (guest.address, &guest.namespace);
        told_and_true(&host, vpc, from, own, Some(own));
        assert!(soon(|| seen(&internet.namespace, own, 80).is_some()));
    }
    delete_all(&host, &internet, guests.into());
}

/// Takes everything away; the host is then as it was.
fn delete_all(host: &Host, internet: &Internet, guests: Vec<Guest>) {
    drop(guests);
    for vpc in host.switches.names().unwrap() {
        delete(&host.switches, &vpc).unwrap();
    }
    is_untouched(internet);
}

/// Nothing of any network is on the host.
fn is_untouched(internet: &Internet) {
    let rules = nft::ruleset(&internet.host).unwrap();
    assert_eq!(rules["nftables"].as_array().unwrap().len(), 1, "{rules}");
    let net = Netlink::in_namespace(&internet.host).unwrap();
    let links = net.links().unwrap();
    assert!(
        links.iter().all(|link| !link.name.starts_with("plinth")),
        "{links:?}"
    );
    let mut routes = net.routes(254).unwrap();
    routes.retain(|route| route.destination.addr().is_ipv4());
    assert_eq!(routes.len(), 2, "{routes:?}");
}

/// The address of the network's end of its cable, and of the host's.
fn ends(host: &Host, vpc: &Name) -> [Ipv4Addr; 2] {
    let stored = host.switches.read(vpc).unwrap();
    let uplink = stored.vpc(vpc).unwrap().uplink().unwrap();
    [uplink.own(), uplink.host()]
}

#[test]
fn a_published_port_answers_without_a_gateway_and_whatever_the_rules() {
    let internet = Internet::new();
    let host = Host::new();
    let (vpc, other) = (host.vpc("published"), host.vpc("others"));
    let publishing = ["8080:80", "127.0.0.1:9090:80", "5353:80/udp"];
    let guest = host.publishing(&vpc, "front", &publishing).unwrap();
    tell(&guest.namespace, 80);
    tell(&internet.namespace, 80);
    assert_eq!(check(&host.switches, &vpc).unwrap(), [""; 0]);
    // The guest sees who asks.
    let from_outside = |port| seen(&internet.namespace, HOST, port);
    assert!(soon(|| from_outside(8080) == Some(NEAR.into())));
    let outside = socket(&internet.namespace);
    assert!(soon(
        || seen_by_udp(&outside, HOST, 5353) == Some(NEAR.into())
    ));
    // So does it of the host, but at 127.0.0.1.
    let [relay, own] = ends(&host, &vpc);
    let from_host = |address, port| seen(&internet.host, address, port);
    assert!(soon(|| from_host(HOST, 8080) == Some(HOST.into())));
    for port in [8080, 9090] {
        assert!(soon(
            || from_host(Ipv4Addr::LOCALHOST, port) == Some(own.into())
        ));
    }
    // What is meant for one address is not for others, nor is the cable's own.
    assert_eq!(from_outside(9090), None);
    assert_eq!(from_host(HOST, 9090), None);
    internet.misroute("169.254.0.0/16");
    assert_eq!(seen(&internet.namespace, relay, 8080), None);
    // It does not lead out.
    assert_eq!(seen(&guest.namespace, FAR, 80), None);

    let refusal = |vpc: &Name, publication: &str| {
        let refused = host.publishing(vpc, "front", &[publication]);
        refused.err().expect("it is refused").report()
    };
    let refused = refusal(&other, "8080:22");
    assert!(
        refused.contains("of network 'published' has 8080:80"),
        "{refused}"
    );
    let refused = refusal(&vpc, "127.0.0.1:8080:22");
    assert!(refused.contains("cannot be published: eni-"), "{refused}");
    let _busy = TcpListener::bind((HOST, 7000)).unwrap();
    let refused = refusal(&other, "7000:22");
    assert!(
        refused.contains("a program of this host has port 7000"),
        "{refused}"
    );
    let refused = refusal(&other, "192.0.2.77:80:80");
    assert!(
        refused.contains("192.0.2.77 is no address of this host"),
        "{refused}"
    );
    assert_eq!(
        host.switches
            .read(&other)
            .unwrap()
            .vpc(&other)
            .unwrap()
            .ports()
            .len(),
        0
    );

    // It goes with its guest; who has it then has what is under way, too.
    drop(guest);
    let successor = host.publishing(&other, "front", &["8080:80", "5353:80/udp"]);
    let successor = successor.unwrap();
    tell(&successor.namespace, 80);
    assert!(soon(
        || seen_by_udp(&outside, HOST, 5353) == Some(NEAR.into())
    ));
    assert!(soon(|| from_outside(8080) == Some(NEAR.into())));
    for vpc in [&vpc, &other] {
        assert_eq!(check(&host.switches, vpc).unwrap(), [""; 0]);
    }
    delete_all(&host, &internet, vec![successor]);
}

#[test]
fn networks_publish_the_same_guest_ports_side_by_side() {
    let internet = Internet::new();
    let host = Host::new();
    let networks = ["one", "other"].map(|text| host.vpc(text));
    let mut guests = Vec::new();
    for (vpc, port) in networks.iter().zip([8001, 8002]) {
        let publication = format!("{port}:80");
        let guest = host.publishing(vpc, "front,ip=10.0.1.10", &[&publication]);
        guests.push(guest.unwrap());
    }
    tell(&guests[0].namespace, 80);
    assert!(soon(
        || seen(&internet.namespace, HOST, 8001) == Some(NEAR.into())
    ));
    assert_eq!(
        seen(&internet.namespace, HOST, 8002),
        None,
        "nobody serves there"
    );
    tell(&guests[1].namespace, 80);
    // From the same port of the same client, to both at once.
    let client = socket(&internet.namespace);
    let both = ["8003:80/udp", "8004:80/udp"];
    for (vpc, publication) in networks.iter().zip(both) {
        let guest = host.publishing(vpc, "front,ip=10.0.1.11", &[publication]);
        let guest = guest.unwrap();
        tell(&guest.namespace, 80);
        guests.push(guest);
    }
    for port in [8003, 8004, 8003] {
        assert!(soon(
            || seen_by_udp(&client, HOST, port) == Some(NEAR.into())
        ));
    }
    assert!(soon(
        || seen(&internet.namespace, HOST, 8002) == Some(NEAR.into())
    ));
    delete_all(&host, &internet, guests);
}

/// Inside, packets have up to 9001 bytes; outside, 1500.
#[test]
fn what_is_too_long_for_the_way_out_is_sent_in_shorter_packets() {
    let internet = Internet::new();
    // The way out is the narrowest part of the way.
    for namespace in [&internet.host, &internet.namespace] {
        let net = Netlink::in_namespace(namespace).unwrap();
        let link = net.link("eth0").unwrap().unwrap().index;
        net.set_mtu(link, vmm::Mtu::new(9001).unwrap()).unwrap();
    }
    let host = Host::new();
    let vpc = connected(&host, "long");
    let guest = host.guest(&vpc, "front");
    allocate(&host.switches, &vpc, Some(PUBLIC)).unwrap();
    associate(&host, &vpc, PUBLIC, &guest);
    tell(&internet.namespace, 80);
    // The router says how long they may be, of datagrams as of all else.
    let datagrams = socket(&guest.namespace);
    datagrams.set_read_timeout(Some(SILENCE)).unwrap();
    assert!(soon(|| {
        let _ = datagrams.send_to(&[0; 4000], (NEAR, 80));
        datagrams.recv_from(&mut [0; 64]).is_ok()
    }));
    // TCP works where what it says is lost.
    let deaf = serde_json::json!({"nftables": [
        {"add": {"table": {"family": "ip", "name": "deaf"}}},
        {"add": {"chain": {"family": "ip", "table": "deaf", "name": "in", "type": "filter",
            "hook": "input", "prio": 0, "policy": "accept"}}},
        {"add": {"rule": {"family": "ip", "table": "deaf", "chain": "in", "expr": [
            {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "icmp"}},
            {"drop": null},
        ]}}},
    ]});
    let other = host.guest(&vpc, "front");
    nft::apply(&other.namespace, &deaf).unwrap();
    allocate(&host.switches, &vpc, Some(OTHER_PUBLIC)).unwrap();
    associate(&host, &vpc, OTHER_PUBLIC, &other);
    let listener = internet.namespace.within(|| TcpListener::bind((FAR, 81)));
    let listener = listener.unwrap().unwrap();
    let counts = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all.len()
    });
    let stream = other.within(|| TcpStream::connect((FAR, 81)));
    let mut stream = stream.unwrap();
    stream.set_write_timeout(Some(BOUND)).unwrap();
    stream.write_all(&vec![7; 1 << 20]).unwrap();
    drop(stream);
    assert!(soon(|| {
        thread::sleep(Duration::from_millis(20));
        counts.is_finished()
    }));
    assert_eq!(counts.join().unwrap(), 1 << 20);
}

#[test]
fn the_way_out_is_made_anew_from_what_is_stored_and_mended() {
    let internet = Internet::new();
    let host = Host::new();
    let vpc = connected(&host, "anew");
    allocate(&host.switches, &vpc, Some(PUBLIC)).unwrap();
    allocate(&host.switches, &vpc, None).unwrap();
    let link = {
        let stored = host.switches.read(&vpc).unwrap();
        network::uplink::host_link(stored.vpc(&vpc).unwrap().id)
    };
    let net = Netlink::in_namespace(&internet.host).unwrap();
    // As after a boot.
    Namespace::delete(&host.namespace(&vpc)).unwrap();
    let table = {
        let stored = host.switches.read(&vpc).unwrap();
        format!("plinth-{}", stored.vpc(&vpc).unwrap().id)
    };
    nft::delete_table(&internet.host, nft::TableFamily::Ip, &table).unwrap();
    for _ in 0..2 {
        up(&host.switches, &vpc).unwrap();
        assert_eq!(check(&host.switches, &vpc).unwrap(), [""; 0]);
    }
    let guest = host.guest(&vpc, &format!("front,public={PUBLIC}"));
    tell(&internet.namespace, 80);
    let leaves = || seen(&guest.namespace, FAR, 80) == Some(PUBLIC.into());
    assert!(soon(leaves));
    let index = || net.link(&link).unwrap().unwrap().index;
    type Breakage<'a> = (&'a str, &'a dyn Fn());
    let breakages: [Breakage<'_>; 6] = [
        ("is missing", &|| {
            let public = format!("{PUBLIC}/32").parse().unwrap();
            net.remove_route(public, 254).unwrap();
        }),
        ("is not up", &|| net.set_down(index()).unwrap()),
        ("is not up", &|| {
            net.set_mtu(index(), vmm::Mtu::new(1400).unwrap()).unwrap()
        }),
        ("uplink", &|| net.delete_link(index()).unwrap()),
        ("of out is missing", &|| {
            let inside = Namespace::open(&host.namespace(&vpc)).unwrap();
            let inside = Netlink::in_namespace(&inside).unwrap();
            let out = inside.link("out").unwrap().unwrap().index;
            let [_, next] = ends(&host, &vpc);
            inside.remove_neighbour(out, next.into()).unwrap();
        }),
        ("on the host, table ip", &|| {
            nft::delete_table(&internet.host, nft::TableFamily::Ip, &table).unwrap();
        }),
    ];
    for (said, break_it) in breakages {
        break_it();
        let found = check(&host.switches, &vpc).unwrap();
        assert!(
            found.iter().any(|one| one.contains(said)),
            "{said}: {found:?}"
        );
        up(&host.switches, &vpc).unwrap();
        assert_eq!(check(&host.switches, &vpc).unwrap(), [""; 0], "{said}");
        assert!(soon(leaves), "{said}");
    }
    delete_all(&host, &internet, vec![guest]);
}

/// A process that was killed after it stored a change, and before it made it.
#[test]
fn a_way_out_that_was_only_stored_is_made_by_the_next() {
    let internet = Internet::new();
    let host = Host::new();
    let vpc = host.vpc("killed");
    let directory = host.directory(&vpc);
    let path = directory.join("switch.json");
    let only_stored = |change: &dyn Fn()| {
        let before = fs::read(&path).unwrap();
        change();
        let stored = fs::read(&path).unwrap();
        fs::write(&path, before).unwrap();
        fs::write(directory.join("pending"), "").unwrap();
        // The kernel is made as it was: a change that changes nothing does that.
        up(&host.switches, &vpc).unwrap();
        fs::write(directory.join("pending"), "").unwrap();
        fs::write(&path, stored).unwrap();
        assert_ne!(check(&host.switches, &vpc).unwrap(), [""; 0]);
        host.change(&vpc, |vpc| {
            vpc.add_group(name("some"), String::new()).map(drop)
        });
        assert_eq!(check(&host.switches, &vpc).unwrap(), [""; 0]);
        host.change(&vpc, |vpc| vpc.remove_group(&name("some")));
    };
    // What is there is known before; afterwards, it is the same.
    only_stored(&|| {
        attach(&host.switches, &vpc).unwrap();
    });
    only_stored(&|| {
        allocate(&host.switches, &vpc, Some(PUBLIC)).unwrap();
    });
    only_stored(&|| {
        let made = create_nat_gateway(
            &host.switches,
            &vpc,
            name("egress"),
            name("front"),
            Some(PUBLIC),
        );
        drop(made.unwrap());
    });
    only_stored(&|| host.change(&vpc, |vpc| vpc.remove_nat_gateway(&name("egress"))));
    only_stored(&|| host.change(&vpc, |vpc| vpc.release(PUBLIC)));
    only_stored(&|| host.change(&vpc, Vpc::detach_internet_gateway));
    delete_all(&host, &internet, Vec::new());
}

/// Not even of a flow that was tracked when a machine that routes had it.
#[test]
fn nothing_leaves_under_a_private_address() {
    let internet = Internet::new();
    let host = Host::new();
    let vpc = host.vpc("private");
    let (guest, router) = (host.guest(&vpc, "front"), host.guest(&vpc, "front"));
    let_in(&host, &vpc, "all");
    let port = host.change(&vpc, |vpc| vpc.port_at(router.address).map(|port| port.id));
    host.change(&vpc, |vpc| vpc.set_source_check(port, false));
    let by = |target| host.change(&vpc, |vpc| vpc.add_route(&name("main"), Cidr::ALL, target));
    by(To::Port(port));
    tell(&internet.namespace, 80);
    let flow = socket(&guest.namespace);
    assert_eq!(seen_by_udp(&flow, NEAR, 80), None, "the router keeps it");
    let gateway = attach(&host.switches, &vpc).unwrap();
    allocate(&host.switches, &vpc, Some(PUBLIC)).unwrap();
    associate(&host, &vpc, PUBLIC, &guest);
    host.change(&vpc, |vpc| vpc.remove_route(&name("main"), Cidr::ALL));
    by(To::InternetGateway(gateway));
    assert!(soon(
        || seen(&guest.namespace, NEAR, 80) == Some(PUBLIC.into())
    ));
    let before = dropped(&host, &vpc, "leaving");
    flow.send_to(b"who", (NEAR, 80)).unwrap();
    assert!(soon(|| dropped(&host, &vpc, "leaving") > before));
    assert_eq!(
        dropped_in(&internet.host, "guard"),
        0,
        "it does not come that far"
    );
}

/// What the host cannot have leaves nothing of it there.
#[test]
fn a_way_out_that_cannot_be_made_is_not_there() {
    let internet = Internet::new();
    let host = Host::new();
    let vpc = host.vpc("refused");
    let net = Netlink::in_namespace(&internet.host).unwrap();
    let in_the_way = |address: Ipv4Addr| Route {
        destination: format!("{address}/32").parse().unwrap(),
        table: 254,
        target: Target::Link(net.link("eth0").unwrap().unwrap().index),
    };
    let claimed = {
        let stored = host.switches.read(&vpc).unwrap();
        Claims::default()
            .uplink(stored.vpc(&vpc).unwrap())
            .unwrap()
            .own()
    };
    net.add_route(&in_the_way(claimed)).unwrap();
    let refused = attach(&host.switches, &vpc).unwrap_err().report();
    assert!(
        refused.contains("cannot be added") && refused.contains("already"),
        "{refused}"
    );
    assert_eq!(check(&host.switches, &vpc).unwrap(), [""; 0]);
    net.remove_route(in_the_way(claimed).destination, 254)
        .unwrap();
    is_untouched(&internet);

    attach(&host.switches, &vpc).unwrap();
    net.add_route(&in_the_way(PUBLIC)).unwrap();
    let refused = allocate(&host.switches, &vpc, Some(PUBLIC))
        .unwrap_err()
        .report();
    assert!(refused.contains(&format!("{PUBLIC}/32")), "{refused}");
    let own = allocate(&host.switches, &vpc, Some(HOST))
        .unwrap_err()
        .report();
    assert!(own.contains("it is this host's own"), "{own}");
    assert_eq!(check(&host.switches, &vpc).unwrap(), [""; 0]);
    net.remove_route(in_the_way(PUBLIC).destination, 254)
        .unwrap();
    allocate(&host.switches, &vpc, Some(PUBLIC)).unwrap();
    delete_all(&host, &internet, Vec::new());
}
