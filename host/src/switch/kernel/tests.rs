//! All of it together: packets that go where they should, and not where they
//! should not.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::json;

use super::fixture::{Scratch, is_kept_from, link, reaches, set_up};
use super::sysctl::{LinkSetting, Links, Sysctl};
use super::{Family, LinkIndex, Netlink, PortFlags, Route, Rule, Target, Vxlan, nft, sysctl};

/// A guest: a namespace at the end of a cable. The other end is called `port`
/// where the cable is plugged in.
fn guest(switch: &Scratch, net: &Netlink, port: &str, prefix: &str) -> (Scratch, LinkIndex) {
    let guest = Scratch::new();
    let end = net.add_veth(port, "eth0", &guest).unwrap();
    assert_eq!(link(&switch.net(), port).index, end);
    set_up(&guest.net(), "eth0", prefix);
    net.set_up(end).unwrap();
    (guest, end)
}

#[test]
fn a_cable_carries_packets_and_streams_of_both_families() {
    let (left, right) = (Scratch::new(), Scratch::new());
    left.net().add_veth("a", "b", &right).unwrap();
    for (here, there) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
        let bits = if here.contains(':') { 64 } else { 24 };
        set_up(&left.net(), "a", &format!("{here}/{bits}"));
        set_up(&right.net(), "b", &format!("{there}/{bits}"));
        let (one, two) = (left.socket(here), right.socket(there));
        assert!(reaches(&one, &two));
        assert!(reaches(&two, &one));

        let listener = right.within(|| TcpListener::bind((there, 0)).unwrap());
        let listener = listener.unwrap();
        let address = listener.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).unwrap();
            stream.write_all(&bytes).unwrap();
        });
        let stream = left.within(|| TcpStream::connect(address).unwrap());
        let mut stream = stream.unwrap();
        stream.write_all(b"hello").unwrap();
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
        echo.join().unwrap();
    }
}

#[test]
fn isolated_ports_of_a_bridge_reach_the_others_but_not_each_other() {
    let switch = Scratch::new();
    let net = switch.net();
    let bridge = net.add_bridge("br0").unwrap();
    net.set_up(bridge).unwrap();
    let mut sockets = Vec::new();
    let mut guests = Vec::new();
    for (number, isolated) in [(1, true), (2, true), (3, false)] {
        let address = format!("192.0.2.{number}");
        let name = format!("port{number}");
        let (guest, port) = guest(&switch, &net, &name, &format!("{address}/24"));
        net.set_master(port, Some(bridge)).unwrap();
        let flags = PortFlags {
            isolated,
            learning: true,
            flood: true,
        };
        net.set_port_flags(port, flags).unwrap();
        let set = link(&net, &name);
        assert_eq!((set.master, set.port), (Some(bridge), Some(flags)));
        sockets.push(guest.socket(&address));
        guests.push(guest);
    }
    let [one, two, uplink] = &sockets[..] else {
        panic!("there are three");
    };
    for isolated in [one, two] {
        assert!(reaches(isolated, uplink));
        assert!(reaches(uplink, isolated));
    }
    assert!(is_kept_from(one, two));
    assert!(is_kept_from(two, one));
    // It is the flag that keeps them apart.
    let open = PortFlags {
        isolated: false,
        learning: true,
        flood: true,
    };
    net.set_port_flags(link(&net, "port1").index, open).unwrap();
    assert!(reaches(one, two));
}

#[test]
fn port_flags_are_refused_where_there_is_no_bridge() {
    let switch = Scratch::new();
    let net = switch.net();
    let port = net.add_veth("a", "b", &switch).unwrap();
    let flags = PortFlags {
        isolated: true,
        learning: false,
        flood: false,
    };
    net.set_port_flags(port, flags).unwrap_err();
    let bridge = net.add_bridge("br0").unwrap();
    net.set_master(port, Some(bridge)).unwrap();
    net.set_port_flags(port, flags).unwrap();
    assert_eq!(link(&net, "a").port, Some(flags));
}

/// Has `namespace` route packets and answer ARP for all that it has routes to.
fn make_router(namespace: &Scratch, ports: &[&str]) {
    let mut settings = vec![
        (Sysctl::IpForward, 1),
        (Sysctl::Of(Links::All, LinkSetting::RpFilter), 0),
    ];
    for port in ports {
        let of = |setting| Sysctl::Of(Links::One(port), setting);
        settings.extend([
            (of(LinkSetting::ProxyArp), 1),
            (of(LinkSetting::ProxyDelay), 0),
            (of(LinkSetting::RpFilter), 0),
            (of(LinkSetting::SendRedirects), 0),
        ]);
    }
    sysctl::set(namespace, &settings).unwrap();
}

fn host_route(address: &str, table: u32, port: LinkIndex) -> Route {
    Route {
        destination: format!("{address}/32").parse().unwrap(),
        table,
        target: Target::Link(port),
    }
}

fn from(port: &str, table: u32) -> Rule {
    Rule {
        family: Family::V4,
        input: Some(port.into()),
        mark: None,
        table,
        priority: 1000,
    }
}

