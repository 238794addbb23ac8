//! A device on a stream socket that takes a part of a packet only.

use std::io::Read;

use rustix::net::sockopt::set_socket_send_buffer_size;

use super::super::stream::Stream;
use super::*;

/// A started device, whose reactor ends with what is returned, and the other end of
/// its cable, which has room for less than a packet.
fn narrow() -> (FakeDriver, File, Reactor) {
    let kind = SocketType::STREAM;
    let (here, peer) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
    set_socket_send_buffer_size(&here, 4096).unwrap();
    set_socket_timeout(&peer, Timeout::Recv, Some(Duration::from_secs(30))).unwrap();
    let port = Stream::new(here).unwrap();
    let reactor = Reactor::spawn("test").unwrap();
    let net = Net::new(vec![Box::new(port)], options(None), vec![reactor.handle()]);
    (
        FakeDriver::started(net.unwrap(), u64::MAX),
        peer.into(),
        reactor,
    )
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
