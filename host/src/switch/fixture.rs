//! Networks for tests: in namespaces of their own, with guests that are
//! namespaces, too, whose end of the cable is a tap like a machine's.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use network::name::Name;
use network::security_group::{Direction, Peer, Rule};
use network::vpc::Vpc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketType, ipproto, socket};
use tempfile::TempDir;
use vmm::{Mtu, QueueCount};

use super::change;
use super::directory::Switches;
use super::instance::InstanceRecord;
use super::kernel::tap::{self, NewTap};
use super::kernel::{Namespace, Netlink, Route, Target};
use super::plug::{Machine, plug};
use super::side;
use crate::error::Error;
use crate::option::net::{NetEnd, NetOption};

/// What does not come would have come by then.
pub(super) const SILENCE: Duration = Duration::from_millis(400);

/// What comes does so sooner, on a host that does other things as well.
pub(super) const BOUND: Duration = Duration::from_secs(20);

/// Whether `reaches` comes true.
pub(super) fn soon(mut reaches: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + BOUND;
    loop {
        if reaches() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
    }
}

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A host with switches of its own, which are gone with it.
pub(super) struct Host {
    pub(super) switches: Switches,
    /// What its guests' names begin with: namespaces are the whole system's.
    tag: String,
    _data: TempDir,
}

impl Host {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let data = tempfile::tempdir().unwrap();
        fs::set_permissions(&data, Permissions::from_mode(0o700)).unwrap();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            switches: Switches::at(&data.path().join("plinth")),
            tag: format!("test-{}-{count}", std::process::id()),
            _data: data,
        }
    }

    /// A network with a subnet `front`, 10.0.1.0/24.
    pub(super) fn vpc(&self, text: &str) -> Name {
        let vpc = name(text);
        let cidr = "10.0.0.0/16".parse().unwrap();
        change::create_vpc(&self.switches, vpc.clone(), cidr).unwrap();
        self.change(&vpc, |vpc| {
            let cidr = "10.0.1.0/24".parse().unwrap();
            vpc.add_subnet(name("front"), cidr).map(drop)
        });
        vpc
    }

    pub(super) fn change<T>(
        &self,
        vpc: &Name,
        change: impl FnOnce(&mut Vpc) -> Result<T, network::refused::Refused>,
    ) -> T {
        change::change(&self.switches, vpc, change).unwrap()
    }

    /// What a namespace can be called.
    pub(super) fn unique(&self, what: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        format!("{}-{what}-{count}", self.tag)
    }

    /// A guest of the network `vpc`, plugged in with these options.
    pub(super) fn guest(&self, vpc: &Name, options: &str) -> Guest {
        self.instance(vpc, options, None)
    }

    /// The same, which is told of `instance`.
    pub(super) fn instance(
        &self,
        vpc: &Name,
        options: &str,
        instance: Option<&InstanceRecord>,
    ) -> Guest {
        self.plugged(vpc, options, &[], instance).unwrap()
    }

    /// The same, to which these ports of the host lead; or why it is not.
    pub(super) fn publishing(
        &self,
        vpc: &Name,
        options: &str,
        published: &[&str],
    ) -> Result<Guest, Error> {
        self.plugged(vpc, options, published, None)
    }

    fn plugged(
        &self,
        vpc: &Name,
        options: &str,
        published: &[&str],
        instance: Option<&InstanceRecord>,
    ) -> Result<Guest, Error> {
        let owner = self.unique("guest");
        let mut option: NetOption = format!("{vpc}/{options}").parse().unwrap();
        let NetEnd::Port(port) = &mut option.end else {
            panic!("it is on a switch");
        };
        port.published = published.iter().map(|one| one.parse().unwrap()).collect();
        let queues = QueueCount::default();
        let machine = Machine {
            owner: &owner,
            instance,
        };
        let plugged = plug(&self.switches, port, option.mac, queues, &machine)?;
        let stored = self.switches.read(vpc).unwrap();
        let stored = stored.vpc(vpc).unwrap();
        let mut ports = stored.ports().values();
        let port = ports.find(|port| port.owner == owner).unwrap();
        let router = stored.subnets()[&port.subnet].router();
        let namespace = Namespace::open(&self.namespace(vpc)).unwrap();
        let net = Netlink::in_namespace(&namespace).unwrap();
        let other_mac = net.link(&port.tap()).unwrap().unwrap().mac.unwrap();
        Ok(Guest::new(
            &owner,
            (port.address, router),
            (plugged.mac, other_mac),
            plugged.taps,
            plugged.mtu,
        ))
    }

    /// Lets `traffic` in, or out, at a group.
    pub(super) fn authorize(&self, vpc: &Name, group: &str, direction: Direction, rule: Rule) {
        self.change(vpc, |vpc| vpc.authorize(&name(group), direction, rule));
    }

    /// What the namespace of a network is called.
    pub(super) fn namespace(&self, vpc: &Name) -> String {
        side::namespace(&self.switches.read(vpc).unwrap().kind)
    }

    /// Where the records of switches are.
    pub(super) fn directory(&self, vpc: &Name) -> PathBuf {
        self._data.path().join("plinth/switches").join(vpc.as_str())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for name in self.switches.names().unwrap_or_default() {
            let _ = Namespace::delete(&self.namespace(&name));
        }
    }
}

