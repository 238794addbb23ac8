//! Several queue pairs, each with a wire and a thread of its own, and the
//! control queue that says how many are used.

use virtio_bindings::virtio_net::{VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_MQ};

use super::*;
use crate::clock::AlarmClock;
use crate::clock::fake::FakeClock;
use crate::net::device::Ports;
use crate::net::handle::NetHandle;
use crate::rate_limit::{Limit, Limits};
use crate::reactor::ReactorHandle;
use crate::virtio::contract::{
    a_broken_queue_is_mended_by_a_reset, a_restart_goes_on_where_it_stopped,
    a_stop_in_mid_request_loses_and_repeats_nothing, every_chain_comes_back_whatever_is_in_it,
};

const PAIRS: usize = 3;
const CONTROL: usize = 2 * PAIRS;

/// A command's class: queue pairs, of which command 0 sets the number
/// (§5.1.6.5.6).
const MQ: u8 = 4;
/// The answers (§5.1.6.5).
const OK: u8 = 0;
const ERR: u8 = 1;

fn receive(pair: usize) -> usize {
    2 * pair
}

fn transmit(pair: usize) -> usize {
    2 * pair + 1
}

fn worlds() -> (Ports, Vec<ReactorHandle>, Vec<World>) {
    let made: Vec<_> = (0..PAIRS).map(|_| World::new()).collect();
    let mut ports = Ports::new();
    let mut worlds = Vec::new();
    for (port, world) in made {
        ports.push(Box::new(port));
        worlds.push(world);
    }
    let reactors = worlds.iter().map(|world| world.reactor.handle()).collect();
    (ports, reactors, worlds)
}

fn net() -> (Net, Vec<World>) {
    let (ports, reactors, worlds) = worlds();
    (Net::new(ports, options(None), reactors).unwrap(), worlds)
}

// Of the pairs, the first alone works for every driver.
device_contract!(net, queues: [TRANSMIT]);

#[test]
fn every_command_comes_back_whatever_is_in_it() {
    every_chain_comes_back_whatever_is_in_it(net, &[CONTROL]);
}

#[test]
fn commands_are_neither_lost_nor_repeated_by_a_pause() {
    a_stop_in_mid_request_loses_and_repeats_nothing(net, &[CONTROL]);
    a_restart_goes_on_where_it_stopped(net, &[CONTROL]);
}

#[test]
fn a_broken_control_queue_is_mended_by_a_reset() {
    a_broken_queue_is_mended_by_a_reset(net, &[CONTROL]);
}

/// A device between a driver and wires.
struct Multi {
    driver: FakeDriver,
    counters: Arc<Counters>,
    handle: NetHandle,
    worlds: Vec<World>,
}

impl Multi {
    fn new() -> Self {
        let (net, worlds) = net();
        Self::on(net, worlds)
    }

    fn on(net: Net, worlds: Vec<World>) -> Self {
        Self {
            counters: net.counters(),
            handle: net.handle(),
            driver: FakeDriver::started(net, u64::MAX),
            worlds,
        }
    }

    /// Makes a command available. Returns where its answer goes.
    fn add_command(&mut self, queue: usize, command: &[u8]) -> Buffer {
        let command = self.driver.readable(command);
        let answer = self.driver.writable(1);
        self.driver.add(queue, &[command, answer]);
        self.driver.kick(queue);
        answer
    }

    fn command_on(&mut self, queue: usize, command: &[u8]) -> u8 {
        let answer = self.add_command(queue, command);
        assert_eq!(self.driver.wait(queue).written, 1);
        self.driver.contents(answer)[0]
    }

    fn use_pairs(&mut self, count: u16) -> u8 {
        let [low, high] = count.to_le_bytes();
        self.command_on(CONTROL, &[MQ, 0, low, high])
    }

    /// Which ports packets are to come to.
    fn in_use(&self) -> Vec<bool> {
        let worlds = self.worlds.iter();
        let said = worlds.map(|world| world.wire.lock().unwrap().in_use);
        said.map(|said| said.expect("every port was told"))
            .collect()
    }

    fn add_packet(&mut self, pair: usize, seed: u8) {
        let buffer = self.driver.readable(&packet(seed, 60));
        self.driver.add(transmit(pair), &[buffer]);
        self.driver.kick(transmit(pair));
    }

    fn assert_sent(&mut self, pair: usize, seed: u8) {
        let mut sent = [0; 100];
        let (len, _) = recv(&self.worlds[pair].peer, &mut sent[..], RecvFlags::empty()).unwrap();
        assert_eq!(sent[..len], packet(seed, 60));
        self.driver.wait(transmit(pair));
    }

    fn arrive(&self, pair: usize, seed: u8) {
        let sent = send(
            &self.worlds[pair].peer,
            &packet(seed, 60),
            SendFlags::empty(),
        );
        assert_eq!(sent, Ok(60));
    }

