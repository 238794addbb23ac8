//! The service of a network, asked by guests that are namespaces: what each is
//! told, and that no other is.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Encodable};
use hickory_proto::op::{Message as Question, MessageType as Kind, OpCode, Query, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use network::cidr::Cidr;
use network::mac::Mac;
use network::name::Name;
use network::plan::METADATA6;
use network::route_table::Target;
use socket2::{Domain, Protocol, Socket, Type};

use super::super::change;
use super::super::fixture::{BOUND, Guest, Host, Packet, SILENCE, checksum, name, soon};
use super::super::instance::InstanceRecord;
use super::super::instance::tests::record;
use super::super::tests::{dropped, dropped_at_last};
use super::process;
use super::run::Service;

const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// A service that runs, as its process does.
struct Running {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// The service of `vpc`, which asks `resolver` about other names.
    fn start(host: &Host, vpc: &Name, resolver: SocketAddr) -> Self {
        let service = Service::new(host.switches.clone(), vpc.clone()).unwrap();
        let mut service = service.asking(vec![resolver.ip()], resolver.port());
        let ends = Arc::new(AtomicBool::new(false));
        let own = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            while !own.load(Ordering::Relaxed) {
                service.turn().unwrap();
            }
        });
        let thread = Some(thread);
        Self { ends, thread }
    }

    /// Has it notice its end, by a change of `vpc`.
    fn end(mut self, host: &Host, vpc: &Name) {
        self.ends.store(true, Ordering::Relaxed);
        host.change(vpc, |_| Ok(()));
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Where nobody resolves names.
const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

fn instance(digit: char) -> InstanceRecord {
    InstanceRecord {
        id: format!("i-{}", digit.to_string().repeat(17))
            .parse()
            .unwrap(),
        hostname: None,
        ..record()
    }
}

/// What `guest` is answered by the metadata service, with these header lines.
fn asked(guest: &Guest, request: &str, headers: &str) -> Option<String> {
    asked_at(guest, METADATA.into(), request, headers)
}

/// The same at any of its addresses.
fn asked_at(guest: &Guest, address: IpAddr, request: &str, headers: &str) -> Option<String> {
    let address = SocketAddr::new(address, 80);
    let mut stream = guest
        .within(|| TcpStream::connect_timeout(&address, BOUND))
        .ok()?;
    stream.set_read_timeout(Some(BOUND)).unwrap();
    let text = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(text.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A token for `guest`.
fn token(guest: &Guest) -> String {
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n";
    let answer = asked(guest, "PUT /latest/api/token", ttl).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.lines().last().unwrap().to_owned()
}

fn with(token: &str) -> String {
    format!("X-aws-ec2-metadata-token: {token}\r\n")
}

#[test]
fn a_guest_is_told_of_itself_and_of_no_other() {
    let host = Host::new();
    let vpc = host.vpc("meta");
    let first = host.instance(&vpc, "front", Some(&instance('a')));
    let running = Running::start(&host, &vpc, NOBODY);
    // Plugged in when the service is there already.
    let second = host.instance(&vpc, "front", Some(&instance('b')));
    assert!(soon(|| asked(&second, "GET /", "").is_some()));

    let path = "GET /latest/meta-data/instance-id";
    let refused = asked(&first, path, "").unwrap();
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    let (own, other) = (token(&first), token(&second));
    for (guest, token, id) in [(&first, &own, "i-aaaa"), (&second, &other, "i-bbbb")] {
        let answer = asked(guest, path, &with(token)).unwrap();
        assert!(answer.contains(id), "{answer}");
    }
    let stolen = asked(&second, path, &with(&own)).unwrap();
    assert!(stolen.starts_with("HTTP/1.1 401"), "{stolen}");
    running.end(&host, &vpc);
}

/// Who has no other IPv6 than its own interface's on its link.
#[test]
fn a_guest_finds_the_service_by_ipv6_and_nobody_else_by_that() {
    const IPV6: [u8; 2] = [0x86, 0xdd];
    const TCP: u8 = 6;
    const ICMPV6: u8 = 58;
    let host = Host::new();
    let vpc = host.vpc("six");
    let first = host.instance(&vpc, "front", Some(&instance('a')));
    let second = host.instance(&vpc, "front", Some(&instance('b')));
    let running = Running::start(&host, &vpc, NOBODY);
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n";
    for (guest, id) in [(&first, "i-aaaa"), (&second, "i-bbbb")] {
        let ask =
            |request: &str, headers: &str| asked_at(guest, METADATA6.into(), request, headers);
        assert!(soon(|| ask("PUT /latest/api/token", ttl).is_some()));
        let token = ask("PUT /latest/api/token", ttl).unwrap();
        let token = with(token.lines().last().unwrap());
        let answer = ask("GET /latest/meta-data/instance-id", &token).unwrap();
        assert!(answer.contains(id), "{answer}");
    }
    assert_eq!(change::check(&host.switches, &vpc).unwrap(), [""; 0]);

    let own = link_local(&first);
    let other = link_local(&second);
    let strange: Ipv6Addr = "fe80::7".parse().unwrap();
    let group = |text: &str| text.parse::<Ipv6Addr>().unwrap();
    // A connection to port 80, and to another.
    let [begins, elsewhere] = [80_u16, 53].map(|port| {
        let mut header = vec![0x12, 0x34];
        header.extend(port.to_be_bytes());
        header.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
        header
    });
    let ping = [128, 0, 0, 0, 0, 7, 0, 1].to_vec();
    let advertisement = [&[134, 0, 0, 0, 64, 0, 7, 8], [0; 8].as_slice()].concat();
    let solicitation =
        |target: Ipv6Addr| [&[135, 0, 0, 0, 0, 0, 0, 0], target.octets().as_slice()].concat();
    let redirect = [&[137, 0, 0, 0, 0, 0, 0, 0], [0; 32].as_slice()].concat();
    let everybody = group("ff02::1");
    let whole = |from, to, protocol, payload: &[u8]| packet6(from, to, protocol, payload);
    let mut before = dropped_at_last(&host, &vpc, "guard");
    for (what, packet) in [
        ("a router", whole(own, everybody, ICMPV6, &advertisement)),
        ("a better way", whole(own, METADATA6, ICMPV6, &redirect)),
        ("a forged source", whole(strange, METADATA6, TCP, &begins)),
        ("another's address", whole(other, METADATA6, TCP, &begins)),
        (
            "another's question",
            whole(
                other,
                group("ff02::1:ff00:254"),
                ICMPV6,
                &solicitation(METADATA6),
            ),
        ),
        ("another service", whole(own, METADATA6, TCP, &elsewhere)),
        ("a ping", whole(own, METADATA6, ICMPV6, &ping)),
        ("its router", whole(own, group("fe80::1"), TCP, &begins)),
        ("another guest", whole(own, other, TCP, &begins)),
        (
            "somebody else",
            whole(own, group("2001:db8::1"), TCP, &begins),
        ),
        ("its neighbours", whole(own, everybody, ICMPV6, &ping)),
    ] {
        first.send_to_router(&[IPV6.as_slice(), &packet].concat());
        before += 1;
        assert!(soon(|| dropped(&host, &vpc, "guard") >= before), "{what}");
    }
    thread::sleep(SILENCE);
    assert_eq!(dropped(&host, &vpc, "guard"), before);
    running.end(&host, &vpc);
}

fn link_local(guest: &Guest) -> Ipv6Addr {
    guest.mac.to_string().parse::<Mac>().unwrap().link_local()
}

/// A packet (RFC 8200 §3) with the sum of its payload in the right place.
fn packet6(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let mut payload = payload.to_vec();
    let place = if protocol == 58 { 2 } else { 16 };
    let pseudo = [
        &from.octets()[..],
        &to.octets(),
        &[0, 0],
        &len,
        &[0, 0, 0, protocol],
        &payload,
    ];
    let sum = checksum(&pseudo.concat());
    payload[place..place + 2].copy_from_slice(&sum.to_be_bytes());
    let header = [&[0x60, 0, 0, 0][..], &len, &[protocol, 255]].concat();
    [&header[..], &from.octets(), &to.octets(), &payload].concat()
}

/// botocore's own clients of the service, which are boto3's.
const BOTO: &str = "
from botocore.utils import InstanceMetadataFetcher, InstanceMetadataRegionFetcher
bounds = {'timeout': 20, 'num_attempts': 3}
print('region', InstanceMetadataRegionFetcher(**bounds).retrieve_region())
print('role', InstanceMetadataFetcher(**bounds).retrieve_iam_role_credentials())
";

#[test]
fn boto_learns_its_region_and_that_it_has_no_role() {
    let host = Host::new();
    let vpc = host.vpc("boto");
    let guest = host.instance(&vpc, "front", Some(&instance('a')));
    let running = Running::start(&host, &vpc, NOBODY);
    let python = || Command::new("/usr/bin/python3").args(["-c", BOTO]).output();
    let output = guest.within(python).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "region local-1\nrole {}\n", "{failed}");
    running.end(&host, &vpc);
}

#[test]
fn two_networks_with_the_same_addresses_tell_their_own() {
    let host = Host::new();
    let (one, other) = (host.vpc("one"), host.vpc("other"));
    let first = host.instance(&one, "front", Some(&instance('a')));
    let second = host.instance(&other, "front", Some(&instance('b')));
    assert_eq!(first.address, second.address);
    let running = [&one, &other].map(|vpc| Running::start(&host, vpc, NOBODY));
    for (guest, id) in [(&first, "i-aaaa"), (&second, "i-bbbb")] {
        let answer = asked(
            guest,
            "GET /latest/meta-data/instance-id",
            &with(&token(guest)),
        );
        assert!(answer.unwrap().contains(id));
    }
    for (running, vpc) in running.into_iter().zip([&one, &other]) {
        running.end(&host, vpc);
    }
}

#[test]
fn who_sends_nothing_is_left_behind_and_holds_nobody_up() {
    let host = Host::new();
    let vpc = host.vpc("slow");
    let slow = host.instance(&vpc, "front", Some(&instance('a')));
    let quick = host.instance(&vpc, "front", Some(&instance('b')));
    let running = Running::start(&host, &vpc, NOBODY);
    let address = SocketAddr::from((METADATA, 80));
    let connect = || slow.within(|| TcpStream::connect_timeout(&address, BOUND));
    let streams: Vec<_> = (0..64).filter_map(|_| connect().ok()).collect();
    assert!(streams.len() >= 16);
    token(&quick);
    // Those beyond its share were closed at once; the others are after a time.
    let mut last = streams.last().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(matches!(last.read(&mut [0]), Ok(0) | Err(_)));
    assert!(soon(
        || asked(&slow, "GET /", "").is_some_and(|answer| !answer.is_empty())
    ));
    running.end(&host, &vpc);
}

#[test]
fn the_port_of_a_machine_that_ends_goes_with_it() {
    let host = Host::new();
    let vpc = host.vpc("goes");
    let stays = host.guest(&vpc, "front");
    let ends = host.instance(&vpc, "front,source-check=off", Some(&instance('a')));
    host.change(&vpc, |vpc| {
        let router = vpc.port_at(ends.address)?.id;
        let everywhere = Cidr::ALL;
        vpc.add_route(&name("main"), everywhere, Target::Port(router))
    });
    let running = Running::start(&host, &vpc, NOBODY);
    drop(ends);
    let ports = || {
        let stored = host.switches.read(&vpc).unwrap();
        let ports = stored.vpc(&vpc).unwrap().ports().values();
        ports.map(|port| port.address).collect::<Vec<_>>()
    };
    assert!(soon(|| ports() == [stays.address]));
    assert!(soon(|| change::check(&host.switches, &vpc)
        .unwrap()
        .is_empty()));
    running.end(&host, &vpc);
}

/// How far packets with data go that the metadata service sends to `raw`, until it
/// is silent.
fn hops(raw: &mut Socket) -> Vec<u8> {
    let mut hops = Vec::new();
    let mut packet = [0; 2048];
    while let Ok(len) = raw.read(&mut packet) {
        let packet = &packet[..len];
        // An Internet header (RFC 791 §3.1) before one of TCP (RFC 9293 §3.1).
        let tcp = 4 * usize::from(packet[0] & 0xf);
        let data = tcp + 4 * usize::from(packet[tcp + 12] >> 4);
        if packet[12..16] == METADATA.octets() && data < len {
            hops.push(packet[8]);
        }
    }
    hops
}

#[test]
fn what_follows_a_token_goes_no_further_than_it() {
    let host = Host::new();
    let vpc = host.vpc("hops");
    let guest = host.instance(&vpc, "front", Some(&instance('a')));
    let running = Running::start(&host, &vpc, NOBODY);
    assert!(soon(|| asked(&guest, "GET /", "").is_some()));
    let address = SocketAddr::from((METADATA, 80));
    let mut stream = guest
        .within(|| TcpStream::connect_timeout(&address, BOUND))
        .unwrap();
    let kind = Type::from(libc::SOCK_RAW);
    let raw = guest.within(|| Socket::new(Domain::IPV4, kind, Some(Protocol::TCP)));
    let mut raw = raw.unwrap();
    raw.set_read_timeout(Some(SILENCE)).unwrap();
    // Who is not told the token asks for something else: what was not acknowledged is
    // sent again.
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
    let put = format!("PUT /latest/api/token HTTP/1.1\r\nHost: x\r\n{ttl}\r\n\r\n");
    let get = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(put.as_bytes()).unwrap();
    stream.write_all(get.as_bytes()).unwrap();
    let hops = hops(&mut raw);
    assert!(hops.len() > 1, "{hops:?}");
    assert!(hops.iter().all(|one| *one == 1), "{hops:?}");
    running.end(&host, &vpc);
}

#[test]
fn what_a_guest_was_told_goes_with_its_port() {
    let host = Host::new();
    let vpc = host.vpc("secret");
    let guest = host.instance(&vpc, "front", Some(&instance('a')));
    let stays = host.instance(&vpc, "front", Some(&instance('b')));
    let told = || {
        let files = host.directory(&vpc).join("instances");
        std::fs::read_dir(files).unwrap().count()
    };
    assert_eq!(told(), 2);
    drop(guest);
    assert!(soon(|| {
        host.change(&vpc, |_| Ok(()));
        told() == 1
    }));
    drop(stays);
}

#[test]
fn a_service_that_nobody_needs_when_it_begins_ends() {
    let host = Host::new();
    let vpc = host.vpc("over");
    let (switches, name) = (host.switches.clone(), vpc.clone());
    let (tell, ended) = mpsc::channel();
    thread::spawn(move || {
        let turn = tempfile::tempfile().unwrap();
        let _ = tell.send(process::run(&switches, &name, &turn).is_ok());
    });
    assert_eq!(ended.recv_timeout(BOUND), Ok(true));
}

#[test]
fn a_service_does_not_go_on_for_another_network_of_the_same_name() {
    let host = Host::new();
    let vpc = host.vpc("same");
    let guest = host.guest(&vpc, "front");
    let mut service = Service::new(host.switches.clone(), vpc.clone()).unwrap();
    drop(guest);
    assert!(soon(|| change::delete(&host.switches, &vpc).is_ok()));
    host.vpc("same");
    let _guest = host.guest(&vpc, "front");
    service.turn().unwrap();
    assert!(service.is_idle());
    let turn = tempfile::tempfile().unwrap();
    assert!(process::ends(&host.switches, &vpc, &turn, &mut service).unwrap());
}

/// A DHCP client's socket at `guest`.
fn client(guest: &Guest) -> UdpSocket {
    let open = || -> std::io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        socket.bind_device(Some(b"eth0"))?;
        socket.set_broadcast(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 68)).into())?;
        Ok(socket)
    };
    let socket = UdpSocket::from(guest.within(open).unwrap());
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket
}