/// A rule for tests.
pub(super) fn rule(traffic: &str, peer: &str) -> Rule {
    let traffic = traffic.parse().unwrap();
    let peer = match peer.strip_prefix("group ") {
        Some(group) => Peer::Group(name(group)),
        None => Peer::Cidr(peer.parse().unwrap()),
    };
    Rule { traffic, peer }
}

/// What is plugged in: a namespace with an interface, from which a cable leads to
/// the switch.
pub(super) struct Guest {
    pub(super) address: Ipv4Addr,
    pub(super) namespace: Namespace,
    name: String,
    pub(super) mac: vmm::MacAddress,
    /// The MAC address of the other end.
    router: vmm::MacAddress,
    /// The cable, for frames that no honest guest sends.
    wire: File,
    ends: Arc<AtomicBool>,
    cables: Vec<JoinHandle<()>>,
}

impl Guest {
    pub(super) fn new(
        name: &str,
        (address, router): (Ipv4Addr, Ipv4Addr),
        (mac, router_mac): (vmm::MacAddress, vmm::MacAddress),
        switch: Vec<OwnedFd>,
        mtu: Mtu,
    ) -> Self {
        let namespace = Namespace::create(name).unwrap();
        let tap = NewTap {
            name: "eth0",
            queues: QueueCount::default(),
            mac: Some(mac),
            mtu: Some(mtu),
            owner: None,
        };
        let own = tap::create(&namespace, &tap).unwrap();
        let net = Netlink::in_namespace(&namespace).unwrap();
        let link = net.link("eth0").unwrap().unwrap().index;
        net.set_up(link).unwrap();
        let lo = net.link("lo").unwrap().unwrap().index;
        net.set_up(lo).unwrap();
        let prefix = IpNet::new(IpAddr::from(address), 24).unwrap();
        net.add_address(link, prefix).unwrap();
        net.add_route(&Route {
            destination: "0.0.0.0/0".parse().unwrap(),
            table: 254,
            target: Target::Gateway {
                address: router.into(),
                link,
            },
        })
        .unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let switch = File::from(switch.into_iter().next().unwrap());
        let own = File::from(own.into_iter().next().unwrap());
        let wire = switch.try_clone().unwrap();
        let (other_switch, other_own) = (switch.try_clone().unwrap(), own.try_clone().unwrap());
        let cable = |from: File, to: File| {
            let ends = Arc::clone(&ends);
            std::thread::spawn(move || carry(from, to, &ends))
        };
        let cables = vec![cable(switch, own), cable(other_own, other_switch)];
        Self {
            address,
            namespace,
            name: name.into(),
            mac,
            router: router_mac,
            wire,
            ends,
            cables,
        }
    }

