//! Networks in the kernel, with guests plugged in that are namespaces: what their
//! rules let pass, and what becomes of them.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};

use network::cidr::Cidr;
use network::explain::{self, PacketKind, explain, passes};
use network::name::Name;
use network::refused::Refused;
use network::route_table::Target;
use network::security_group::Direction;
use network::vpc::Vpc;

use super::change;
use super::fixture::{BOUND, Guest, Host, Packet, SILENCE, checksum, echoes, name, rule, soon};
use super::kernel::{Namespace, nft};

const EVERYBODY: &str = "0.0.0.0/0";

/// Whether a packet passes is what is said of it.
fn told_and_true(host: &Host, vpc: &Name, from: &Guest, to: &Guest, port: u16) -> bool {
    let stored = host.switches.read(vpc).unwrap();
    let packet = explain::Packet {
        from: from.address,
        to: to.address,
        kind: PacketKind::Tcp(port),
    };
    let told = explain(stored.vpc(vpc).unwrap(), packet);
    let passes = passes(&told);
    let reached = match passes {
        true => soon(|| from.reaches_tcp(to, port)),
        false => from.reaches_tcp(to, port),
    };
    assert_eq!(passes, reached, "{told:?}");
    reached
}

#[test]
fn rules_let_pass_what_they_allow_in_one_subnet() {
    let host = Host::new();
    let vpc = host.vpc("rules");
    host.change(&vpc, |vpc| {
        vpc.add_group(name("web"), String::new()).map(drop)
    });
    let client = host.guest(&vpc, "front");
    let server = host.guest(&vpc, "front,security-group=web");
    server.serve_tcp(80);
    server.serve_udp(53);
    assert!(
        !told_and_true(&host, &vpc, &client, &server, 80),
        "no rule allows it"
    );
    assert!(!client.reaches_udp(&server, 53));

    host.authorize(&vpc, "web", Direction::Inbound, rule("tcp:80", EVERYBODY));
    assert!(told_and_true(&host, &vpc, &client, &server, 80));
    assert!(!client.reaches_udp(&server, 53), "that was TCP only");

    let of_subnet = rule("udp:50-60", "10.0.1.0/24");
    host.authorize(&vpc, "web", Direction::Inbound, of_subnet.clone());
    assert!(soon(|| client.reaches_udp(&server, 53)));
    host.change(&vpc, |vpc| {
        vpc.revoke(&name("web"), Direction::Inbound, &of_subnet)
    });
    assert!(!client.reaches_udp(&server, 53));

    // The other way.
    client.serve_tcp(80);
    assert!(!told_and_true(&host, &vpc, &server, &client, 80));
    host.authorize(
        &vpc,
        "default",
        Direction::Inbound,
        rule("all", "group web"),
    );
    assert!(told_and_true(&host, &vpc, &server, &client, 80));
    let everything = rule("all", EVERYBODY);
    host.change(&vpc, |vpc| {
        vpc.revoke(&name("web"), Direction::Outbound, &everything)
    });
    assert!(
        !told_and_true(&host, &vpc, &server, &client, 80),
        "it may not send"
    );
}

#[test]
fn what_is_under_way_goes_on_when_rules_change() {
    let host = Host::new();
    let vpc = host.vpc("flows");
    let (client, server) = (host.guest(&vpc, "front"), host.guest(&vpc, "front"));
    server.serve_tcp(80);
    let mut stream = client.connected(&server, 80);
    assert!(echoes(&mut stream));
    let among_themselves = rule("all", "group default");
    host.change(&vpc, |vpc| {
        vpc.revoke(&name("default"), Direction::Inbound, &among_themselves)
    });
    assert!(!client.reaches_tcp(&server, 80), "nothing new");
    assert!(echoes(&mut stream), "what was tracked");
    // Made anew from what is stored, and not lost either.
    change::up(&host.switches, &vpc).unwrap();
    assert!(echoes(&mut stream));
}

#[test]
fn rules_about_a_group_follow_its_members() {
    let host = Host::new();
    let vpc = host.vpc("members");
    host.change(&vpc, |vpc| {
        vpc.add_group(name("app"), String::new()).map(drop)
    });
    host.change(&vpc, |vpc| {
        vpc.add_group(name("db"), String::new()).map(drop)
    });
    host.authorize(
        &vpc,
        "db",
        Direction::Inbound,
        rule("tcp:5432", "group app"),
    );
    let client = host.guest(&vpc, "front");
    let server = host.guest(&vpc, "front,security-group=db");
    server.serve_tcp(5432);
    assert!(!told_and_true(&host, &vpc, &client, &server, 5432));
    let regroup = |groups: &[&str]| {
        let groups = groups.iter().map(|group| name(group)).collect();
        host.change(&vpc, |vpc| {
            let id = vpc.port_at(client.address)?.id;
            vpc.set_groups(id, groups)
        });
    };
    regroup(&["app", "default"]);
    assert!(told_and_true(&host, &vpc, &client, &server, 5432));
    regroup(&["default"]);
    assert!(!told_and_true(&host, &vpc, &client, &server, 5432));
}