fn message(guest: &Guest, kind: MessageType) -> Message {
    let mut message = Message::default();
    message
        .set_opcode(Opcode::BootRequest)
        .set_xid(7)
        .set_chaddr(&guest.mac.octets())
        .opts_mut()
        .insert(DhcpOption::MessageType(kind));
    message
}

/// What comes back when `message` is sent to `to`.
fn exchanged(socket: &UdpSocket, message: &Message, to: Ipv4Addr) -> Option<Message> {
    let bytes = message.to_vec().unwrap();
    socket.send_to(&bytes, (to, 67)).unwrap();
    let mut answer = [0; 1500];
    let len = socket.recv(&mut answer).ok()?;
    Some(Message::from_bytes(&answer[..len]).unwrap())
}

/// What comes back, as soon as it does.
fn answered(socket: &UdpSocket, message: &Message, to: Ipv4Addr) -> Message {
    let mut answer = None;
    assert!(soon(|| {
        answer = exchanged(socket, message, to);
        answer.is_some()
    }));
    answer.unwrap()
}

#[test]
fn a_lease_is_the_ports_address_and_is_renewed() {
    let host = Host::new();
    let vpc = host.vpc("lease");
    let guest = host.instance(&vpc, "front", None);
    let running = Running::start(&host, &vpc, NOBODY);
    let socket = client(&guest);
    let mut discover = message(&guest, MessageType::Discover);
    discover.set_flags(dhcproto::v4::Flags::default().set_broadcast());
    let offer = answered(&socket, &discover, Ipv4Addr::BROADCAST);
    assert_eq!(offer.opts().msg_type(), Some(MessageType::Offer));
    assert_eq!(offer.yiaddr(), guest.address);
    for (code, option) in [
        (
            OptionCode::Router,
            DhcpOption::Router(vec![[10, 0, 1, 1].into()]),
        ),
        (
            OptionCode::DomainNameServer,
            DhcpOption::DomainNameServer(vec![[10, 0, 1, 2].into()]),
        ),
        (OptionCode::InterfaceMtu, DhcpOption::InterfaceMtu(9001)),
        (
            OptionCode::SubnetMask,
            DhcpOption::SubnetMask([255, 255, 255, 0].into()),
        ),
    ] {
        assert_eq!(offer.opts().get(code), Some(&option));
    }

    let mut request = message(&guest, MessageType::Request);
    let server = Ipv4Addr::new(10, 0, 1, 1);
    let options = request.opts_mut();
    options.insert(DhcpOption::RequestedIpAddress(guest.address));
    options.insert(DhcpOption::ServerIdentifier(server));
    let given = answered(&socket, &request, Ipv4Addr::BROADCAST);
    assert_eq!(given.opts().msg_type(), Some(MessageType::Ack));

    // Halfway, of the server alone (RFC 2131 §4.4.5).
    let mut renewal = message(&guest, MessageType::Request);
    renewal.set_ciaddr(guest.address);
    let renewed = answered(&socket, &renewal, server);
    assert_eq!(renewed.opts().msg_type(), Some(MessageType::Ack));
    assert_eq!(renewed.yiaddr(), guest.address);

    // Another's address.
    let mut wrong = message(&guest, MessageType::Request);
    let options = wrong.opts_mut();
    options.insert(DhcpOption::RequestedIpAddress([10, 0, 1, 99].into()));
    options.insert(DhcpOption::ServerIdentifier(server));
    let refused = answered(&socket, &wrong, Ipv4Addr::BROADCAST);
    assert_eq!(refused.opts().msg_type(), Some(MessageType::Nak));
    running.end(&host, &vpc);
}

