//! Memory that grows, as its driver and its host see it.

use std::sync::Arc;

use proptest::prelude::*;

use super::blocks::{BLOCK, Blocks, State};
use super::device::Mem;
use super::handle::MemHandle;
use super::shared::Shared;
use super::worker::MemWorker;
use crate::reactor::{Reactor, Worker};
use crate::virtio::contract::device_contract;
use crate::virtio::fake_driver::{Buffer, FakeDriver, MEMORY};
use crate::virtio::loopback::shelved;
use crate::virtio::transport::RegisterMap;

/// The upper half of the fake driver's memory.
const START: u64 = MEMORY as u64 / 2;
const SIZE: u64 = MEMORY as u64 / 2;
const COUNT: u16 = 16;

const PLUG: u16 = 0;
const UNPLUG: u16 = 1;
const UNPLUG_ALL: u16 = 2;
const STATE: u16 = 3;

const ACK: u16 = 0;
const NACK: u16 = 1;
const ERROR: u16 = 3;

fn mem() -> (Mem, Reactor) {
    let reactor = Reactor::spawn("test").unwrap();
    let mem = Mem::new(START..START + SIZE, reactor.handle()).unwrap();
    (mem, reactor)
}

device_contract!(mem, queues: [0]);

/// A driver with the device. The driver goes first, then the reactor.
struct Bench {
    driver: FakeDriver,
    mem: MemHandle,
    _reactor: Reactor,
}

impl Bench {
    fn new() -> Self {
        let (mem, reactor) = mem();
        Self {
            mem: mem.handle(),
            driver: FakeDriver::started(mem, u64::MAX),
            _reactor: reactor,
        }
    }

    /// Makes a request; answers with the types of response and state.
    fn ask(&mut self, kind: u16, address: u64, count: u16) -> (u16, u16) {
        let mut request = vec![0xee; 24];
        request[..2].copy_from_slice(&kind.to_le_bytes());
        request[8..16].copy_from_slice(&address.to_le_bytes());
        request[16..18].copy_from_slice(&count.to_le_bytes());
        let request = self.driver.readable(&request);
        let response = self.driver.writable(10);
        assert_eq!(self.driver.request(0, &[request, response]).written, 10);
        let response = self.driver.contents(response);
        let word = |at: usize| u16::from_le_bytes([response[at], response[at + 1]]);
        (word(0), word(8))
    }

    fn ask_ok(&mut self, kind: u16, block: u64, count: u16) {
        assert_eq!(self.ask(kind, START + block * BLOCK, count), (ACK, 0));
    }

    /// A field of configuration space.
    fn field(&mut self, offset: u64) -> u64 {
        let bytes = self.driver.config(offset, 8);
        u64::from_le_bytes(bytes.try_into().unwrap())
    }

    fn plugged(&mut self) -> u64 {
        let field = self.field(40);
        assert_eq!(field, self.mem.plugged());
        field / BLOCK
    }

    fn faults(&self) -> u64 {
        self.mem.counters().faults.get()
    }
}

#[test]
fn configuration_space_tells_the_region_and_what_is_wanted() {
    let mut bench = Bench::new();
    bench.mem.request(3 * BLOCK).unwrap();
    let fields = [0, 8, 16, 24, 32, 40, 48].map(|offset| bench.field(offset));
    assert_eq!(fields, [BLOCK, 0, START, SIZE, SIZE, 0, 3 * BLOCK]);
    bench.driver.set_config(0, &[0xff; 56]);
    assert_eq!(bench.field(48), 3 * BLOCK);
}

#[test]
fn a_request_is_told_to_the_driver() {
    let mut bench = Bench::new();
    bench.driver.take_interrupts();
    bench.mem.request(BLOCK).unwrap();
    assert!(bench.driver.take_interrupts() > 0);
    bench.mem.request(BLOCK).unwrap();
    assert_eq!(bench.driver.take_interrupts(), 0, "nothing changed");

    bench.driver.transport.pause().unwrap();
    bench.mem.request(2 * BLOCK).unwrap();
    bench.driver.take_interrupts();
    bench.driver.transport.resume();
    assert!(bench.driver.take_interrupts() > 0, "told after a pause");
}

