//! Network ACLs in the kernel: what crosses the borders of subnets, with guests that
//! are namespaces.

use std::net::Ipv4Addr;

use network::cidr::Cidr;
use network::explain::{Packet, PacketKind, explain, passes};
use network::name::Name;
use network::network_acl::AclRule;
use network::route_table::Target;
use network::security_group::Direction::{self, Inbound, Outbound};

use super::change::check;
use super::fixture::{Guest, Host, echoes, name, rule, soon};
use super::gateway::{allocate, attach, create_nat_gateway};
use super::internet::{FAR, Internet, NEAR, seen, tell};

const EVERYBODY: &str = "0.0.0.0/0";

/// A network whose groups let everything pass; subnet `back` has the network ACL
/// `strict`, which lets nothing.
fn network(host: &Host, text: &str) -> Name {
    let vpc = host.vpc(text);
    host.authorize(&vpc, "default", Inbound, rule("all", EVERYBODY));
    host.change(&vpc, |vpc| {
        let cidr = "10.0.2.0/24".parse().unwrap();
        vpc.add_subnet(name("back"), cidr).map(drop)
    });
    host.change(&vpc, |vpc| vpc.add_network_acl(name("strict")).map(drop));
    host.change(&vpc, |vpc| {
        vpc.associate_network_acl(&name("back"), &name("strict"))
    });
    vpc
}

/// A rule more of `strict`, such as `allow tcp:80 0.0.0.0/0`.
fn add(host: &Host, vpc: &Name, direction: Direction, number: u16, text: &str) {
    let words: Vec<&str> = text.split(' ').collect();
    let rule = AclRule {
        action: words[0].parse().unwrap(),
        traffic: words[1].parse().unwrap(),
        cidr: words[2].parse().unwrap(),
    };
    let number = number.try_into().unwrap();
    host.change(vpc, |vpc| {
        vpc.add_acl_rule(&name("strict"), direction, number, rule)
    });
}

fn remove(host: &Host, vpc: &Name, direction: Direction, number: u16) {
    let number = number.try_into().unwrap();
    host.change(vpc, |vpc| {
        vpc.remove_acl_rule(&name("strict"), direction, number)
    });
}

/// Whether `from` reaches `to` is what is said of it, and `expected`.
fn reaches(host: &Host, vpc: &Name, (from, to): (&Guest, &Guest), kind: &str, expected: bool) {
    let stored = host.switches.read(vpc).unwrap();
    let kind: PacketKind = kind.parse().unwrap();
    let packet = Packet {
        from: from.address,
        to: to.address,
        kind,
    };
    let told = explain(stored.vpc(vpc).unwrap(), packet);
    assert_eq!(passes(&told), expected, "{told:?}");
    let reached = || match kind {
        PacketKind::Tcp(port) => from.reaches_tcp(to, port),
        PacketKind::Udp(port) => from.reaches_udp(to, port),
        PacketKind::Icmp(..) => from.pings(to),
        PacketKind::Other(_) => panic!("nobody answers"),
    };
    match expected {
        true => assert!(soon(reached), "{told:?}"),
        false => assert!(!reached(), "{told:?}"),
    }
}