#[test]
fn a_guest_that_has_no_address_yet_is_answered_and_no_forger_is() {
    let host = Host::new();
    let vpc = host.vpc("begin");
    let guest = host.instance(&vpc, "front", None);
    let running = Running::start(&host, &vpc, NOBODY);
    let socket = client(&guest);
    let payload = {
        let discover = message(&guest, MessageType::Discover).to_vec().unwrap();
        let len = u16::try_from(8 + discover.len()).unwrap();
        let mut udp = vec![0, 68, 0, 67];
        udp.extend(len.to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(discover);
        udp
    };
    let packet = |from: [u8; 4]| Packet {
        from: from.into(),
        to: Ipv4Addr::BROADCAST,
        protocol: 17,
        fragment: (0, false),
        payload: &payload,
    };
    let heard = || socket.recv(&mut [0; 1500]).is_ok();
    assert!(soon(|| {
        guest.inject(&packet([0; 4]));
        heard()
    }));
    while heard() {}
    guest.inject(&packet([10, 0, 1, 77]));
    assert!(!heard(), "nobody has that address");
    guest.change_mac("02:00:00:00:00:99");
    guest.inject_as("02:00:00:00:00:99".parse().unwrap(), &packet([0; 4]));
    assert!(!heard(), "nobody has that MAC address");
    running.end(&host, &vpc);
}

/// What `guest` is answered about `name` by `server`.
fn resolved(guest: &Guest, server: Ipv4Addr, name: &str, kind: RecordType) -> Option<Question> {
    let socket = guest.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)));
    let socket = socket.unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket.connect((server, 53)).unwrap();
    socket.send(&question(name, kind)).ok()?;
    let mut answer = [0; 4096];
    let len = socket.recv(&mut answer).ok()?;
    Some(Question::from_vec(&answer[..len]).unwrap())
}

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut question = Question::new(7, Kind::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.parse().unwrap(), kind));
    question.to_vec().unwrap()
}