#[test]
fn guests_of_one_subnet_talk_through_a_router_that_answers_their_arp() {
    const TABLE: u32 = 100;
    let router = Scratch::new();
    let net = router.net();
    // Each believes that the other is on its link.
    let (one, port1) = guest(&router, &net, "port1", "10.0.0.5/24");
    let (two, port2) = guest(&router, &net, "port2", "10.0.0.6/24");
    make_router(&router, &["port1", "port2"]);
    for (address, port, name) in [("10.0.0.5", port1, "port1"), ("10.0.0.6", port2, "port2")] {
        net.add_route(&host_route(address, TABLE, port)).unwrap();
        net.add_rule(&from(name, TABLE)).unwrap();
    }
    let (one, two) = (one.socket("10.0.0.5"), two.socket("10.0.0.6"));
    assert!(reaches(&one, &two));
    assert!(reaches(&two, &one));

    // nftables stand between them, and go as they came.
    let drop = json!({"nftables": [
        {"add": {"table": {"family": "ip", "name": "ports"}}},
        {"add": {"chain": {
            "family": "ip", "table": "ports", "name": "forward",
            "type": "filter", "hook": "forward", "prio": 0, "policy": "drop",
        }}},
    ]});
    nft::apply(&router, &drop).unwrap();
    assert!(is_kept_from(&one, &two));
    nft::delete_table(&router, nft::TableFamily::Ip, "ports").unwrap();
    assert!(reaches(&one, &two));
}

#[test]
fn the_link_that_a_packet_came_by_chooses_its_table() {
    let router = Scratch::new();
    let net = router.net();
    // Two servers with the same address, and a guest for each.
    let (red_server, red) = guest(&router, &net, "red", "10.0.0.9/24");
    let (blue_server, blue) = guest(&router, &net, "blue", "10.0.0.9/24");
    let (red_guest, red_port) = guest(&router, &net, "red-port", "10.0.0.5/24");
    let (blue_guest, blue_port) = guest(&router, &net, "blue-port", "10.0.0.5/24");
    make_router(&router, &["red", "blue", "red-port", "blue-port"]);
    for (table, server, port) in [(7, red, red_port), (100_000, blue, blue_port)] {
        net.add_route(&host_route("10.0.0.9", table, server))
            .unwrap();
        net.add_route(&host_route("10.0.0.5", table, port)).unwrap();
    }
    for (name, table) in [
        ("red", 7),
        ("red-port", 7),
        ("blue", 100_000),
        ("blue-port", 100_000),
    ] {
        net.add_rule(&from(name, table)).unwrap();
    }
    let (red_server, blue_server) = (
        red_server.socket("10.0.0.9"),
        blue_server.socket("10.0.0.9"),
    );
    let (red_guest, blue_guest) = (red_guest.socket("10.0.0.5"), blue_guest.socket("10.0.0.5"));
    for (guest, own, other) in [
        (&red_guest, &red_server, &blue_server),
        (&blue_guest, &blue_server, &red_server),
    ] {
        assert!(is_kept_from(guest, other));
        assert!(reaches(guest, own));
        assert!(reaches(own, guest));
    }
    // Another table from now on.
    net.remove_rule(&from("red-port", 7)).unwrap();
    net.add_rule(&from("red-port", 100_000)).unwrap();
    assert!(reaches(&red_guest, &blue_server));
}

#[test]
fn a_gateway_in_another_namespace_is_reached_by_a_cable_without_a_prefix() {
    const TABLE: u32 = 7;
    let (vpc, outside) = (Scratch::new(), Scratch::new());
    let net = vpc.net();
    let (guest, port) = guest(&vpc, &net, "port", "10.0.0.5/24");
    net.set_up(LinkIndex::LOOPBACK).unwrap();
    let exit = net.add_veth("exit", "vpc", &outside).unwrap();
    net.set_up(exit).unwrap();
    let entry = set_up(&outside.net(), "vpc", "169.254.0.1/32");
    make_router(&vpc, &["port", "exit"]);
    net.add_route(&host_route("10.0.0.5", 254, port)).unwrap();
    net.add_rule(&from("port", TABLE)).unwrap();
    net.add_route(&Route {
        destination: "0.0.0.0/0".parse().unwrap(),
        table: TABLE,
        target: Target::Gateway {
            address: [169, 254, 0, 1].into(),
            link: exit,
        },
    })
    .unwrap();
    // The guest has a default route, to an address that only ARP knows.
    guest.net().set_up(LinkIndex::LOOPBACK).unwrap();
    let eth0 = link(&guest.net(), "eth0").index;
    guest
        .net()
        .add_route(&Route {
            destination: "0.0.0.0/0".parse().unwrap(),
            table: 254,
            target: Target::Gateway {
                address: [10, 0, 0, 1].into(),
                link: eth0,
            },
        })
        .unwrap();
    let back = Route {
        destination: "10.0.0.0/24".parse().unwrap(),
        table: 254,
        target: Target::Link(entry),
    };
    outside.net().add_route(&back).unwrap();
    let (guest, server) = (guest.socket("10.0.0.5"), outside.socket("169.254.0.1"));
    assert!(reaches(&guest, &server));
    assert!(reaches(&server, &guest));
}

#[test]
fn frames_cross_the_network_of_the_host_through_a_tunnel() {
    let hosts = [Scratch::new(), Scratch::new()];
    let insides = [Scratch::new(), Scratch::new()];
    hosts[0].net().add_veth("wire", "wire", &hosts[1]).unwrap();
    let address = |number: usize| [192, 0, 2, [1, 2][number]].into();
    let mut sockets = Vec::new();
    for (number, (host, inside)) in hosts.iter().zip(&insides).enumerate() {
        set_up(&host.net(), "wire", &format!("192.0.2.{}/24", number + 1));
        let tunnel = Vxlan {
            id: 42,
            local: address(number),
            remote: Some(address(1 - number)),
            port: 4789,
            learning: true,
        };
        host.net().add_vxlan("tunnel", &tunnel, inside).unwrap();
        let own = format!("10.0.0.{}", number + 1);
        set_up(&inside.net(), "tunnel", &format!("{own}/24"));
        sockets.push(inside.socket(&own));
    }
    assert!(reaches(&sockets[0], &sockets[1]));
    assert!(reaches(&sockets[1], &sockets[0]));
}