/// Each kind of rule, in each direction, as a packet meets it and as its answer does.
#[test]
fn every_kind_of_rule_allows_and_denies_in_both_directions() {
    let host = Host::new();
    let vpc = network(&host, "kinds");
    let (front, back) = (host.guest(&vpc, "front"), host.guest(&vpc, "back"));
    for guest in [&front, &back] {
        guest.serve_tcp(80);
        guest.serve_udp(53);
    }
    let ephemeral = "32768-60999";
    for (kind, asks, answers) in [
        ("tcp:80", "tcp:80".to_owned(), format!("tcp:{ephemeral}")),
        ("udp:53", "udp:50-60".into(), format!("udp:{ephemeral}")),
        ("icmp", "icmp:8".into(), "icmp:0/0".into()),
        ("tcp:80", "tcp".into(), "6".into()),
        ("udp:53", "all".into(), "all".into()),
    ] {
        let (into, out_of) = ((&front, &back), (&back, &front));
        for (ends, first, second) in [(into, Inbound, Outbound), (out_of, Outbound, Inbound)] {
            let asked = |expected| reaches(&host, &vpc, ends, kind, expected);
            add(
                &host,
                &vpc,
                first,
                100,
                &format!("allow {asks} 10.0.1.0/24"),
            );
            asked(false);
            add(
                &host,
                &vpc,
                second,
                100,
                &format!("allow {answers} 10.0.1.0/24"),
            );
            asked(true);
            for (direction, denied) in [(first, &asks), (second, &answers)] {
                add(
                    &host,
                    &vpc,
                    direction,
                    90,
                    &format!("deny {denied} 10.0.1.4/32"),
                );
                asked(false);
                remove(&host, &vpc, direction, 90);
                // One that comes later does not matter, nor one about others.
                add(
                    &host,
                    &vpc,
                    direction,
                    110,
                    &format!("deny {denied} {EVERYBODY}"),
                );
                add(
                    &host,
                    &vpc,
                    direction,
                    80,
                    &format!("deny {denied} 10.0.1.5/32"),
                );
                asked(true);
                remove(&host, &vpc, direction, 110);
                remove(&host, &vpc, direction, 80);
            }
            remove(&host, &vpc, first, 100);
            asked(false);
            remove(&host, &vpc, second, 100);
        }
    }
    assert_eq!(check(&host.switches, &vpc).unwrap(), [""; 0]);
}

#[test]
fn what_stays_in_a_subnet_crosses_no_border() {
    let host = Host::new();
    let vpc = network(&host, "inside");
    let (one, other) = (host.guest(&vpc, "back"), host.guest(&vpc, "back"));
    let front = host.guest(&vpc, "front");
    other.serve_tcp(80);
    reaches(&host, &vpc, (&one, &other), "tcp:80", true);
    reaches(&host, &vpc, (&front, &other), "tcp:80", false);
    host.change(&vpc, |vpc| {
        vpc.associate_network_acl(&name("back"), &name("default"))
    });
    reaches(&host, &vpc, (&front, &other), "tcp:80", true);
    // The same rules at both borders.
    host.change(&vpc, |vpc| {
        vpc.associate_network_acl(&name("front"), &name("strict"))
    });
    reaches(&host, &vpc, (&front, &other), "tcp:80", false);
    assert_eq!(check(&host.switches, &vpc).unwrap(), [""; 0]);
}

#[test]
fn what_is_under_way_is_asked_as_well() {
    let host = Host::new();
    let vpc = network(&host, "flows");
    let (front, back) = (host.guest(&vpc, "front"), host.guest(&vpc, "back"));
    back.serve_tcp(80);
    add(&host, &vpc, Inbound, 1, "allow all 0.0.0.0/0");
    add(&host, &vpc, Outbound, 1, "allow all 0.0.0.0/0");
    let mut stream = front.connected(&back, 80);
    assert!(echoes(&mut stream));
    remove(&host, &vpc, Outbound, 1);
    stream
        .set_read_timeout(Some(super::fixture::SILENCE))
        .unwrap();
    assert!(!echoes(&mut stream), "the answer does not pass");
}