#[test]
fn networks_with_the_same_addresses_never_meet() {
    let host = Host::new();
    let (one, other) = (host.vpc("one"), host.vpc("other"));
    for vpc in [&one, &other] {
        host.authorize(vpc, "default", Direction::Inbound, rule("all", EVERYBODY));
    }
    let client = host.guest(&one, "front,ip=10.0.1.10");
    let near = host.guest(&one, "front,ip=10.0.1.20");
    let far = host.guest(&other, "front,ip=10.0.1.20");
    let alone = host.guest(&other, "front,ip=10.0.1.30");
    far.serve_tcp(80);
    alone.serve_tcp(80);
    assert!(!client.reaches_tcp(&near, 80), "nobody serves there");
    near.serve_tcp(80);
    assert!(soon(|| client.reaches_tcp(&near, 80)));
    assert!(
        !client.reaches_tcp(&alone, 80),
        "it is in the other network"
    );
    assert!(soon(|| far.reaches_tcp(&alone, 80)));
}

#[test]
fn nobody_sends_as_somebody_else() {
    let host = Host::new();
    let vpc = host.vpc("spoof");
    host.authorize(&vpc, "default", Direction::Inbound, rule("all", EVERYBODY));
    let (honest, liar) = (host.guest(&vpc, "front"), host.guest(&vpc, "front"));
    honest.serve_udp(7);
    assert!(soon(|| liar.reaches_udp(&honest, 7)));
    let counts = || dropped(&host, &vpc, "guard");
    // As an address that it does not have.
    let before = counts();
    liar.add_address("10.0.1.99/32");
    liar.send_as("10.0.1.99".parse().unwrap(), &honest, 7);
    assert!(soon(|| counts() > before), "it was dropped");
    // A machine that routes may.
    host.change(&vpc, |vpc| {
        let id = vpc.port_at(liar.address)?.id;
        vpc.set_source_check(id, false)
    });
    let before = dropped_at_last(&host, &vpc, "guard");
    liar.send_as("10.0.1.99".parse().unwrap(), &honest, 7);
    assert_eq!(counts(), before);
    // As another interface: whatever it asks or says, nobody hears.
    liar.change_mac("02:00:00:00:66:66");
    let before = counts();
    assert!(!liar.reaches_udp(&honest, 7));
    assert!(soon(|| counts() > before));
}

/// Packets that were dropped by the rules of a chain.
pub(super) fn dropped(host: &Host, vpc: &Name, chain: &str) -> u64 {
    dropped_in(&Namespace::open(&host.namespace(vpc)).unwrap(), chain)
}

/// The same, of all chains of that name in `namespace`.
pub(super) fn dropped_in(namespace: &Namespace, chain: &str) -> u64 {
    let listing = nft::ruleset(namespace).unwrap();
    let mut count = 0;
    for entry in listing["nftables"].as_array().unwrap() {
        let rule = &entry["rule"];
        if rule["chain"] == chain {
            for part in rule["expr"].as_array().unwrap() {
                count += part["counter"]["packets"].as_u64().unwrap_or(0);
            }
        }
    }
    count
}

/// The same when there are no more: by IPv6, new interfaces say something of themselves
/// for some seconds, about one in each (RFC 4862 §5.4, RFC 3810 §9.11).
pub(super) fn dropped_at_last(host: &Host, vpc: &Name, chain: &str) -> u64 {
    let mut last = dropped(host, vpc, chain);
    assert!(soon(|| {
        std::thread::sleep(4 * SILENCE);
        let now = dropped(host, vpc, chain);
        std::mem::replace(&mut last, now) == now
    }));
    last
}

#[test]
fn a_guest_that_is_gone_gives_its_address_back() {
    let host = Host::new();
    let vpc = host.vpc("gone");
    let first = host.guest(&vpc, "front");
    assert_eq!(first.address, Ipv4Addr::new(10, 0, 1, 4));
    let refused = change::delete(&host.switches, &vpc).unwrap_err().report();
    assert!(refused.contains("is in use by machine"), "{refused}");
    drop(first);
    let second = host.guest(&vpc, "front");
    assert_eq!(second.address, Ipv4Addr::new(10, 0, 1, 4));
    drop(second);
    let namespace = host.namespace(&vpc);
    change::delete(&host.switches, &vpc).unwrap();
    assert!(Namespace::open(&namespace).is_err());
}

