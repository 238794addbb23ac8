#![allow(unsafe_code)] // Entering a network namespace is an unsafe call.
#![allow(clippy::unwrap_used)] // A test that cannot go on fails.
//! The network device on a real tap: packets to and from the host's own
//! network stack, with and without offloads, and taps that cannot be opened.
//!
//! Needs root and the `ip` command. Every test has a network namespace of its
//! own, so they do not meet.

use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use devices::net::counters::Counters;
use devices::net::port::Port;
use devices::net::tap::TapError;
use devices::net::tap_open::{TapOpenError, open_tap};
use devices::net::{MacAddress, Net, NetOptions, Tap};
use devices::reactor::threads::IoThreads;
use devices::virtio::fake_driver::{Buffer, FakeDriver};
use devices::virtio::queue_count::QueueCount;
use rustix::thread::{CapabilitySet, UnshareFlags};
use virtio_bindings::virtio_net::{
    VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_MRG_RXBUF,
    VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_UDP_L4,
};

const TAP: &str = "tap-under-test";
const HOST: [u8; 4] = [192, 0, 2, 1];
const GUEST: [u8; 4] = [192, 0, 2, 2];
const HOST_MAC: &str = "02:00:00:00:00:01";
const GUEST_MAC: &str = "02:00:00:00:00:02";
const PORT: u16 = 7777;

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

/// Header, Ethernet, IPv4 and UDP.
const VNET: usize = 12;
const IP: usize = VNET + 14;
const UDP: usize = IP + 20;
const PAYLOAD: usize = UDP + 8;

fn enter_new_network() {
    // SAFETY: a thread of its own runs each test, and what it starts
    // afterwards belongs to the same test.
    let entered = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) };
    entered.expect("this test needs root, to make a network namespace");
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    let status = status.expect("this test needs the ip command (package iproute2)");
    assert!(status.success(), "ip {arguments}");
}

/// A new network with a tap in it that is up and has the largest MTU.
fn make_tap() {
    make_tap_with("");
}

/// The same, with something else to say of its making.
fn make_tap_with(words: &str) {
    enter_new_network();
    ip(&format!("tuntap add {TAP} mode tap{words}"));
    ip(&format!("link set {TAP} address {HOST_MAC} mtu 65521 up"));
    ip(&format!("address add 192.0.2.1/24 dev {TAP}"));
    ip(&format!(
        "neighbour replace 192.0.2.2 lladdr {GUEST_MAC} dev {TAP} nud permanent"
    ));
}

fn open(name: &str, queues: u64) -> Result<Vec<OwnedFd>, TapOpenError> {
    open_tap(name, QueueCount::new(queues).unwrap())
}

/// The queues of the tap under test.
fn taps(queues: u64) -> Vec<Tap> {
    Tap::from_fds(open(TAP, queues).unwrap()).unwrap()
}

/// Waits until the host sends on the tap. Opening the tap gives it a carrier,
/// but the kernel puts its queue in place a little later and drops packets
/// before that.
fn wait_until_up() {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let shown = Command::new("ip").args(["link", "show", TAP]).output();
        let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
        if shown.contains("LOWER_UP") && !shown.contains("qdisc noop") {
            return;
        }
        assert!(Instant::now() < deadline, "the tap stays down: {shown}");
    }
}

/// A driver whose device is on the tap, and the host's end.
struct Network {
    driver: FakeDriver,
    counters: Arc<Counters>,
    host: UdpSocket,
    /// Receive buffers that no packet has used.
    posted: Vec<Buffer>,
    _threads: IoThreads,
}

impl Network {
    fn new(features: u64) -> Self {
        make_tap();
        Self::on(taps(1), features)
    }

