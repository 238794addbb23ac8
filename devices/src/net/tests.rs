//! The network device driven through its transport by a fake driver, with
//! one end of a packet socket as its port and the test at the other.

mod limits;
mod pairs;
mod stream;
mod take_over;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use virtio_bindings::virtio_net::{
    VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_MAC, VIRTIO_NET_F_MRG_RXBUF,
    VIRTIO_NET_F_MTU,
};
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;

use super::counters::Counters;
use super::header::{LARGEST_PACKET, SIZE, plain};
use super::offloads::Offloads;
use super::packet_fd::PacketFd;
use super::port::{Port, Sent};
use super::posted::Posted;
use super::{Mtu, Net, NetOptions};
use crate::reactor::Reactor;
use crate::virtio::buffers::Buffers;
use crate::virtio::contract::device_contract;
use crate::virtio::fake_driver::{Buffer, FakeDriver, MEMORY, RawDescriptor};

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

const EVENT_IDX: u64 = 1 << VIRTIO_RING_F_EVENT_IDX;
const MERGEABLE: u64 = 1 << VIRTIO_NET_F_MRG_RXBUF;
const GUEST_CHECKSUM: u64 = 1 << VIRTIO_NET_F_GUEST_CSUM;

/// A port that is one end of a packet socket.
struct Wire {
    packets: PacketFd,
    /// Cannot be waited for.
    file: File,
    state: Arc<Mutex<WireState>>,
}

/// What the test knows of the port and does to it.
#[derive(Default)]
struct WireState {
    offloads: Offloads,
    /// Fails the next attempt to set offloads.
    offloads_error: Option<io::ErrorKind>,
    /// Whether packets are to come here; the last word on it.
    in_use: Option<bool>,
    /// Fails the next attempt to change that.
    in_use_error: Option<io::ErrorKind>,
    /// Names a file as what arrivals are seen on.
    deaf: bool,
    /// Packets received.
    received: u32,
    /// Fails the next packet sent.
    send_error: Option<io::ErrorKind>,
    /// Fails the next attempt to receive.
    receive_error: Option<io::ErrorKind>,
}

impl Port for Wire {
    fn arrivals(&self) -> BorrowedFd<'_> {
        if self.state.lock().unwrap().deaf {
            return self.file.as_fd();
        }
        self.packets.as_fd()
    }
    fn offloads(&self) -> Offloads {
        Offloads::ALL
    }
    fn set_offloads(&mut self, offloads: Offloads) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if let Some(kind) = state.offloads_error.take() {
            return Err(kind.into());
        }
        state.offloads = offloads;
        Ok(())
    }
    fn set_in_use(&mut self, in_use: bool) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if let Some(kind) = state.in_use_error.take() {
            return Err(kind.into());
        }
        state.in_use = Some(in_use);
        Ok(())
    }
    fn send(&mut self, packet: &Buffers) -> io::Result<Sent> {
        match self.state.lock().unwrap().send_error.take() {
            Some(kind) => Err(kind.into()),
            None => self.packets.send(packet).map(|()| Sent::Gone),
        }
    }
    fn receive(&mut self, posted: &mut Posted) -> io::Result<usize> {
        let mut state = self.state.lock().unwrap();
        if let Some(kind) = state.receive_error.take() {
            return Err(kind.into());
        }
        let len = self.packets.receive(posted)?;
        state.received += 1;
        Ok(len)
    }
}

/// What a device under test stands on.
struct World {
    peer: OwnedFd,
    wire: Arc<Mutex<WireState>>,
    reactor: Reactor,
}

impl World {
    fn new() -> (Wire, Self) {
        let (here, peer) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        set_socket_timeout(&peer, Timeout::Recv, Some(Duration::from_secs(30))).unwrap();
        let wire = Arc::new(Mutex::new(WireState::default()));
        let port = Wire {
            packets: PacketFd::new(here).unwrap(),
            file: tempfile::tempfile().unwrap(),
            state: Arc::clone(&wire),
        };
        let reactor = Reactor::spawn("test").unwrap();
        let world = Self {
            peer,
            wire,
            reactor,
        };
        (port, world)
    }
}