fn told(answer: &Question) -> Vec<String> {
    let answers = answer.answers.iter();
    answers.map(|record| record.data.to_string()).collect()
}

/// Answers every question with 192.0.2.7, by packet and by stream.
fn resolver() -> SocketAddr {
    let answer = |question: &[u8]| {
        let question = Question::from_vec(question).unwrap();
        let mut answer = Question::response(question.metadata.id, OpCode::Query);
        let name = question.queries[0].name().clone();
        answer.add_query(question.queries[0].clone());
        let data = RData::A(Ipv4Addr::new(192, 0, 2, 7).into());
        answer.add_answer(hickory_proto::rr::Record::from_rdata(name, 60, data));
        answer.to_vec().unwrap()
    };
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok((len, from)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(&answer(&bytes[..len]), from);
        }
    });
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut len = [0; 2];
            stream.read_exact(&mut len).unwrap();
            let mut question = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut question).unwrap();
            stream
                .write_all(&super::names::framed(&answer(&question)))
                .unwrap();
        }
    });
    address
}

#[test]
fn names_of_the_network_are_known_and_others_are_asked_of_the_host() {
    let host = Host::new();
    let vpc = host.vpc("names");
    let own = InstanceRecord {
        hostname: Some("web".parse().unwrap()),
        ..instance('a')
    };
    let guest = host.instance(&vpc, "front", Some(&own));
    let running = Running::start(&host, &vpc, resolver());
    let own_address = guest.address.to_string();
    for server in [[10, 0, 1, 2], [169, 254, 169, 253]] {
        let server = server.into();
        let mut answer = None;
        assert!(soon(|| {
            answer = resolved(
                &guest,
                server,
                "web.local-1.compute.internal.",
                RecordType::A,
            );
            answer.is_some()
        }));
        assert_eq!(told(&answer.unwrap()), [own_address.as_str()]);
    }
    let server = Ipv4Addr::new(10, 0, 1, 2);
    let mut answer = None;
    assert!(soon(|| {
        answer = resolved(&guest, server, "4.1.0.10.in-addr.arpa.", RecordType::PTR);
        answer.is_some()
    }));
    assert_eq!(told(&answer.unwrap()), ["web.local-1.compute.internal."]);
    let mut answer = None;
    assert!(soon(|| {
        answer = resolved(&guest, server, "example.org.", RecordType::A);
        answer.is_some()
    }));
    assert_eq!(told(&answer.unwrap()), ["192.0.2.7"]);

    // In a stream, two in a row.
    let mut stream = guest.within(|| TcpStream::connect((server, 53))).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    for (name, data) in [
        ("example.org.", "192.0.2.7"),
        ("web.local-1.compute.internal.", &own_address),
    ] {
        let framed = super::names::framed(&question(name, RecordType::A));
        stream.write_all(&framed).unwrap();
        let mut len = [0; 2];
        stream.read_exact(&mut len).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(told(&Question::from_vec(&answer).unwrap()), [data]);
    }
    running.end(&host, &vpc);
}