    fn on(taps: Vec<Tap>, features: u64) -> Self {
        let mut threads = IoThreads::start(taps.len()).unwrap();
        let options = NetOptions {
            mac: GUEST_MAC.parse::<MacAddress>().unwrap(),
            mtu: None,
        };
        let reactors = threads.for_queues(taps.len().try_into().unwrap()).unwrap();
        let ports = taps
            .into_iter()
            .map(|tap| -> Box<dyn Port> { Box::new(tap) });
        let net = Net::new(ports.collect(), options, reactors).unwrap();
        let counters = net.counters();
        let driver = FakeDriver::started(net, features);
        wait_until_up();
        let host = UdpSocket::bind(("192.0.2.1", PORT)).unwrap();
        host.set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        Self {
            driver,
            counters,
            host,
            posted: Vec::new(),
            _threads: threads,
        }
    }

    fn post(&mut self, count: usize, len: u32) {
        for _ in 0..count {
            let buffer = self.driver.writable(len);
            self.driver.add(RECEIVE, &[buffer]);
            self.posted.push(buffer);
        }
        self.driver.kick(RECEIVE);
    }

    fn send_to_guest(&self, payload: &[u8]) {
        let sent = self.host.send_to(payload, ("192.0.2.2", PORT));
        assert_eq!(sent.unwrap(), payload.len());
    }

    /// The next datagram that the driver receives, with all headers; other
    /// packets, which a network has, are passed over.
    fn datagram(&mut self) -> Vec<u8> {
        loop {
            let mut packet = self.part();
            let num_buffers = u16::from_le_bytes([packet[10], packet[11]]);
            for _ in 1..num_buffers {
                packet.extend(self.part());
            }
            if packet.get(UDP + 2..UDP + 4) == Some(&PORT.to_be_bytes()) {
                return packet;
            }
        }
    }

    fn part(&mut self) -> Vec<u8> {
        let used = self.driver.wait(RECEIVE);
        let mut part = self.driver.contents(self.posted.remove(0));
        part.truncate(usize::try_from(used.written).unwrap());
        part
    }

    fn transmit(&mut self, packet: &[u8]) {
        let buffer = self.driver.readable(packet);
        self.driver.request(TRANSMIT, &[buffer]);
    }

    fn host_receives(&self) -> Vec<u8> {
        let mut payload = vec![0; 1 << 16];
        let len = self.host.recv(&mut payload).unwrap();
        payload.truncate(len);
        payload
    }
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

/// The sum that IP checksums are complements of.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    let total: u32 = words.sum();
    let folded = (total & 0xffff) + (total >> 16);
    u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()
}

/// What UDP's checksum covers besides the datagram.
fn pseudo_header(source: [u8; 4], target: [u8; 4], udp_len: u16) -> Vec<u8> {
    let mut bytes = [source, target].concat();
    bytes.extend([0, 17]);
    bytes.extend(udp_len.to_be_bytes());
    bytes
}

/// A datagram from guest to host whose UDP checksum is left to be computed:
/// with the header for that, and `gso` as type and size.
fn unfinished_datagram(payload: &[u8], gso: (u8, u16)) -> Vec<u8> {
    let udp_len = u16::try_from(8 + payload.len()).unwrap();
    let mut packet = vec![u8::try_from(VIRTIO_NET_HDR_F_NEEDS_CSUM).unwrap(), gso.0];
    packet.extend(u16::try_from(PAYLOAD - VNET).unwrap().to_le_bytes());
    packet.extend(gso.1.to_le_bytes());
    packet.extend(u16::try_from(UDP - VNET).unwrap().to_le_bytes());
    packet.extend([6, 0, 0, 0]);

    packet.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);

    packet.extend([0x45, 0]);
    packet.extend((20 + udp_len).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    packet.extend(GUEST);
    packet.extend(HOST);
    let checksum = !sum(&packet[IP..UDP]);
    packet[IP + 10..IP + 12].copy_from_slice(&checksum.to_be_bytes());

    packet.extend(PORT.to_be_bytes());
    packet.extend(PORT.to_be_bytes());
    packet.extend(udp_len.to_be_bytes());
    packet.extend(sum(&pseudo_header(GUEST, HOST, udp_len)).to_be_bytes());
    packet.extend(payload);
    packet
}

