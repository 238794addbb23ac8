//! Tests of the device through its transport, with a fake driver.

use super::counters::ConsoleCounters;
use super::{Keyboard, VirtioConsole};
use crate::console::buffer::{CAPACITY, ConsoleBuffer};
use crate::console::line::Line;
use crate::console::size::ConsoleSize;
use crate::reactor::Reactor;
use crate::virtio::contract::device_contract;
use crate::virtio::fake_driver::{Buffer, FakeDriver};

fn make() -> (VirtioConsole, Reactor) {
    let (device, world) = make_with(None);
    (device, world.reactor)
}

device_contract!(make, queues: [1]);

struct World {
    output: ConsoleBuffer,
    keyboard: Keyboard,
    counters: ConsoleCounters,
    reactor: Reactor,
}

fn make_with(size: Option<ConsoleSize>) -> (VirtioConsole, World) {
    let output = ConsoleBuffer::new().unwrap();
    let keyboard = Keyboard::new().unwrap();
    let reactor = Reactor::spawn("test").unwrap();
    let device = VirtioConsole::new(
        output.clone(),
        keyboard.clone(),
        size,
        None,
        reactor.handle(),
    );
    let world = World {
        output,
        keyboard,
        counters: device.counters(),
        reactor,
    };
    (device, world)
}

fn started() -> (FakeDriver, World) {
    let (device, world) = make_with(None);
    (FakeDriver::started(device, u64::MAX), world)
}

impl World {
    fn shown(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.output.take(&mut bytes, usize::MAX);
        bytes
    }
}

/// What the device wrote into `buffer`, which it used next.
fn read(driver: &mut FakeDriver, buffer: Buffer) -> Vec<u8> {
    let used = driver.wait(0);
    let mut bytes = driver.contents(buffer);
    bytes.truncate(used.written.try_into().unwrap());
    bytes
}

#[test]
fn what_the_guest_writes_is_shown() {
    let (mut driver, world) = started();
    let pieces = [b"Hello, ".as_slice(), b"world\n"].map(|piece| driver.readable(piece));
    assert_eq!(driver.request(1, &pieces).written, 0);
    assert_eq!(world.shown(), b"Hello, world\n");
    assert_eq!(world.counters.sent_bytes(), 13);
    assert_eq!(world.counters.lost_bytes(), 0);
}

#[test]
fn what_is_typed_reaches_the_guest_as_it_posts_buffers() {
    let (mut driver, world) = started();
    world.keyboard.receive(b"before there are buffers");
    let buffers = [10, 100].map(|len| driver.writable(len));
    driver.add(0, &[buffers[0]]);
    driver.kick(0);
    assert_eq!(read(&mut driver, buffers[0]), b"before the");
    driver.add(0, &[buffers[1]]);
    driver.kick(0);
    assert_eq!(read(&mut driver, buffers[1]), b"re are buffers");
    assert_eq!(world.counters.received_bytes(), 24);
    driver.add(0, &[buffers[0]]);
    driver.kick(0);
    world.keyboard.receive(b"after");
    assert_eq!(read(&mut driver, buffers[0]), b"after");
    driver.add(0, &[buffers[0]]);
    driver.kick(0);
    world.keyboard.receive_break();
    assert_eq!(read(&mut driver, buffers[0]), b"\x0f");
}

#[test]
fn typing_survives_a_pause() {
    let (mut driver, world) = started();
    let buffer = driver.writable(100);
    driver.add(0, &[buffer]);
    driver.transport.pause().unwrap();
    world.keyboard.receive(b"meanwhile");
    driver.transport.resume();
    assert_eq!(read(&mut driver, buffer), b"meanwhile");
}

#[test]
fn a_guest_that_writes_without_end_never_waits_and_costs_no_more_than_the_buffer() {
    let (mut driver, world) = started();
    let long = driver.writable(1 << 20);
    let Buffer::Writable { address, len } = long else {
        unreachable!("it was made so");
    };
    for _ in 0..10 {
        driver.request(1, &[Buffer::Readable { address, len }]);
    }
    assert_eq!(world.shown().len(), CAPACITY);
    let sent = world.counters.sent_bytes();
    assert_eq!(sent, 10 << 20);
    assert_eq!(world.counters.lost_bytes(), sent - CAPACITY as u64);
}

#[test]
fn a_buffer_without_room_comes_back_and_loses_nothing() {
    let (mut driver, world) = started();
    let unwritable = driver.readable(b"?");
    let buffer = driver.writable(10);
    driver.add(0, &[unwritable]);
    driver.add(0, &[buffer]);
    world.keyboard.receive(b"kept");
    driver.kick(0);
    assert_eq!(driver.wait(0).written, 0);
    assert_eq!(read(&mut driver, buffer), b"kept");
}

#[test]
fn the_guest_knows_the_size_of_the_terminal_if_there_is_one() {
    let size = ConsoleSize {
        columns: 132,
        rows: 43,
    };
    let (device, _world) = make_with(Some(size));
    let mut driver = FakeDriver::new(device);
    assert_eq!(driver.offered_features() & 1, 1);
    assert_eq!(driver.config(0, 4), [132, 0, 43, 0]);
    let (device, _world) = make_with(None);
    assert_eq!(FakeDriver::new(device).offered_features() & 1, 0);
}

#[test]
fn an_emergency_is_told_without_a_queue() {
    let (device, world) = make_with(None);
    let mut driver = FakeDriver::new(device);
    for byte in *b"oops" {
        driver.set_config(8, &u32::from(byte).to_le_bytes());
    }
    driver.set_config(0, &[b'x'; 4]);
    assert_eq!(world.shown(), b"oops");
}