#[test]
fn what_comes_from_outside_or_goes_there_crosses_a_border() {
    const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
    let internet = Internet::new();
    let host = Host::new();
    let vpc = network(&host, "outside");
    let gateway = attach(&host.switches, &vpc).unwrap();
    let to = Target::InternetGateway(gateway);
    host.change(&vpc, |vpc| vpc.add_route(&name("main"), Cidr::ALL, to));
    let guest = host.guest(&vpc, "back");
    let published = host.publishing(&vpc, "back", &["8080:80"]).unwrap();
    allocate(&host.switches, &vpc, Some(PUBLIC)).unwrap();
    host.change(&vpc, |vpc| {
        let port = vpc.port_at(guest.address)?.id;
        vpc.associate_address(PUBLIC, port)
    });
    tell(&internet.namespace, 80);
    tell(&guest.namespace, 80);
    tell(&published.namespace, 80);
    let leaves = || seen(&guest.namespace, FAR, 80) == Some(PUBLIC.into());
    let comes = || seen(&internet.namespace, PUBLIC, 80) == Some(NEAR.into());
    let relayed = || seen(&internet.namespace, super::internet::HOST, 8080) == Some(NEAR.into());
    add(&host, &vpc, Outbound, 10, "allow tcp:80 0.0.0.0/0");
    add(&host, &vpc, Inbound, 10, "allow tcp:80 0.0.0.0/0");
    assert!(!leaves() && !comes() && !relayed(), "answers do not pass");
    let answers = "allow tcp:32768-60999 192.0.2.0/24";
    add(&host, &vpc, Outbound, 20, answers);
    assert!(soon(comes) && soon(relayed) && !leaves());
    remove(&host, &vpc, Outbound, 20);
    add(&host, &vpc, Inbound, 20, "allow tcp:32768-60999 0.0.0.0/0");
    assert!(soon(leaves) && !comes() && !relayed());
    assert_eq!(check(&host.switches, &vpc).unwrap(), [""; 0]);
}

/// The rules of a subnet with a NAT gateway are about what its users send, and about
/// the answers, too.
#[test]
fn what_goes_by_a_nat_gateway_crosses_the_border_of_its_subnet() {
    let internet = Internet::new();
    let host = Host::new();
    let vpc = network(&host, "nat");
    let gateway = attach(&host.switches, &vpc).unwrap();
    let to = Target::InternetGateway(gateway);
    host.change(&vpc, |vpc| vpc.add_route(&name("main"), Cidr::ALL, to));
    let (egress, strict) = (name("egress"), name("back"));
    let nat = create_nat_gateway(&host.switches, &vpc, egress, strict, None).unwrap();
    host.change(&vpc, |vpc| vpc.add_route_table(name("private")).map(drop));
    host.change(&vpc, |vpc| {
        vpc.add_route(&name("private"), Cidr::ALL, Target::NatGateway(nat.id))
    });
    host.change(&vpc, |vpc| vpc.associate(&name("front"), &name("private")));
    let guest = host.guest(&vpc, "front");
    tell(&internet.namespace, 80);
    let leaves = |expected: bool| {
        let stored = host.switches.read(&vpc).unwrap();
        let packet = Packet {
            from: guest.address,
            to: FAR,
            kind: PacketKind::Tcp(80),
        };
        let told = explain(stored.vpc(&vpc).unwrap(), packet);
        assert_eq!(passes(&told), expected, "{told:?}");
        let leaves = || seen(&guest.namespace, FAR, 80).is_some();
        match expected {
            true => assert!(soon(leaves), "{told:?}"),
            false => assert!(!leaves(), "{told:?}"),
        }
    };
    let rules = [
        (Inbound, 10, "allow tcp:80 10.0.1.0/24"),
        (Outbound, 10, "allow tcp:80 198.51.100.0/24"),
        (Inbound, 20, "allow tcp:1024-65535 198.51.100.0/24"),
        (Outbound, 20, "allow tcp:1024-65535 10.0.1.0/24"),
    ];
    for (direction, number, rule) in rules {
        leaves(false);
        add(&host, &vpc, direction, number, rule);
    }
    leaves(true);
    assert_eq!(check(&host.switches, &vpc).unwrap(), [""; 0]);
    // Each is needed.
    for (direction, number, rule) in rules {
        remove(&host, &vpc, direction, number);
        leaves(false);
        add(&host, &vpc, direction, number, rule);
        leaves(true);
    }
}