#[test]
fn what_somebody_changed_is_found_and_mended() {
    let host = Host::new();
    let vpc = host.vpc("mended");
    let (client, server) = (host.guest(&vpc, "front"), host.guest(&vpc, "front"));
    server.serve_tcp(80);
    assert_eq!(change::check(&host.switches, &vpc).unwrap(), [""; 0]);
    let namespace = Namespace::open(&host.namespace(&vpc)).unwrap();
    let flush = serde_json::json!({"nftables": [{"flush": {"chain": {
        "family": "inet", "table": "plinth", "name": "guard",
    }}}]});
    nft::apply(&namespace, &flush).unwrap();
    let found = change::check(&host.switches, &vpc).unwrap();
    assert_eq!(found, ["chain inet guard was changed"]);
    change::up(&host.switches, &vpc).unwrap();
    assert_eq!(change::check(&host.switches, &vpc).unwrap(), [""; 0]);
    assert!(soon(|| client.reaches_tcp(&server, 80)));
}

/// As after a boot: what is stored is there, nothing of the kernel.
#[test]
fn a_network_is_made_anew_from_what_is_stored() {
    let host = Host::new();
    let vpc = host.vpc("boot");
    host.change(&vpc, |vpc| {
        vpc.add_group(name("web"), String::new()).map(drop)
    });
    Namespace::delete(&host.namespace(&vpc)).unwrap();
    let found = change::check(&host.switches, &vpc).unwrap();
    assert_eq!(found, ["it is not in the kernel"]);
    for _ in 0..2 {
        change::up(&host.switches, &vpc).unwrap();
        assert_eq!(change::check(&host.switches, &vpc).unwrap(), [""; 0]);
    }
}

/// A process that was killed after it stored a change, and before it made it.
#[test]
fn a_change_that_was_only_stored_is_made_by_the_next() {
    let host = Host::new();
    let vpc = host.vpc("killed");
    let (client, server) = (host.guest(&vpc, "front"), host.guest(&vpc, "front"));
    server.serve_tcp(80);
    let among_themselves = rule("all", "group default");
    let somewhere: Cidr = "192.0.2.0/24".parse().unwrap();
    let only_stored = |change: &dyn Fn(&mut Vpc) -> Result<(), Refused>| {
        let directory = host.directory(&vpc);
        let path = directory.join("switch.json");
        let before = fs::read(&path).unwrap();
        host.change(&vpc, change);
        let stored = fs::read(&path).unwrap();
        fs::write(&path, before).unwrap();
        change::up(&host.switches, &vpc).unwrap();
        // The kernel is as it was, and the files are as they will be.
        fs::write(directory.join("pending"), "").unwrap();
        fs::write(&path, stored).unwrap();
        assert_ne!(change::check(&host.switches, &vpc).unwrap(), [""; 0]);
    };
    let next = |change: &dyn Fn(&mut Vpc) -> Result<(), Refused>| {
        host.change(&vpc, change);
        assert_eq!(change::check(&host.switches, &vpc).unwrap(), [""; 0]);
    };
    // What comes next is about something else: rules, then routes.
    only_stored(&|vpc| vpc.revoke(&name("default"), Direction::Inbound, &among_themselves));
    next(&|vpc| vpc.add_route(&name("main"), somewhere, Target::Blackhole));
    assert!(!client.reaches_tcp(&server, 80));
    only_stored(&|vpc| vpc.remove_route(&name("main"), somewhere));
    next(&|vpc| {
        vpc.authorize(
            &name("default"),
            Direction::Inbound,
            among_themselves.clone(),
        )
    });
    assert!(soon(|| client.reaches_tcp(&server, 80)));
}

/// Nor those of who had its address before.
#[test]
fn flows_end_with_the_machine() {
    let host = Host::new();
    let vpc = host.vpc("successor");
    host.change(&vpc, |vpc| {
        vpc.add_group(name("closed"), String::new()).map(drop)
    });
    let client = host.guest(&vpc, "front");
    let other = host.guest(&vpc, "front");
    other.serve_udp(7);
    let ask = |socket: &UdpSocket, to: Ipv4Addr| {
        let sent = socket.send_to(b"ping", (to, 7));
        sent.is_ok() && socket.recv_from(&mut [0; 16]).is_ok()
    };
    let bound = || {
        let socket = client.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)));
        let socket = socket.unwrap();
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        socket
    };
    let (socket, lasting) = (bound(), bound());
    let address = Ipv4Addr::new(10, 0, 1, 10);
    let first = host.guest(&vpc, "front,ip=10.0.1.10");
    first.serve_udp(7);
    assert!(soon(|| ask(&socket, address)));
    assert!(soon(|| ask(&lasting, other.address)));
    drop(first);
    let second = host.guest(&vpc, "front,ip=10.0.1.10,security-group=closed");
    second.serve_udp(7);
    assert!(!ask(&socket, address), "that was with somebody else");
    let among_themselves = rule("all", "group default");
    host.change(&vpc, |vpc| {
        vpc.revoke(&name("default"), Direction::Inbound, &among_themselves)
    });
    assert!(ask(&lasting, other.address), "others are not forgotten");
}