    pub(super) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.within(work).unwrap()
    }

    /// A server at TCP port `port` that sends back what comes.
    pub(super) fn serve_tcp(&self, port: u16) {
        let listener = self.within(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)));
        let listener = listener.unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                std::thread::spawn(move || {
                    let mut other = stream.try_clone()?;
                    io::copy(&mut stream, &mut other)
                });
            }
        });
    }

    /// A server at UDP port `port` that sends back what comes.
    pub(super) fn serve_udp(&self, port: u16) {
        let socket = self.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)));
        let socket = socket.unwrap();
        std::thread::spawn(move || {
            let mut data = [0; 2048];
            while let Ok((len, from)) = socket.recv_from(&mut data) {
                let _ = socket.send_to(&data[..len], from);
            }
        });
    }

    /// A connection to `port` of `other`.
    pub(super) fn connect(&self, other: &Guest, port: u16) -> io::Result<TcpStream> {
        let address = SocketAddr::from((other.address, port));
        let stream = self.within(|| TcpStream::connect_timeout(&address, SILENCE))?;
        // It is there: its answers come, if late.
        stream.set_read_timeout(Some(BOUND))?;
        Ok(stream)
    }

    /// The same, when it is there.
    pub(super) fn connected(&self, other: &Guest, port: u16) -> TcpStream {
        let mut stream = None;
        assert!(soon(|| {
            stream = self.connect(other, port).ok();
            stream.is_some()
        }));
        stream.unwrap()
    }

    /// Whether a new TCP connection can be made, and carries data.
    pub(super) fn reaches_tcp(&self, other: &Guest, port: u16) -> bool {
        self.connect(other, port)
            .is_ok_and(|mut stream| echoes(&mut stream))
    }

    /// Gives the interface an address more.
    pub(super) fn add_address(&self, prefix: &str) {
        let net = Netlink::in_namespace(&self.namespace).unwrap();
        let link = net.link("eth0").unwrap().unwrap().index;
        net.add_address(link, prefix.parse().unwrap()).unwrap();
    }

    /// Gives the interface another MAC address.
    pub(super) fn change_mac(&self, mac: &str) {
        let net = Netlink::in_namespace(&self.namespace).unwrap();
        let link = net.link("eth0").unwrap().unwrap().index;
        net.set_mac(link, mac.parse().unwrap()).unwrap();
    }

    /// Sends a datagram from `own`, and waits until it must have come.
    pub(super) fn send_as(&self, own: Ipv4Addr, other: &Guest, port: u16) {
        let socket = self.within(|| UdpSocket::bind((own, 0))).unwrap();
        socket.send_to(b"ping", (other.address, port)).unwrap();
        std::thread::sleep(SILENCE);
    }

    /// Puts a packet on the cable as it is, from this guest's MAC address.
    pub(super) fn inject(&self, packet: &Packet<'_>) {
        self.inject_as(self.mac, packet);
    }

    /// The same from another's.
    pub(super) fn inject_as(&self, mac: vmm::MacAddress, packet: &Packet<'_>) {
        let rest = [[0x08, 0x00].as_slice(), &packet.bytes()].concat();
        self.send_frame_as(mac, self.router.octets(), &rest);
    }

    /// Puts a frame to the router on the cable; `rest` begins with its type.
    pub(super) fn send_to_router(&self, rest: &[u8]) {
        self.send_frame(self.router.octets(), rest);
    }

    /// Puts a frame on the cable, from this guest's MAC address; `rest` begins with
    /// its type.
    pub(super) fn send_frame(&self, to: [u8; 6], rest: &[u8]) {
        self.send_frame_as(self.mac, to, rest);
    }

    fn send_frame_as(&self, mac: vmm::MacAddress, to: [u8; 6], rest: &[u8]) {
        // The header of virtio, which says nothing, and that of Ethernet.
        let mut frame = vec![0; 10];
        frame.extend(to);
        frame.extend(mac.octets());
        frame.extend(rest);
        (&self.wire).write_all(&frame).unwrap();
    }

    /// Whether a ping is answered (RFC 792).
    pub(super) fn pings(&self, other: &Guest) -> bool {
        self.pings_at(other.address)
    }

    /// The same, of whoever has an address.
    pub(super) fn pings_at(&self, address: Ipv4Addr) -> bool {
        let socket = || socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP));
        let socket = UdpSocket::from(self.within(socket).unwrap());
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        let mut request = [8, 0, 0, 0, 0x12, 0x34, 0, 1];
        let sum = checksum(&request);
        request[2..4].copy_from_slice(&sum.to_be_bytes());
        if socket.send_to(&request, (address, 0)).is_err() {
            return false;
        }
        // What comes begins with the header of IP, of 20 bytes.
        let mut answer = [0; 64];
        matches!(socket.recv_from(&mut answer), Ok((28, _)) if answer[20] == 0)
    }

    /// Whether a datagram comes and its answer comes back.
    pub(super) fn reaches_udp(&self, other: &Guest, port: u16) -> bool {
        let socket = self.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)));
        let socket = socket.unwrap();
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        let sent = socket.send_to(b"ping", (other.address, port));
        sent.is_ok() && matches!(socket.recv_from(&mut [0; 16]), Ok((4, _)))
    }
}

/// An IPv4 packet (RFC 791 §3.1).
pub(super) struct Packet<'a> {
    pub(super) from: Ipv4Addr,
    pub(super) to: Ipv4Addr,
    /// Of the protocol: 1 is ICMP, 17 UDP.
    pub(super) protocol: u8,
    /// Where the fragment begins in the whole, in bytes, and whether more follow.
    pub(super) fragment: (u16, bool),
    pub(super) payload: &'a [u8],
}

impl Packet<'_> {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let (offset, more) = self.fragment;
        let len = u16::try_from(20 + self.payload.len()).unwrap();
        let mut header = vec![0x45, 0];
        header.extend(len.to_be_bytes());
        header.extend([0x12, 0x34]);
        header.extend(((offset / 8) | (u16::from(more) << 13)).to_be_bytes());
        header.extend([64, self.protocol, 0, 0]);
        header.extend(self.from.octets());
        header.extend(self.to.octets());
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header.extend(self.payload);
        header
    }
}

/// The Internet's checksum (RFC 1071).
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// Whether the other end sends back what it is sent.
pub(super) fn echoes(stream: &mut TcpStream) -> bool {
    let mut data = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut data).is_ok() && data == *b"ping"
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for cable in self.cables.drain(..) {
            let _ = cable.join();
        }
        let _ = Namespace::delete(&self.name);
    }
}

/// Carries frames, with the headers before them, until it `ends`.
fn carry(mut from: File, mut to: File, ends: &AtomicBool) {
    let mut frame = vec![0; 1 << 17];
    let moment = Timespec {
        tv_sec: 0,
        tv_nsec: 20_000_000,
    };
    while !ends.load(Ordering::Relaxed) {
        match from.read(&mut frame) {
            Ok(len) => {
                let _ = to.write(&frame[..len]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut sources = [PollFd::new(&from, PollFlags::IN)];
                let _ = poll(&mut sources, Some(&moment));
            }
            Err(_) => return,
        }
    }
}