#[test]
fn only_amounts_that_can_be_are_asked_for() {
    let (mem, _reactor) = mem();
    let mem = mem.handle();
    mem.request(SIZE).unwrap();
    for bytes in [1, BLOCK - 1, SIZE + BLOCK, u64::MAX] {
        let error = mem.request(bytes).unwrap_err().to_string();
        assert!(error.contains(&bytes.to_string()), "{error}");
        assert!(error.contains(&format!("{SIZE} at most")), "{error}");
    }
    assert_eq!(mem.requested(), SIZE);
}

#[test]
fn regions_that_are_not_whole_blocks_are_refused() {
    let reactor = Reactor::spawn("test").unwrap();
    #[allow(clippy::reversed_empty_ranges)] // That is the point.
    for region in [1..BLOCK, 0..BLOCK + 1, 0..0, 2 * BLOCK..BLOCK] {
        assert!(Mem::new(region, reactor.handle()).is_err());
    }
}

#[test]
fn blocks_are_plugged_as_far_as_is_wanted() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask(PLUG, START, 1).0, NACK, "nothing is wanted");
    bench.mem.request(4 * BLOCK).unwrap();
    bench.ask_ok(PLUG, 0, 3);
    assert_eq!(bench.plugged(), 3);
    assert_eq!(bench.ask(PLUG, START + 8 * BLOCK, 2).0, NACK);
    bench.ask_ok(PLUG, 15, 1);
    assert_eq!(bench.plugged(), 4);
    assert_eq!(bench.ask(PLUG, START + 8 * BLOCK, 1).0, NACK);
    assert_eq!(bench.faults(), 0, "a driver may be late to know");
}

#[test]
fn unplugged_blocks_go_back_to_the_host() {
    let mut bench = Bench::new();
    bench.mem.request(SIZE).unwrap();
    bench.ask_ok(PLUG, 0, COUNT);
    let block = usize::try_from(BLOCK).unwrap();
    bench.driver.poke(START, &vec![1; 3 * block]);
    let before = bench.driver.ram.resident().unwrap();
    bench.ask_ok(UNPLUG, 1, 1);
    let after = bench.driver.ram.resident().unwrap();
    assert!(after + BLOCK <= before + 4096 * 4, "{before} {after}");
    assert_eq!(bench.driver.peek(START + BLOCK - 1, 2), [1, 0]);
    assert_eq!(bench.driver.peek(START + 2 * BLOCK - 1, 2), [0, 1]);
    assert_eq!(bench.plugged(), u64::from(COUNT) - 1);

    bench.ask_ok(UNPLUG_ALL, 0, 0);
    assert_eq!(bench.plugged(), 0);
    assert_eq!(bench.driver.peek(START, 2), [0, 0]);
    assert_eq!(bench.mem.counters().unplugged_bytes.get(), SIZE);
    assert_eq!(bench.mem.counters().plugged_bytes.get(), SIZE);
    bench.ask_ok(UNPLUG_ALL, 0, 0);
}

#[test]
fn the_state_of_blocks_is_told() {
    let mut bench = Bench::new();
    bench.mem.request(SIZE).unwrap();
    bench.ask_ok(PLUG, 4, 4);
    for (block, count, state) in [(4, 4, 0), (0, 4, 1), (8, 8, 1), (3, 2, 2), (0, 16, 2)] {
        let address = START + block * BLOCK;
        assert_eq!(
            bench.ask(STATE, address, count),
            (ACK, state),
            "{block} {count}"
        );
    }
}