    fn post(&mut self, pair: usize) -> Buffer {
        let buffer = self.driver.writable(2000);
        self.driver.add(receive(pair), &[buffer]);
        self.driver.kick(receive(pair));
        buffer
    }

    fn assert_received(&mut self, pair: usize, seed: u8, buffer: Buffer) {
        assert_eq!(self.driver.wait(receive(pair)).written, 60);
        assert_eq!(
            self.driver.contents(buffer)[..60],
            in_buffers(&packet(seed, 60), 1)
        );
    }

    /// Has every worker finish what it does.
    fn settle(&mut self) {
        self.driver.transport.pause().unwrap();
        self.driver.transport.resume();
    }
}

#[test]
fn the_driver_is_told_of_several_pairs_if_there_are_several() {
    let mut multi = Multi::new();
    let several = 1 << VIRTIO_NET_F_MQ | 1 << VIRTIO_NET_F_CTRL_VQ;
    assert_eq!(multi.driver.offered_features() & several, several);
    assert_eq!(multi.driver.config(8, 2), [3, 0]);
    let mut one = Bench::new(u64::MAX);
    assert_eq!(one.driver.offered_features() & several, 0);
    assert_eq!(one.driver.config(8, 2), [0, 0]);
}

#[test]
fn pairs_come_into_use_when_the_driver_says_so() {
    let mut multi = Multi::new();
    assert_eq!(multi.in_use(), [true, false, false]);
    multi.add_packet(1, 1);
    assert_eq!(multi.use_pairs(1), OK);
    multi.settle();
    assert_eq!(multi.driver.used(transmit(1)), None);

    assert_eq!(multi.use_pairs(2), OK);
    assert_eq!(multi.in_use(), [true, true, false]);
    multi.assert_sent(1, 1);
    assert_eq!(multi.use_pairs(3), OK);
    assert_eq!(multi.in_use(), [true, true, true]);
    for pair in 0..PAIRS {
        let buffer = multi.post(pair);
        multi.arrive(pair, 7);
        multi.assert_received(pair, 7, buffer);
        multi.add_packet(pair, 9);
    }
    for pair in 0..PAIRS {
        multi.assert_sent(pair, 9);
    }
    assert_eq!(multi.counters.transmit.packets.get(), 4);
    assert_eq!(multi.counters.receive.packets.get(), 3);
}

#[test]
fn a_pair_that_is_given_up_rests_with_its_buffers_until_it_is_used_again() {
    let mut multi = Multi::new();
    assert_eq!(multi.use_pairs(3), OK);
    let first = multi.post(1);
    multi.arrive(1, 1);
    multi.assert_received(1, 1, first);
    let second = multi.post(1);
    assert_eq!(multi.use_pairs(1), OK);
    assert_eq!(multi.in_use(), [true, false, false]);
    multi.arrive(1, 2);
    multi.settle();
    assert_eq!(multi.driver.used(receive(1)), None);
    assert_eq!(multi.worlds[1].wire.lock().unwrap().received, 1);
    assert_eq!(multi.use_pairs(2), OK);
    // A wire keeps what a tap's queue would have lost.
    multi.assert_received(1, 2, second);
}

#[test]
fn commands_that_make_no_sense_are_refused_and_change_nothing() {
    let mut multi = Multi::new();
    assert_eq!(multi.use_pairs(2), OK);
    let mut refused = 0;
    for pairs in [0, 4, 0x8000, 0x8001, 0xffff] {
        assert_eq!(multi.use_pairs(pairs), ERR, "{pairs} pairs");
        refused += 1;
    }
    for command in [
        &[][..],
        &[MQ],
        &[MQ, 0],
        &[MQ, 0, 3],
        &[MQ, 0, 3, 0, 0],
        &[MQ, 1, 3, 0],
        &[MQ, 0xff, 3, 0],
        &[MQ - 1, 0, 3, 0],
        &[0xff; 4],
        &[0; 4096],
    ] {
        let answer = match command {
            [] => {
                let answer = multi.driver.writable(1);
                multi.driver.request(CONTROL, &[answer]);
                multi.driver.contents(answer)[0]
            }
            command => multi.command_on(CONTROL, command),
        };
        assert_eq!(answer, ERR, "{command:?}");
        refused += 1;
    }
    // Without room for an answer nothing is done.
    let silent = multi.driver.readable(&[MQ, 0, 3, 0]);
    assert_eq!(multi.driver.request(CONTROL, &[silent]).written, 0);
    assert_eq!(multi.counters.refused_commands.get(), refused + 1);
    assert_eq!(multi.in_use(), [true, true, false]);
    assert!(!multi.driver.needs_reset());
    assert_eq!(multi.use_pairs(3), OK);
}