#[test]
fn datagrams_pass_both_ways() {
    let mut network = Network::new(u64::MAX);
    network.post(128, 1526);
    for len in [1, 100, 1472] {
        network.send_to_guest(&payload(len));
        assert_eq!(network.datagram()[PAYLOAD..], payload(len));
        network.transmit(&unfinished_datagram(&payload(len), (0, 0)));
        assert_eq!(network.host_receives(), payload(len));
    }
}

#[test]
fn a_packet_of_64_kib_arrives_in_many_buffers() {
    let mut network = Network::new(u64::MAX);
    network.post(128, 1526);
    network.send_to_guest(&payload(65_000));
    assert_eq!(network.datagram()[PAYLOAD..], payload(65_000));
}

#[test]
fn a_driver_without_mergeable_buffers_gets_what_fits_one() {
    let mut network = Network::new(!(1 << VIRTIO_NET_F_MRG_RXBUF));
    network.post(64, 2000);
    network.send_to_guest(&payload(30_000));
    network.send_to_guest(&payload(1500));
    assert_eq!(network.datagram()[PAYLOAD..], payload(1500));
    assert_eq!(network.counters.receive.oversized.get(), 1);
}

#[test]
fn checksums_are_left_to_a_driver_that_offers_to_compute_them() {
    let mut network = Network::new(u64::MAX);
    network.post(64, 2000);
    network.send_to_guest(&payload(100));
    let flags = u32::from(network.datagram()[0]);
    assert_ne!(flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
}

#[test]
fn checksums_are_complete_for_a_driver_that_does_not() {
    let mut network = Network::new(!(1 << VIRTIO_NET_F_GUEST_CSUM));
    network.post(64, 2000);
    network.send_to_guest(&payload(100));
    let packet = network.datagram();
    assert_eq!(packet[..10], [0; 10]);
    let mut covered = pseudo_header(HOST, GUEST, 108);
    covered.extend(&packet[UDP..]);
    assert_eq!(sum(&covered), 0xffff);
}

/// Kernels before 6.2 cannot: then it is not offered, and a driver that asks
/// for it all the same loses the packet.
#[test]
fn the_host_cuts_up_what_the_driver_leaves_whole() {
    let mut network = Network::new(u64::MAX);
    let whole = payload(20 * 1000);
    let gso = u8::try_from(VIRTIO_NET_HDR_GSO_UDP_L4).unwrap();
    network.transmit(&unfinished_datagram(&whole, (gso, 1000)));
    if network.driver.offered_features() & (1 << VIRTIO_NET_F_HOST_USO) == 0 {
        assert_eq!(network.counters.transmit.malformed.get(), 1);
        return;
    }
    for part in whole.chunks(1000) {
        assert_eq!(network.host_receives(), part);
    }
}

#[test]
fn a_header_that_makes_no_sense_costs_its_packet_only() {
    let mut network = Network::new(u64::MAX);
    let mut bad = unfinished_datagram(&payload(100), (0x55, 1000));
    network.transmit(&bad);
    bad[1] = 0;
    bad[6..8].copy_from_slice(&0xfff0_u16.to_le_bytes());
    network.transmit(&bad);
    assert_eq!(network.counters.transmit.malformed.get(), 2);
    network.transmit(&unfinished_datagram(&payload(100), (0, 0)));
    assert_eq!(network.host_receives(), payload(100));
}

#[test]
fn packets_for_an_interface_that_is_down_are_counted() {
    let mut network = Network::new(u64::MAX);
    ip(&format!("link set {TAP} down"));
    network.transmit(&unfinished_datagram(&payload(100), (0, 0)));
    assert_eq!(network.counters.transmit.port_error.get(), 1);
    ip(&format!("link set {TAP} up"));
    network.transmit(&unfinished_datagram(&payload(100), (0, 0)));
    assert_eq!(network.host_receives(), payload(100));
}

#[test]
fn an_interface_that_is_deleted_leaves_a_device_that_can_be_stopped() {
    let mut network = Network::new(u64::MAX);
    network.post(64, 2000);
    ip(&format!("link delete {TAP}"));
    network.transmit(&unfinished_datagram(&payload(100), (0, 0)));
    assert_eq!(network.counters.transmit.port_error.get(), 1);
    network.driver.transport.pause().unwrap();
}

#[test]
fn a_pause_loses_no_packet() {
    let mut network = Network::new(u64::MAX);
    network.post(128, 2000);
    for len in 1..50 {
        network.driver.transport.pause().unwrap();
        network.send_to_guest(&payload(len));
        network.driver.transport.resume();
        assert_eq!(network.datagram()[PAYLOAD..], payload(len));
    }
}

#[test]
fn a_busy_tap_is_named_as_such_until_it_is_closed() {
    make_tap();
    let first = open(TAP, 1).unwrap();
    let error = open(TAP, 1).unwrap_err();
    assert!(matches!(error, TapOpenError::Busy { .. }), "{error:?}");
    drop(first);
    // A command that another test is just starting has a copy of the
    // descriptor for a moment.
    let deadline = Instant::now() + Duration::from_secs(30);
    let second = loop {
        match open(TAP, 1) {
            Err(TapOpenError::Busy { .. }) if Instant::now() < deadline => {}
            opened => break opened.unwrap(),
        }
    };
    assert_eq!(Tap::from_fds(second).unwrap()[0].name(), TAP);
}

#[test]
fn interfaces_that_cannot_serve_are_named_as_such() {
    make_tap();
    let error = open("tap0", 1).unwrap_err();
    assert!(matches!(error, TapOpenError::Missing { .. }), "{error:?}");
    let error = open("lo", 1).unwrap_err();
    assert!(matches!(error, TapOpenError::NotATap { .. }), "{error:?}");

    ip("tuntap add tun0 mode tun");
    let error = open("tun0", 1).unwrap_err();
    assert!(matches!(error, TapOpenError::NotATap { .. }), "{error:?}");

    let unattached = std::fs::File::open("/dev/net/tun").unwrap();
    let error = Tap::from_fds(vec![unattached.into()]).unwrap_err();
    assert!(matches!(error, TapError::NotATap(_)), "{error:?}");
}

#[test]
fn a_tap_of_another_user_is_refused() {
    enter_new_network();
    ip(&format!("tuntap add {TAP} mode tap user 65534"));
    let mut capabilities = rustix::thread::capabilities(None).unwrap();
    capabilities.effective.remove(CapabilitySet::NET_ADMIN);
    rustix::thread::set_capabilities(None, capabilities).unwrap();
    let error = open(TAP, 1).unwrap_err();
    assert!(
        matches!(error, TapOpenError::NotPermitted { .. }),
        "{error:?}"
    );
}

impl Network {
    /// One on a tap with `queues` queues.
    fn with_queues(queues: u64) -> Self {
        make_tap_with(" multi_queue");
        Self::on(taps(queues), u64::MAX)
    }

    /// The driver uses `pairs` of `all` queue pairs. Returns the device's
    /// answer.
    fn use_pairs(&mut self, pairs: u8, all: usize) -> u8 {
        let command = self.driver.readable(&[4, 0, pairs, 0]);
        let answer = self.driver.writable(1);
        self.driver.request(2 * all, &[command, answer]);
        self.driver.contents(answer)[0]
    }
}

/// How many queues of the tap the kernel uses, and how many it was told not
/// to.
fn kernel_queues() -> (u32, u32) {
    let shown = Command::new("ip")
        .args(["-d", "link", "show", TAP])
        .output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    let number = |word: &str| {
        let mut words = shown.split_whitespace().skip_while(|other| *other != word);
        words.nth(1).unwrap().parse().unwrap()
    };
    (number("numqueues"), number("numdisabled"))
}

#[test]
fn the_kernel_uses_the_queues_that_the_driver_uses() {
    let mut network = Network::with_queues(3);
    assert_eq!(kernel_queues(), (1, 2));
    for (pairs, used) in [(3, 3), (1, 1), (2, 2), (2, 2)] {
        assert_eq!(network.use_pairs(pairs, 3), 0);
        assert_eq!(kernel_queues(), (used, 3 - used));
    }
    assert_eq!(network.use_pairs(4, 3), 1);
    network.driver.transport.pause().unwrap();
    network.driver.transport.resume();
    assert_eq!(kernel_queues(), (2, 1));
    network.driver.start(u64::MAX);
    assert_eq!(kernel_queues(), (1, 2));
}

#[test]
fn datagrams_pass_both_ways_through_whatever_queues_there_are() {
    let mut network = Network::with_queues(2);
    for pairs in [2, 1, 2] {
        assert_eq!(network.use_pairs(pairs, 2), 0);
        let pairs = usize::from(pairs);
        // The kernel sends a flow's packets to the queue that the last of
        // them came from.
        for pair in (0..pairs).rev() {
            let packet = unfinished_datagram(&payload(100), (0, 0));
            let buffer = network.driver.readable(&packet);
            network.driver.request(2 * pair + 1, &[buffer]);
            assert_eq!(network.host_receives(), payload(100));
        }
        network.post(64, 2000);
        network.send_to_guest(&payload(1000));
        assert_eq!(network.datagram()[PAYLOAD..], payload(1000));
    }
}

#[test]
fn a_tap_for_another_number_of_queues_is_named_as_such() {
    make_tap();
    let error = open(TAP, 2).unwrap_err();
    let single = matches!(error, TapOpenError::SingleQueue { queues: 2, .. });
    assert!(single, "{error:?}");
    let held = open(TAP, 1).unwrap();
    let error = open(TAP, 16).unwrap_err();
    assert!(
        matches!(error, TapOpenError::SingleQueue { .. }),
        "{error:?}"
    );
    drop(held);
    make_tap_with(" multi_queue");
    let error = open(TAP, 1).unwrap_err();
    assert!(
        matches!(error, TapOpenError::MultiQueue { .. }),
        "{error:?}"
    );
    let error = open("lo", 2).unwrap_err();
    assert!(matches!(error, TapOpenError::NotATap { .. }), "{error:?}");
}

#[test]
fn queues_of_two_taps_are_no_tap() {
    make_tap_with(" multi_queue");
    ip("tuntap add other0 mode tap multi_queue");
    let mut fds = open(TAP, 2).unwrap();
    fds.extend(open("other0", 2).unwrap());
    let error = Tap::from_fds(fds).unwrap_err();
    assert!(matches!(error, TapError::NotOneTap { .. }), "{error:?}");
    assert!(error.to_string().contains("other0"), "{error}");
}

/// Not a measure: a flood is answered in full or accounted for.
#[test]
fn every_packet_of_a_flood_arrives_or_is_counted_by_the_interface() {
    let mut network = Network::new(u64::MAX);
    network.post(200, 2000);
    for _ in 0..2000 {
        network.send_to_guest(&payload(100));
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut arrived = 0;
    while arrived + dropped_by_interface() < 2000 {
        assert!(Instant::now() < deadline, "{arrived} arrived");
        while network.driver.used(RECEIVE).is_some() {
            arrived += 1;
            let buffer = network.posted.remove(0);
            network.driver.add(RECEIVE, &[buffer]);
            network.posted.push(buffer);
        }
        network.driver.kick(RECEIVE);
    }
    assert_eq!(network.counters.receive.oversized.get(), 0);
    assert!(arrived >= 200);
}

/// Packets for the tap that the kernel dropped.
fn dropped_by_interface() -> u64 {
    let interfaces = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let line = interfaces.lines().find(|line| line.contains(TAP)).unwrap();
    let mut numbers = line.split(':').nth(1).unwrap().split_whitespace();
    // Eight numbers on what was received, then sent: bytes, packets, errors,
    // dropped.
    numbers.nth(11).unwrap().parse().unwrap()
}