#[test]
fn what_no_driver_should_ask_for_changes_nothing() {
    let mut bench = Bench::new();
    bench.mem.request(SIZE).unwrap();
    bench.ask_ok(PLUG, 4, 4);
    let last = START + SIZE;
    let outside = [
        (START + 1, 1),
        (START + BLOCK / 2, 1),
        (START, 0),
        (START - BLOCK, 1),
        (START - BLOCK, 2),
        (last, 1),
        (last - BLOCK, 2),
        (START, COUNT + 1),
        (START, u16::MAX),
        (0, u16::MAX),
        (u64::MAX - BLOCK + 1, 1),
        (u64::MAX, u16::MAX),
    ];
    for kind in [PLUG, UNPLUG, STATE] {
        for (address, count) in outside {
            assert_eq!(
                bench.ask(kind, address, count).0,
                ERROR,
                "{address:#x} {count}"
            );
        }
    }
    // Plugged already, in part; unplugged already, in part.
    for (kind, block, count) in [(PLUG, 4, 1), (PLUG, 3, 2), (UNPLUG, 0, 1), (UNPLUG, 7, 2)] {
        assert_eq!(bench.ask(kind, START + block * BLOCK, count).0, ERROR);
    }
    assert_eq!(bench.ask(4, START, 1).0, ERROR);
    assert_eq!(bench.ask(u16::MAX, START, 1).0, ERROR);
    assert_eq!(bench.plugged(), 4);
    assert_eq!(bench.faults(), 3 * 12 + 4 + 2);
}

#[test]
fn a_request_that_is_cut_off_or_leaves_no_room_is_not_carried_out() {
    let mut bench = Bench::new();
    bench.mem.request(SIZE).unwrap();
    bench.ask_ok(PLUG, 0, 1);
    let whole = bench.driver.readable(&[&[2, 0][..], &[0; 22]].concat());
    let short = bench.driver.readable(&[&[2, 0][..], &[0; 21]].concat());
    let room = bench.driver.writable(10);
    let no_room = bench.driver.writable(9);
    for buffers in [[short, room], [whole, no_room]] {
        assert_eq!(bench.driver.request(0, &buffers).written, 0);
    }
    assert_eq!((bench.plugged(), bench.faults()), (1, 2));
}

#[test]
fn blocks_outlive_a_pause_and_a_reset() {
    let mut bench = Bench::new();
    bench.mem.request(SIZE).unwrap();
    bench.ask_ok(PLUG, 2, 3);
    bench.driver.poke(START + 2 * BLOCK, &[7]);
    bench.driver.transport.pause().unwrap();
    bench.driver.transport.resume();
    assert_eq!(bench.plugged(), 3);
    bench.driver.start(u64::MAX);
    assert_eq!(bench.plugged(), 3);
    assert_eq!(bench.ask(STATE, START + 2 * BLOCK, 3), (ACK, 0));
    assert_eq!(bench.driver.peek(START + 2 * BLOCK, 1), [7]);
    // What Linux's driver does when it finds memory plugged.
    bench.ask_ok(UNPLUG_ALL, 0, 0);
    assert_eq!(bench.plugged(), 0);
}

#[test]
fn a_reset_of_the_machine_unplugs_everything_and_the_next_guest_is_asked_for_as_much() {
    let mut bench = Bench::new();
    bench.mem.request(4 * BLOCK).unwrap();
    bench.ask_ok(PLUG, 2, 3);
    let device = bench.driver.transport.transport().take_device().unwrap();
    bench.driver = FakeDriver::boxed(device);
    bench.driver.start(u64::MAX);
    assert_eq!(bench.plugged(), 0);
    assert!(bench.driver.take_interrupts() > 0, "it is told");
    assert_eq!(bench.field(48), 4 * BLOCK);
    let counters = bench.mem.counters();
    assert_eq!(counters.plugged_bytes.get(), counters.unplugged_bytes.get());
    bench.ask_ok(PLUG, 0, 4);
}

