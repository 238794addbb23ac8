//! A device on a stream socket that takes a part of a packet only.

use std::io::Read;

use rustix::net::sockopt::set_socket_send_buffer_size;

use super::super::device::Ports;
use super::super::stream::Stream;
use super::*;
use crate::clock::AlarmClock;
use crate::clock::fake::FakeClock;
use crate::rate_limit::{Limit, Limits};

/// A port that has room for less than a packet, and the other end of its cable.
fn cable() -> (Stream, File) {
    let kind = SocketType::STREAM;
    let (here, peer) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
    set_socket_send_buffer_size(&here, 4096).unwrap();
    set_socket_timeout(&peer, Timeout::Recv, Some(Duration::from_secs(30))).unwrap();
    (Stream::new(here).unwrap(), peer.into())
}

/// A started device with such a port, whose reactor ends with what is returned.
fn narrow() -> (FakeDriver, File, Reactor) {
    let (port, peer) = cable();
    let reactor = Reactor::spawn("test").unwrap();
    let net = Net::new(vec![Box::new(port)], options(None), vec![reactor.handle()]);
    let driver = FakeDriver::started(net.unwrap(), u64::MAX);
    (driver, peer, reactor)
}

fn transmit(driver: &mut FakeDriver, packet: &[u8]) {
    let buffer = driver.readable(packet);
    driver.request(TRANSMIT, &[buffer]);
}

fn frame(peer: &mut File) -> Vec<u8> {
    let mut length = [0; 4];
    peer.read_exact(&mut length).unwrap();
    let mut frame = vec![0; u32::from_be_bytes(length).try_into().unwrap()];
    peer.read_exact(&mut frame).unwrap();
    frame
}

#[test]
fn the_rest_of_a_packet_goes_though_no_other_follows() {
    let (mut driver, mut peer, _reactor) = narrow();
    let data = packet(3, 32 << 10);
    transmit(&mut driver, &data);
    assert_eq!(frame(&mut peer), data[SIZE..]);
}

#[test]
fn a_reset_tears_no_packet() {
    let (mut driver, mut peer, _reactor) = narrow();
    let (first, second) = (packet(3, 32 << 10), packet(4, 100));
    transmit(&mut driver, &first);
    driver.start(u64::MAX);
    assert_eq!(frame(&mut peer), first[SIZE..]);
    transmit(&mut driver, &second);
    assert_eq!(frame(&mut peer), second[SIZE..]);
}

#[test]
fn a_packet_that_waits_for_room_pays_once() {
    let (port, mut peer) = cable();
    let reactor = Reactor::spawn("test").unwrap();
    let clocks = [FakeClock::new(), FakeClock::new()];
    let make_clocks = || Ok(clocks.clone());
    let (ports, reactors): (Ports, _) = (vec![Box::new(port)], vec![reactor.handle()]);
    let net = Net::with_clocks(ports, options(None), reactors, make_clocks).unwrap();
    let rate = Limit::per_second(1).unwrap().with_burst(3).unwrap();
    let limits = Limits::new(Some(rate), None);
    net.handle().transmit().set_at(limits, clocks[1].now());
    let mut driver = FakeDriver::started(net, u64::MAX);
    // The first fills the socket, and the second waits for that.
    let sent = [(3, 32 << 10), (4, 100), (5, 100)].map(|(seed, len)| packet(seed, len));
    transmit(&mut driver, &sent[0]);
    for data in &sent[1..] {
        let buffer = driver.readable(data);
        driver.add(TRANSMIT, &[buffer]);
        driver.kick(TRANSMIT);
    }
    for data in &sent {
        assert_eq!(frame(&mut peer), data[SIZE..]);
    }
}