/// A fragment is whose the tap is that it came by, before it is part of anything.
#[test]
fn nobody_adds_to_what_another_sends() {
    let host = Host::new();
    let vpc = host.vpc("fragments");
    let (honest, liar) = (host.guest(&vpc, "front"), host.guest(&vpc, "front"));
    let server = host.guest(&vpc, "front");
    let socket = server.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 7)));
    let socket = socket.unwrap();
    let fragment = |fragment, payload| Packet {
        from: honest.address,
        to: server.address,
        protocol: 17,
        fragment,
        payload,
    };
    // From port 9 to port 7, 24 bytes of which 16 come first; without a checksum.
    let first = [&[0, 9, 0, 7, 0, 24, 0, 0], b"GOODGOOD".as_slice()].concat();
    let first = fragment((0, true), &first);
    let mut data = [0; 64];
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let before = dropped(&host, &vpc, "guard");
    liar.inject(&fragment((16, false), b"EVILEVIL"));
    assert!(soon(|| dropped(&host, &vpc, "guard") > before));
    honest.inject(&first);
    assert!(
        socket.recv_from(&mut data).is_err(),
        "half of it is missing"
    );
    honest.inject(&fragment((16, false), b"FINEFINE"));
    socket.set_read_timeout(Some(BOUND)).unwrap();
    let (len, _) = socket.recv_from(&mut data).unwrap();
    assert_eq!(&data[..len], b"GOODGOODFINEFINE");
}

/// Who has no part in a flow cannot break it with errors.
#[test]
fn nobody_reports_errors_of_what_others_do() {
    let host = Host::new();
    let vpc = host.vpc("errors");
    let (client, server) = (host.guest(&vpc, "front"), host.guest(&vpc, "front"));
    let liar = host.guest(&vpc, "front");
    server.serve_udp(7);
    let socket = client
        .within(|| UdpSocket::bind((client.address, 9)))
        .unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let asks = || {
        let sent = socket.send_to(b"ping", (server.address, 7));
        sent.is_ok() && socket.recv_from(&mut [0; 16]).is_ok()
    };
    assert!(soon(asks));
    // "Port unreachable" (RFC 792), of that flow.
    let quoted = Packet {
        from: client.address,
        to: server.address,
        protocol: 17,
        fragment: (0, false),
        payload: &[0, 9, 0, 7, 0, 12, 0, 0],
    };
    let mut error = vec![3, 3, 0, 0, 0, 0, 0, 0];
    error.extend(quoted.bytes());
    let sum = checksum(&error);
    error[2..4].copy_from_slice(&sum.to_be_bytes());
    let report = |from: &Guest| {
        from.inject(&Packet {
            from: from.address,
            to: client.address,
            protocol: 1,
            fragment: (0, false),
            payload: &error,
        });
    };
    let before = dropped(&host, &vpc, "outbound");
    report(&liar);
    assert!(soon(|| dropped(&host, &vpc, "outbound") > before));
    report(&server);
    std::thread::sleep(SILENCE);
    assert_eq!(
        dropped(&host, &vpc, "outbound"),
        before + 1,
        "it has a part in it"
    );
}

#[test]
fn only_a_machine_that_routes_is_sent_what_is_for_others() {
    let host = Host::new();
    let vpc = host.vpc("routes");
    host.authorize(&vpc, "default", Direction::Inbound, rule("all", EVERYBODY));
    let client = host.guest(&vpc, "front");
    let router = host.guest(&vpc, "front");
    let id = host.change(&vpc, |vpc| vpc.port_at(router.address).map(|port| port.id));
    host.change(&vpc, |vpc| {
        vpc.add_route(&name("main"), Cidr::ALL, Target::Port(id))
    });
    // What is for elsewhere is the router's own, for this test.
    router.add_address("192.0.2.1/32");
    router.serve_udp(7);
    let socket = client.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)));
    let socket = socket.unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let asks = || {
        let sent = socket.send_to(b"ping", "192.0.2.1:7");
        sent.is_ok() && socket.recv_from(&mut [0; 16]).is_ok()
    };
    assert!(!asks());
    host.change(&vpc, |vpc| vpc.set_source_check(id, false));
    assert!(soon(asks));
}