/// A worker that is woken by hand, and the driver at its queue.
fn worker_by_hand() -> (MemWorker, FakeDriver) {
    let (driver, queue) = shelved(0);
    let shared = Arc::new(Shared::new(START..START + SIZE));
    let mut blocks = Blocks::new(START..START + SIZE);
    let region = blocks.region();
    blocks.set(&region, true);
    (MemWorker::new(queue, blocks, shared), driver)
}

/// Makes the request available, and says where the response will be.
fn add_unplug_all(driver: &mut FakeDriver) -> Buffer {
    let request = driver.readable(&[&UNPLUG_ALL.to_le_bytes()[..], &[0; 22]].concat());
    let response = driver.writable(10);
    driver.add(0, &[request, response]);
    response
}

#[test]
fn much_is_unplugged_in_several_turns_and_plugged_until_the_last() {
    let (mut worker, mut driver) = worker_by_hand();
    driver.poke(START + SIZE - 1, &[7]);
    add_unplug_all(&mut driver);
    add_unplug_all(&mut driver);
    let mut turns = 0;
    while driver.used(0).is_none() {
        assert!(turns < 10, "it comes to an end");
        worker.ready(0);
        turns += 1;
    }
    assert_eq!(turns, 2);
    assert_eq!(driver.peek(START + SIZE - 1, 1), [0]);
    assert_eq!(driver.used(0), None, "the next has its own turns");
    worker.ready(0);
    assert!(driver.used(0).is_some());
    assert_eq!(worker.into_parts().1.plugged_bytes(), 0);
}

#[test]
fn what_is_half_unplugged_when_the_device_pauses_is_unplugged_after_it() {
    let (mut worker, mut driver) = worker_by_hand();
    let response = add_unplug_all(&mut driver);
    worker.ready(0);
    let (queue, blocks) = worker.into_parts();
    assert_eq!(driver.used(0), None);
    assert_eq!(blocks.plugged_bytes(), SIZE, "nothing or all");
    let shared = Arc::new(Shared::new(START..START + SIZE));
    let mut worker = MemWorker::new(queue, blocks, shared);
    worker.ready(0);
    worker.ready(0);
    assert_eq!(driver.used(0).unwrap().written, 10);
    assert_eq!(driver.contents(response)[..2], ACK.to_le_bytes());
    assert_eq!(worker.into_parts().1.plugged_bytes(), 0);
}

#[test]
fn an_unplugged_region_may_hold_the_request_itself() {
    let mut bench = Bench::new();
    let request = [&UNPLUG_ALL.to_le_bytes()[..], &[0; 22]].concat();
    bench.driver.poke(START, &request);
    let request = Buffer::Readable {
        address: START,
        len: 24,
    };
    let response = Buffer::Writable {
        address: START + 100,
        len: 10,
    };
    assert_eq!(bench.driver.request(0, &[request, response]).written, 10);
    assert_eq!(bench.driver.contents(response), [0; 10]);
    assert_eq!(bench.driver.contents(request), [0; 24]);
}

proptest! {
    /// Whatever is set in whatever order, the count is of what is plugged.
    #[test]
    fn the_count_is_of_what_is_plugged(
        steps in prop::collection::vec((0u64..16, 1u16..8, any::<bool>()), 0..40),
    ) {
        let mut blocks = Blocks::new(START..START + SIZE);
        for (block, count, plug) in steps {
            let Some(range) = blocks.range(START + block * BLOCK, count) else {
                continue;
            };
            let other = if plug { State::Unplugged } else { State::Plugged };
            if blocks.state(&range) == other {
                blocks.set(&range, plug);
            }
        }
        let plugged = (0..16).filter(|block| {
            let range = blocks.range(START + block * BLOCK, 1).unwrap();
            blocks.state(&range) == State::Plugged
        });
        prop_assert_eq!(blocks.plugged_bytes(), plugged.count() as u64 * BLOCK);
    }
}
