//! Packets that a limit holds back, by clocks that stand still until they are
//! moved.

use super::*;
use crate::clock::AlarmClock;
use crate::clock::fake::FakeClock;
use crate::net::device::Ports;
use crate::net::handle::NetHandle;
use crate::rate_limit::{Limit, Limits};

fn limit(rate: u64, burst: u64) -> Limit {
    Limit::per_second(rate).unwrap().with_burst(burst).unwrap()
}

fn packets(rate: u64, burst: u64) -> Option<Limits> {
    Limits::new(Some(limit(rate, burst)), None)
}

fn bytes(rate: u64, burst: u64) -> Option<Limits> {
    Limits::new(None, Some(limit(rate, burst)))
}

/// A device whose limits go by clocks.
struct Limited {
    bench: Bench,
    handle: NetHandle,
    receive: FakeClock,
    transmit: FakeClock,
}

impl Limited {
    fn new(receive: Option<Limits>, transmit: Option<Limits>) -> Self {
        let (port, world) = World::new();
        let clocks = [FakeClock::new(), FakeClock::new()];
        let (ports, reactors): (Ports, _) = (vec![Box::new(port)], vec![world.reactor.handle()]);
        let make_clocks = || Ok(clocks.clone());
        let net = Net::with_clocks(ports, options(None), reactors, make_clocks).unwrap();
        let handle = net.handle();
        let [receive_clock, transmit_clock] = clocks;
        let limited = Self {
            handle,
            receive: receive_clock,
            transmit: transmit_clock,
            bench: Bench {
                counters: net.counters(),
                driver: FakeDriver::started(net, u64::MAX),
                posted: Vec::new(),
                world,
            },
        };
        limited.set_limits(receive, transmit);
        limited
    }

    fn set_limits(&self, receive: Option<Limits>, transmit: Option<Limits>) {
        self.handle.receive().set_at(receive, self.receive.now());
        self.handle.transmit().set_at(transmit, self.transmit.now());
    }

    /// Makes packets with these seeds available, `len` bytes with the header.
    fn offer(&mut self, seeds: std::ops::Range<u8>, len: usize) {
        for seed in seeds {
            let buffer = self.bench.driver.readable(&packet(seed, len));
            self.bench.driver.add(TRANSMIT, &[buffer]);
        }
        self.bench.driver.kick(TRANSMIT);
    }

    /// Waits until the packet with this seed is sent and given back.
    fn assert_sent(&mut self, seed: u8, len: usize) {
        assert_eq!(self.bench.sent(), packet(seed, len));
        self.bench.driver.wait(TRANSMIT);
    }

    /// Puts packets with these seeds on the wire, with buffers for all.
    fn arrive(&mut self, seeds: std::ops::Range<u8>, len: usize) {
        for seed in seeds {
            self.bench.post(2048);
            self.bench.arrive(&packet(seed, len));
        }
        self.bench.driver.kick(RECEIVE);
    }

    fn assert_received(&mut self, seed: u8, len: usize) {
        assert_eq!(self.bench.received(), in_buffers(&packet(seed, len), 1));
    }
}

#[test]
fn packets_leave_at_the_rate_and_none_is_dropped() {
    let mut net = Limited::new(None, packets(1000, 2));
    net.offer(0..7, 100);
    net.assert_sent(0, 100);
    net.assert_sent(1, 100);
    for seed in 2..7 {
        net.transmit.ring_after(Duration::from_millis(1));
        net.assert_sent(seed, 100);
        assert_eq!(net.bench.driver.used(TRANSMIT), None);
    }
    assert_eq!(net.bench.counters.transmit.packets.get(), 7);
    assert_eq!(net.bench.counters.transmit.port_busy.get(), 0);
    assert_eq!(net.handle.transmit().throttled().operations.get(), 5);
    let waited = net.handle.transmit().throttled().nanoseconds.get();
    assert_eq!(waited, 5_000_000);
}

#[test]
fn bytes_leave_at_the_rate_without_the_headers() {
    let mut net = Limited::new(None, bytes(88_000, 88));
    net.offer(0..4, SIZE + 88);
    net.assert_sent(0, SIZE + 88);
    for seed in 1..4 {
        net.transmit.ring_after(Duration::from_millis(1));
        net.assert_sent(seed, SIZE + 88);
    }
}

#[test]
fn packets_come_in_at_the_rate_and_wait_in_the_port() {
    let mut net = Limited::new(packets(1000, 1), None);
    net.arrive(0..6, 100);
    // The one that fills the debt is known afterwards.
    net.assert_received(0, 100);
    net.assert_received(1, 100);
    for seed in 2..6 {
        net.receive.ring_after(Duration::from_millis(1));
        net.assert_received(seed, 100);
        assert_eq!(net.bench.driver.used(RECEIVE), None);
    }
    // The fifth wait is over only when the next packet is there to end it.
    assert_eq!(net.handle.receive().throttled().operations.get(), 4);
}

#[test]
fn the_two_directions_do_not_hold_each_other_up() {
    let mut net = Limited::new(packets(1, 1), packets(1, 1));
    net.arrive(0..3, 100);
    net.assert_received(0, 100);
    net.assert_received(1, 100);
    net.offer(0..2, 100);
    net.assert_sent(0, 100);
    net.set_limits(packets(1, 1), None);
    net.assert_sent(1, 100);
    net.offer(2..10, 100);
    for seed in 2..10 {
        net.assert_sent(seed, 100);
    }
    net.receive.ring_after(Duration::from_secs(1));
    net.assert_received(2, 100);
}

#[test]
fn a_change_frees_what_waits() {
    let mut net = Limited::new(packets(1, 1), packets(1, 1));
    net.offer(0..4, 100);
    net.assert_sent(0, 100);
    net.arrive(0..5, 100);
    net.assert_received(0, 100);
    net.assert_received(1, 100);
    net.set_limits(packets(10, 1), packets(100, 1));
    net.transmit.ring_after(Duration::from_millis(10));
    net.assert_sent(1, 100);
    net.receive.ring_after(Duration::from_millis(100));
    net.assert_received(2, 100);
    net.handle.set_limits(None, None);
    for seed in 2..4 {
        net.assert_sent(seed, 100);
    }
    for seed in 3..5 {
        net.assert_received(seed, 100);
    }
    assert_eq!(net.handle.receive().limits(), None);
}

#[test]
fn a_packet_that_waits_during_a_pause_stays_with_the_driver() {
    let mut net = Limited::new(None, packets(10, 1));
    net.offer(0..3, 100);
    net.assert_sent(0, 100);
    for _ in 0..3 {
        net.bench.driver.transport.pause().unwrap();
        assert_eq!(net.bench.driver.used(TRANSMIT), None);
        net.bench.driver.transport.resume();
    }
    // It has paid once.
    net.transmit.ring_after(Duration::from_millis(100));
    net.assert_sent(1, 100);
    net.transmit.ring_after(Duration::from_millis(100));
    net.assert_sent(2, 100);
    assert_eq!(net.bench.counters.transmit.packets.get(), 3);
}

#[test]
fn a_reset_forgets_the_packet_that_waits() {
    let mut net = Limited::new(None, packets(10, 1));
    net.offer(0..2, 100);
    net.assert_sent(0, 100);
    net.bench.driver.start(u64::MAX);
    net.set_limits(None, None);
    net.offer(5..6, 100);
    net.assert_sent(5, 100);
    assert_eq!(net.bench.driver.used(TRANSMIT), None);
}