fn options(mtu: Option<u16>) -> NetOptions {
    NetOptions {
        mac: "52:54:00:12:34:56".parse().unwrap(),
        mtu: mtu.map(|bytes| Mtu::new(bytes).unwrap()),
    }
}

fn net_with_mtu(mtu: Option<u16>) -> (Net, World) {
    let (port, world) = World::new();
    let reactors = vec![world.reactor.handle()];
    let net = Net::new(vec![Box::new(port)], options(mtu), reactors);
    (net.unwrap(), world)
}

fn net() -> (Net, World) {
    net_with_mtu(Some(9000))
}

// The receive queue answers when packets come, which is when they come.
device_contract!(net, queues: [TRANSMIT]);

/// A device between a driver and a wire.
struct Bench {
    driver: FakeDriver,
    /// Receive buffers posted and not yet used.
    posted: Vec<(u16, Buffer)>,
    counters: Arc<Counters>,
    world: World,
}

impl Bench {
    fn new(features: u64) -> Self {
        let (net, world) = net();
        let counters = net.counters();
        Self {
            driver: FakeDriver::started(net, features),
            posted: Vec::new(),
            counters,
            world,
        }
    }

    /// Posts a receive buffer of `len` bytes, without notifying.
    fn post(&mut self, len: u32) -> Buffer {
        let buffer = self.driver.writable(len);
        let head = self.driver.add(RECEIVE, &[buffer]);
        self.posted.push((head, buffer));
        buffer
    }

    /// Puts a packet on the wire, towards the driver.
    fn arrive(&self, packet: &[u8]) {
        assert_eq!(
            send(&self.world.peer, packet, SendFlags::empty()),
            Ok(packet.len())
        );
    }

    /// Waits for a packet that the driver has sent.
    fn sent(&self) -> Vec<u8> {
        let mut packet = vec![0; LARGEST_PACKET + 1];
        let (len, _) = recv(&self.world.peer, &mut packet[..], RecvFlags::empty()).unwrap();
        packet.truncate(len);
        packet
    }

    /// Waits for a packet for the driver, in all the buffers that its header
    /// speaks of.
    fn received(&mut self) -> Vec<u8> {
        let first = self.driver.wait(RECEIVE);
        let mut packet = self.take(first.head, first.written);
        let num_buffers = u16::from_le_bytes([packet[10], packet[11]]);
        for _ in 1..num_buffers {
            let next = self.driver.used(RECEIVE);
            let next = next.expect("the packet's buffers appear together");
            packet.extend(self.take(next.head, next.written));
        }
        packet
    }

    fn take(&mut self, head: u16, written: u32) -> Vec<u8> {
        let (expected, buffer) = self.posted.remove(0);
        assert_eq!(head, expected, "buffers are used in order");
        let mut contents = self.driver.contents(buffer);
        contents.truncate(usize::try_from(written).unwrap());
        contents
    }

    fn transmit(&mut self, packet: &[u8]) {
        let buffer = self.driver.readable(packet);
        assert_eq!(self.driver.request(TRANSMIT, &[buffer]).written, 0);
    }
}

/// A packet of `len` bytes, header and all, different for each `seed`.
fn packet(seed: u8, len: usize) -> Vec<u8> {
    let frame = (0..len - SIZE).map(|i| seed.wrapping_add(u8::try_from(i % 253).unwrap()));
    plain(0).into_iter().chain(frame).collect()
}

/// The packet as a driver gets it in `num_buffers` buffers.
fn in_buffers(packet: &[u8], num_buffers: u16) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[10..12].copy_from_slice(&num_buffers.to_le_bytes());
    packet
}