#[test]
fn a_network_that_is_gone_is_an_answer_and_no_hang() {
    let mut multi = Multi::new();
    let gone = Some(io::ErrorKind::NotConnected);
    multi.worlds[2].wire.lock().unwrap().in_use_error = gone;
    assert_eq!(multi.use_pairs(3), ERR);
    assert_eq!(multi.in_use(), [true, true, false]);
    assert_eq!(multi.use_pairs(3), OK);
    assert_eq!(multi.in_use(), [true, true, true]);
}

#[test]
fn a_pause_keeps_the_pairs_and_a_reset_forgets_them() {
    let mut multi = Multi::new();
    assert_eq!(multi.use_pairs(3), OK);
    multi.settle();
    assert_eq!(multi.in_use(), [true, true, true]);
    multi.add_packet(2, 5);
    multi.assert_sent(2, 5);
    multi
        .driver
        .write(virtio_bindings::virtio_mmio::VIRTIO_MMIO_STATUS, 0);
    assert_eq!(multi.in_use(), [true, false, false]);
    multi.driver.start(u64::MAX);
    assert_eq!(multi.in_use(), [true, false, false]);
    assert_eq!(multi.use_pairs(2), OK);
    multi.add_packet(1, 6);
    multi.assert_sent(1, 6);
}

#[test]
fn a_command_in_the_midst_of_a_pause_is_carried_out_and_answered_once() {
    let mut multi = Multi::new();
    for round in 0..50u8 {
        let pairs = 1 + round % 3;
        let answer = multi.add_command(CONTROL, &[MQ, 0, pairs, 0]);
        multi.settle();
        multi.driver.wait(CONTROL);
        assert_eq!(multi.driver.contents(answer), [OK]);
        assert_eq!(multi.driver.used(CONTROL), None);
        let expected: Vec<_> = (0..3).map(|pair| pair < pairs).collect();
        assert_eq!(multi.in_use(), expected);
    }
}

#[test]
fn a_reset_in_the_midst_of_traffic_ends_that_of_every_pair() {
    let mut multi = Multi::new();
    for round in 0..20 {
        assert_eq!(multi.use_pairs(3), OK);
        for pair in 0..PAIRS {
            multi.post(pair);
            multi.arrive(pair, round);
            multi.add_packet(pair, round);
        }
        multi.add_command(CONTROL, &[MQ, 0, 2, 0]);
        multi.driver.start(u64::MAX);
        assert_eq!(multi.in_use(), [true, false, false]);
        assert!(!multi.driver.needs_reset());
    }
    while let Ok((_, _)) = recv(
        &multi.worlds[0].peer,
        &mut [0; 100][..],
        RecvFlags::DONTWAIT,
    ) {}
    multi.add_packet(0, 77);
    multi.assert_sent(0, 77);
}

/// Then the control queue is the third (§5.1.2), and nothing can be set.
#[test]
fn a_driver_that_knows_one_pair_only_has_that() {
    let mut multi = Multi::new();
    multi.driver.start(!(1 << VIRTIO_NET_F_MQ));
    assert_eq!(multi.command_on(2, &[MQ, 0, 1, 0]), ERR);
    assert_eq!(multi.command_on(2, &[MQ, 0, 2, 0]), ERR);
    assert_eq!(multi.in_use(), [true, false, false]);
    multi.add_packet(0, 3);
    multi.assert_sent(0, 3);
}

#[test]
fn a_limit_is_the_interface_s_and_not_the_pair_s() {
    let (ports, reactors, worlds) = worlds();
    let clocks = [FakeClock::new(), FakeClock::new()];
    let make_clocks = || Ok(clocks.clone());
    let net = Net::with_clocks(ports, options(None), reactors, make_clocks).unwrap();
    let mut multi = Multi::on(net, worlds);
    assert_eq!(multi.use_pairs(3), OK);
    let [_, clock] = &clocks;
    let limit = Limit::per_second(1000).unwrap().with_burst(2).unwrap();
    let limits = Limits::new(Some(limit), None);
    multi.handle.transmit().set_at(limits, clock.now());
    for pair in 0..2 {
        multi.add_packet(pair, 1);
        multi.assert_sent(pair, 1);
    }
    for turn in 1..=6 {
        multi.add_packet(turn % 3, 2);
        clock.ring_after(Duration::from_millis(1));
        multi.assert_sent(turn % 3, 2);
        let throttled = multi.handle.transmit().throttled();
        assert_eq!(throttled.operations.get(), turn as u64);
    }
}

#[test]
fn all_ports_of_a_severed_device_are_closed() {
    let mut multi = Multi::new();
    assert_eq!(multi.use_pairs(3), OK);
    multi.driver.take_backend_away();
    for pair in 0..PAIRS {
        let refused = send(&multi.worlds[pair].peer, b"any", SendFlags::NOSIGNAL);
        assert_eq!(refused, Err(rustix::io::Errno::PIPE));
        multi.add_packet(pair, 1);
        multi.driver.wait(transmit(pair));
    }
    assert_eq!(multi.use_pairs(1), OK);
}