/// Each has its share of questions, by its address.
#[test]
fn who_may_send_as_others_asks_for_names_as_itself() {
    let host = Host::new();
    let vpc = host.vpc("shares");
    let other = host.guest(&vpc, "front");
    let router = host.guest(&vpc, "front,source-check=off");
    let running = Running::start(&host, &vpc, resolver());
    let server = Ipv4Addr::new(10, 0, 1, 2);
    let asks = |guest| resolved(guest, server, "example.org.", RecordType::A).is_some();
    assert!(soon(|| asks(&router)) && soon(|| asks(&other)));
    let question = question("example.org.", RecordType::A);
    let len = u16::try_from(8 + question.len()).unwrap();
    let mut payload = vec![0x12, 0x34, 0, 53];
    payload.extend(len.to_be_bytes());
    payload.extend([0, 0]);
    payload.extend(question);
    let before = dropped(&host, &vpc, "services");
    router.inject(&Packet {
        from: other.address,
        to: server,
        protocol: 17,
        fragment: (0, false),
        payload: &payload,
    });
    assert!(soon(|| dropped(&host, &vpc, "services") > before));
    running.end(&host, &vpc);
}

#[test]
fn a_resolver_that_is_not_there_is_said_to_have_failed() {
    let host = Host::new();
    let vpc = host.vpc("failure");
    let guest = host.instance(&vpc, "front", None);
    let running = Running::start(&host, &vpc, NOBODY);
    let server = Ipv4Addr::new(10, 0, 1, 2);
    let mut answer = None;
    assert!(soon(|| {
        answer = resolved(&guest, server, "example.org.", RecordType::A);
        answer.is_some()
    }));
    assert_eq!(
        answer.unwrap().metadata.response_code,
        ResponseCode::ServFail
    );
    running.end(&host, &vpc);
}