#[test]
fn it_tells_the_driver_its_address_and_mtu() {
    let mut bench = Bench::new(u64::MAX);
    assert_eq!(bench.driver.config(0, 6), [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    assert_eq!(bench.driver.config(10, 2), 9000_u16.to_le_bytes());
    bench.driver.set_config(0, &[1; 12]);
    assert_eq!(bench.driver.config(0, 1), [0x52]);
    let offered = bench.driver.offered_features();
    for bit in [
        VIRTIO_NET_F_MAC,
        VIRTIO_NET_F_MTU,
        VIRTIO_NET_F_MRG_RXBUF,
        VIRTIO_NET_F_GUEST_USO4,
    ] {
        assert_ne!(offered & (1 << bit), 0, "bit {bit}");
    }
}

#[test]
fn without_an_mtu_it_offers_none() {
    let (net, _world) = net_with_mtu(None);
    let mut driver = FakeDriver::new(net);
    assert_eq!(driver.offered_features() & (1 << VIRTIO_NET_F_MTU), 0);
    assert_eq!(driver.config(10, 2), [0, 0]);
}

#[test]
fn the_port_gets_the_offloads_that_the_driver_accepted() {
    let mut bench = Bench::new(u64::MAX);
    assert_eq!(bench.world.wire.lock().unwrap().offloads, Offloads::ALL);
    bench.driver.start(GUEST_CHECKSUM);
    let checksum_only = Offloads {
        checksum: true,
        ..Offloads::default()
    };
    assert_eq!(bench.world.wire.lock().unwrap().offloads, checksum_only);
}

#[test]
fn a_port_that_refuses_offloads_can_be_tried_again() {
    let mut bench = Bench::new(u64::MAX);
    bench.world.wire.lock().unwrap().offloads_error = Some(io::ErrorKind::InvalidInput);
    bench.driver.start(u64::MAX);
    assert!(bench.driver.needs_reset());
    bench.driver.start(u64::MAX);
    assert!(!bench.driver.needs_reset());
    bench.transmit(&packet(1, 60));
    assert_eq!(bench.sent(), packet(1, 60));
}

#[test]
fn a_worker_that_cannot_be_attached_leaves_the_port_for_another_start() {
    let mut bench = Bench::new(u64::MAX);
    bench.world.wire.lock().unwrap().deaf = true;
    bench.driver.start(u64::MAX);
    assert!(bench.driver.needs_reset());
    bench.world.wire.lock().unwrap().deaf = false;
    bench.driver.start(u64::MAX);
    assert!(!bench.driver.needs_reset());
    bench.transmit(&packet(1, 60));
    assert_eq!(bench.sent(), packet(1, 60));
}

#[test]
fn a_packet_goes_out_as_it_is_however_it_is_laid_out() {
    let mut bench = Bench::new(u64::MAX);
    let data = packet(1, 200);
    bench.transmit(&data);
    assert_eq!(bench.sent(), data);

    let pieces = [&data[..5], &data[5..12], &data[12..90], &data[90..]];
    let pieces = pieces.map(|piece| bench.driver.readable(piece));
    bench.driver.request(TRANSMIT, &pieces);
    assert_eq!(bench.sent(), data);

    bench.driver.add_indirect(TRANSMIT, &pieces);
    bench.driver.kick(TRANSMIT);
    assert_eq!(bench.sent(), data);

    assert_eq!(bench.counters.transmit.packets.get(), 3);
    assert_eq!(bench.counters.transmit.bytes.get(), 3 * 188);
}

#[test]
fn a_packet_comes_in_with_its_header_and_an_interrupt() {
    let mut bench = Bench::new(u64::MAX);
    bench.post(1526);
    bench.driver.kick(RECEIVE);
    let mut data = packet(2, 100);
    data[0] = 2;
    bench.arrive(&data);
    assert_eq!(bench.received(), in_buffers(&data, 1));
    assert_eq!(bench.counters.receive.packets.get(), 1);
    assert_eq!(bench.counters.receive.bytes.get(), 88);
    while bench.driver.take_interrupts() == 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_driver_without_checksum_offload_gets_a_plain_header() {
    let mut bench = Bench::new(MERGEABLE);
    bench.post(1526);
    bench.driver.kick(RECEIVE);
    let mut data = packet(2, 100);
    data[..10].fill(0xff);
    bench.arrive(&data);
    assert_eq!(bench.received(), in_buffers(&packet(2, 100), 1));
}

#[test]
fn packets_wait_for_the_driver_to_post_buffers() {
    for features in [0, MERGEABLE, EVENT_IDX | MERGEABLE, u64::MAX] {
        let mut bench = Bench::new(features);
        for seed in 0..3 {
            bench.arrive(&packet(seed, 100));
        }
        for seed in 0..3 {
            bench.post(1526);
            bench.driver.kick(RECEIVE);
            assert_eq!(bench.received(), in_buffers(&packet(seed, 100), 1));
        }
    }
}

#[test]
fn the_largest_packet_passes_both_ways() {
    let mut bench = Bench::new(u64::MAX);
    let data = packet(3, LARGEST_PACKET);
    bench.transmit(&data);
    assert_eq!(bench.sent(), data);
    for _ in 0..43 {
        bench.post(1536);
    }
    bench.driver.kick(RECEIVE);
    bench.arrive(&data);
    assert_eq!(bench.received(), in_buffers(&data, 43));
}

#[test]
fn a_packet_larger_than_its_buffer_is_dropped_and_the_buffer_used_again() {
    let mut bench = Bench::new(0);
    bench.post(100);
    bench.driver.kick(RECEIVE);
    bench.arrive(&packet(4, 101));
    bench.arrive(&packet(5, 100));
    assert_eq!(bench.received(), in_buffers(&packet(5, 100), 1));
    assert_eq!(bench.counters.receive.oversized.get(), 1);
    assert_eq!(bench.counters.receive.packets.get(), 1);
}

#[test]
fn a_packet_that_no_buffers_can_hold_is_dropped() {
    let mut bench = Bench::new(u64::MAX);
    // As many pieces as one system call takes, but too few bytes.
    let piece = bench.driver.writable(1);
    for _ in 0..100 {
        bench.driver.add_indirect(RECEIVE, &[piece; 20]);
    }
    bench.arrive(&packet(6, 5000));
    bench.driver.kick(RECEIVE);
    while bench.counters.receive.oversized.get() == 0 {
        std::thread::yield_now();
    }
    bench.arrive(&packet(7, 20));
    assert_eq!(bench.driver.wait(RECEIVE).written, 20);
}

#[test]
fn useless_receive_buffers_are_returned_and_counted() {
    let mut bench = Bench::new(u64::MAX);
    let short = bench.driver.writable(11);
    let readable = bench.driver.readable(&[0; 100]);
    let piece = bench.driver.writable(64);
    let outside = Buffer::Writable {
        address: 1 << 40,
        len: 100,
    };
    bench.driver.add(RECEIVE, &[short]);
    bench.driver.add(RECEIVE, &[readable]);
    bench.driver.add(RECEIVE, &[outside]);
    bench.driver.add_indirect(RECEIVE, &[piece; 1024]);
    bench.driver.kick(RECEIVE);
    for _ in 0..4 {
        assert_eq!(bench.driver.wait(RECEIVE).written, 0);
    }
    assert_eq!(bench.counters.receive.bad_buffer.get(), 4);
    bench.post(1526);
    bench.driver.kick(RECEIVE);
    bench.arrive(&packet(8, 60));
    assert_eq!(bench.received(), in_buffers(&packet(8, 60), 1));
}

#[test]
fn packets_that_make_no_sense_are_dropped_and_counted() {
    let mut bench = Bench::new(u64::MAX);
    bench.transmit(&[0; 11]);
    bench.driver.request(TRANSMIT, &[]);
    let outside = Buffer::Readable {
        address: 1 << 40,
        len: 100,
    };
    bench.driver.request(TRANSMIT, &[outside]);
    assert_eq!(bench.counters.transmit.malformed.get(), 3);
    bench.transmit(&packet(9, LARGEST_PACKET + 1));
    assert_eq!(bench.counters.transmit.oversized.get(), 1);
    bench.transmit(&packet(9, 60));
    assert_eq!(bench.sent(), packet(9, 60));
    assert_eq!(bench.counters.transmit.packets.get(), 1);
}

#[test]
fn a_port_that_fails_loses_that_packet_only() {
    let mut bench = Bench::new(u64::MAX);
    let counters = Arc::clone(&bench.counters);
    let drops = &counters.transmit;
    for (kind, counter) in [
        (io::ErrorKind::InvalidInput, &drops.malformed),
        (io::ErrorKind::WouldBlock, &drops.port_busy),
        (io::ErrorKind::NetworkDown, &drops.port_error),
    ] {
        bench.world.wire.lock().unwrap().send_error = Some(kind);
        bench.transmit(&packet(1, 60));
        assert_eq!(counter.get(), 1, "{kind:?}");
    }
    bench.transmit(&packet(2, 60));
    assert_eq!(bench.sent(), packet(2, 60));

    bench.world.wire.lock().unwrap().receive_error = Some(io::ErrorKind::NetworkDown);
    bench.post(1526);
    bench.driver.kick(RECEIVE);
    while counters.receive.port_error.get() == 0 {
        std::thread::yield_now();
    }
    bench.arrive(&packet(3, 60));
    assert_eq!(bench.received(), in_buffers(&packet(3, 60), 1));
}

#[test]
fn a_port_whose_other_end_is_gone_is_left_alone() {
    let mut bench = Bench::new(u64::MAX);
    bench.post(1526);
    let (_, unrelated) = std::os::unix::net::UnixDatagram::pair().unwrap();
    bench.world.peer = unrelated.into();
    bench.driver.kick(RECEIVE);
    while bench.counters.receive.port_error.get() == 0 {
        std::thread::yield_now();
    }
    bench.transmit(&packet(1, 60));
    assert_eq!(bench.counters.transmit.port_error.get(), 1);
}

#[test]
fn more_packets_than_a_batch_all_pass() {
    for features in [MERGEABLE, u64::MAX] {
        let mut bench = Bench::new(features);
        let data = packet(1, 60);
        for _ in 0..150 {
            let buffer = bench.driver.readable(&data);
            bench.driver.add(TRANSMIT, &[buffer]);
            bench.post(256);
            bench.arrive(&data);
        }
        bench.driver.kick(TRANSMIT);
        bench.driver.kick(RECEIVE);
        for _ in 0..150 {
            assert_eq!(bench.sent(), data);
            bench.driver.wait(TRANSMIT);
            assert_eq!(bench.received(), in_buffers(&data, 1));
        }
    }
}

#[test]
fn buffers_in_hand_survive_a_pause() {
    let mut bench = Bench::new(u64::MAX);
    for _ in 0..4 {
        bench.post(256);
    }
    bench.driver.kick(RECEIVE);
    bench.arrive(&packet(1, 200));
    assert_eq!(bench.received(), in_buffers(&packet(1, 200), 1));
    for seed in 2..5 {
        bench.driver.transport.pause().unwrap();
        bench.arrive(&packet(seed, 100));
        bench.driver.transport.resume();
        assert_eq!(bench.received(), in_buffers(&packet(seed, 100), 1));
    }
    assert!(!bench.driver.needs_reset());
}

#[test]
fn a_packet_that_waits_for_buffers_during_a_pause_is_dropped_and_counted() {
    let mut bench = Bench::new(u64::MAX);
    bench.post(64);
    bench.driver.kick(RECEIVE);
    bench.arrive(&packet(1, 100));
    while bench.world.wire.lock().unwrap().received == 0 {
        std::thread::yield_now();
    }
    bench.driver.transport.pause().unwrap();
    assert_eq!(bench.counters.receive.no_buffer.get(), 1);
    bench.arrive(&packet(2, 64));
    bench.driver.transport.resume();
    assert_eq!(bench.received(), in_buffers(&packet(2, 64), 1));
}

#[test]
fn a_reset_gives_the_port_back_for_another_start() {
    let mut bench = Bench::new(u64::MAX);
    for round in 0..3 {
        bench.posted.clear();
        bench.post(256);
        bench.driver.kick(RECEIVE);
        bench.transmit(&packet(round, 60));
        assert_eq!(bench.sent(), packet(round, 60));
        bench.arrive(&packet(round, 70));
        assert_eq!(bench.received(), in_buffers(&packet(round, 70), 1));
        bench.driver.start(u64::MAX);
    }
}

/// Whoever takes a port away may give it to somebody else at once.
#[test]
fn a_severed_port_is_closed_and_its_driver_sends_into_the_void() {
    let mut bench = Bench::new(u64::MAX);
    bench.driver.take_backend_away();
    bench.transmit(&packet(1, 60));
    let refused = send(&bench.world.peer, b"any", SendFlags::NOSIGNAL);
    assert_eq!(refused, Err(rustix::io::Errno::PIPE));
}

#[test]
fn a_broken_ring_needs_a_reset_and_mends_by_one() {
    for queue in [RECEIVE, TRANSMIT] {
        let mut bench = Bench::new(u64::MAX);
        bench.driver.set_available_index(queue, 1000);
        bench.driver.kick(queue);
        bench.driver.wait_for_needs_reset();
        bench.driver.start(u64::MAX);
        bench.transmit(&packet(1, 60));
        assert_eq!(bench.sent(), packet(1, 60));
    }
}

#[test]
fn a_driver_that_wants_no_interrupt_gets_none() {
    let mut bench = Bench::new(MERGEABLE);
    bench.driver.suppress_interrupts(TRANSMIT, 1, 0);
    bench.transmit(&packet(1, 60));
    bench.driver.start(MERGEABLE | EVENT_IDX);
    bench.driver.suppress_interrupts(TRANSMIT, 0, 2);
    bench.transmit(&packet(1, 60));
    bench.transmit(&packet(1, 60));
    // The worker decides on the interrupt after the packet is used; pausing
    // waits for that.
    bench.driver.transport.pause().unwrap();
    assert_eq!(bench.driver.take_interrupts(), 0);
    bench.driver.transport.resume();
    bench.transmit(&packet(1, 60));
    bench.driver.transport.pause().unwrap();
    assert_eq!(bench.driver.take_interrupts(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However small the buffers are and however late they are posted,
    /// packets come through whole and in order.
    #[test]
    fn packets_survive_any_buffers(
        packets in prop::collection::vec(12usize..20_000, 1..6),
        buffers in prop::collection::vec(100u32..3000, 1..20),
        features in prop_oneof![Just(MERGEABLE), Just(MERGEABLE | EVENT_IDX), Just(u64::MAX)],
    ) {
        let mut bench = Bench::new(features);
        let mut sizes = buffers.iter().cycle();
        for (seed, len) in (0..).zip(&packets) {
            bench.arrive(&packet(seed, *len));
        }
        for (seed, len) in (0..).zip(&packets) {
            let mut room = 0;
            let mut count = 0;
            // The fewest buffers that hold the packet, one at a time.
            while room < *len {
                let size = *sizes.next().expect("a cycle does not end");
                bench.post(size);
                bench.driver.kick(RECEIVE);
                room += usize::try_from(size).unwrap();
                count += 1;
            }
            prop_assert_eq!(bench.received(), in_buffers(&packet(seed, *len), count));
        }
        prop_assert_eq!(bench.counters.receive.packets.get(), packets.len() as u64);
    }

    /// Whatever the receive queue holds, packets arrive or are dropped, and a
    /// reset mends it.
    #[test]
    fn senseless_receive_buffers_do_no_harm(
        descriptors in prop::collection::vec(descriptor(), 64),
        heads in prop::collection::vec(0u16..70, 1..100),
        packets in prop::collection::vec(12usize..5000, 1..10),
        features in prop_oneof![Just(0), Just(MERGEABLE), Just(u64::MAX)],
    ) {
        let mut bench = Bench::new(features);
        for (descriptor, index) in descriptors.iter().zip(0..) {
            bench.driver.set_descriptor(RECEIVE, index, *descriptor);
        }
        for (seed, len) in (0..).zip(&packets) {
            bench.arrive(&packet(seed, *len));
        }
        for head in heads {
            bench.driver.make_available(RECEIVE, head);
        }
        bench.driver.kick(RECEIVE);
        bench.transmit(&packet(0, 60));
        bench.driver.transport.pause().unwrap();
        bench.driver.transport.resume();
        bench.driver.start(u64::MAX);
        bench.transmit(&packet(1, 60));
        prop_assert_eq!(bench.sent(), packet(0, 60));
        prop_assert_eq!(bench.sent(), packet(1, 60));
    }
}

/// Descriptors away from the rings, often within memory.
fn descriptor() -> impl Strategy<Value = RawDescriptor> {
    let address = prop_oneof![
        8 => 0x10_0000u64..0x20_0000,
        1 => MEMORY as u64 - 600..MEMORY as u64 + 600,
        1 => 0x10_0000..u64::MAX,
    ];
    let len = prop_oneof![4 => 0u32..2000, 1 => any::<u32>()];
    // WRITE, and often NEXT; now and then INDIRECT.
    let flags = prop_oneof![4 => 2u16..4, 1 => 0u16..8];
    (address, len, flags, 0u16..66).prop_map(|(address, len, flags, next)| RawDescriptor {
        address,
        len,
        flags,
        next,
    })
}
