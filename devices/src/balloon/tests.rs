//! A balloon as its driver and its host see it.

use std::time::{Duration, Instant};

use super::config::{F_PAGE_POISON, F_PAGE_REPORTING, F_STATS_VQ};
use super::device::Balloon;
use super::handle::{BalloonHandle, FLOOR};
use super::statistics::MemoryStatistics;
use crate::reactor::Reactor;
use crate::virtio::contract::device_contract;
use crate::virtio::fake_driver::{Buffer, FakeDriver, MEMORY, REGION_BOUNDARY};

/// What the guest is said to have, more than the fake driver's memory.
const GUEST: u64 = 1 << 30;
const PAGE: u64 = 4096;
/// A page that nothing else of the driver lies in.
const SPARE: u64 = 0x180_0000;

const INFLATE: usize = 0;
const DEFLATE: usize = 1;
const STATISTICS: usize = 2;
const REPORTING: usize = 4;

fn balloon() -> (Balloon, Reactor) {
    let reactor = Reactor::spawn("test").unwrap();
    (Balloon::new(GUEST, reactor.handle()).unwrap(), reactor)
}

device_contract!(balloon, queues: [0, 1]);

/// A driver with a balloon. The driver goes first, then the reactor.
struct Bench {
    driver: FakeDriver,
    balloon: BalloonHandle,
    _reactor: Reactor,
}

impl Bench {
    fn new() -> Self {
        Self::accepting(!(1 << F_PAGE_POISON))
    }

    fn accepting(features: u64) -> Self {
        let (balloon, reactor) = balloon();
        Self {
            balloon: balloon.handle(),
            driver: FakeDriver::started(balloon, features),
            _reactor: reactor,
        }
    }

    /// Names pages on a queue.
    fn name(&mut self, queue: usize, pages: &[u64]) {
        let number = |page: &u64| u32::try_from(page / PAGE).unwrap().to_le_bytes();
        let numbers: Vec<u8> = pages.iter().flat_map(number).collect();
        let buffer = self.driver.readable(&numbers);
        assert_eq!(self.driver.request(queue, &[buffer]).written, 0);
    }

    /// Fills pages, so that it shows which are still there.
    fn fill(&self, page: u64, count: usize) {
        self.driver.poke(page, &vec![1; count * 4096]);
    }

    fn is_full(&self, page: u64) -> bool {
        match self.driver.peek(page, 4096) {
            bytes if bytes == [1; 4096] => true,
            bytes if bytes == [0; 4096] => false,
            _ => panic!("page {page:#x} is neither whole nor gone"),
        }
    }

    /// Waits for a configuration change interrupt.
    fn is_told(&mut self) -> bool {
        let status = self
            .driver
            .read(virtio_bindings::virtio_mmio::VIRTIO_MMIO_INTERRUPT_STATUS);
        self.driver.take_interrupts() > 0 && status & 2 != 0
    }

    fn faults(&self) -> u64 {
        self.balloon.counters().faults.get()
    }

    fn inflated(&self) -> u64 {
        self.balloon.counters().inflated_bytes.get()
    }
}

#[test]
fn inflated_pages_go_back_to_the_host_and_can_be_used_again() {
    let mut bench = Bench::new();
    bench.fill(SPARE, 8);
    // Falling, with a neighbour apart from the others.
    let pages = [6, 3, 2, 1].map(|page| SPARE + page * PAGE);
    bench.name(INFLATE, &pages);
    assert_eq!(bench.inflated(), 4 * PAGE);
    let full: Vec<bool> = (0..8)
        .map(|page| bench.is_full(SPARE + page * PAGE))
        .collect();
    assert_eq!(full, [true, false, false, false, true, true, false, true]);
    bench.name(DEFLATE, &pages);
    assert_eq!(bench.balloon.counters().deflated_bytes.get(), 4 * PAGE);
    bench.fill(SPARE, 8);
    assert!(bench.is_full(SPARE + PAGE));
    assert_eq!(bench.faults(), 0);
}

#[test]
fn inflating_lowers_what_is_resident() {
    let mut bench = Bench::new();
    bench.fill(SPARE, 64);
    // The request's own buffer is there before.
    bench.name(DEFLATE, &[]);
    let before = bench.driver.ram.resident().unwrap();
    let pages: Vec<u64> = (0..64).map(|page| SPARE + page * PAGE).collect();
    bench.name(INFLATE, &pages);
    let after = bench.driver.ram.resident().unwrap();
    assert!(after + 60 * PAGE <= before, "{before} {after}");
}

#[test]
fn pages_outside_memory_are_faults_and_the_others_are_taken() {
    let mut bench = Bench::new();
    bench.fill(SPARE, 1);
    let outside = MEMORY as u64 + 16 * PAGE;
    let last = u64::from(u32::MAX) * PAGE;
    bench.name(INFLATE, &[outside, SPARE, last]);
    assert_eq!((bench.faults(), bench.inflated()), (2, PAGE));
    assert!(!bench.is_full(SPARE));
}

#[test]
fn pages_are_taken_across_regions() {
    let mut bench = Bench::new();
    bench.fill(REGION_BOUNDARY - PAGE, 2);
    bench.name(INFLATE, &[REGION_BOUNDARY - PAGE, REGION_BOUNDARY]);
    assert_eq!((bench.faults(), bench.inflated()), (0, 2 * PAGE));
}

#[test]
fn a_page_named_again_and_again_is_taken_once() {
    let mut bench = Bench::new();
    bench.name(INFLATE, &[SPARE; 200]);
    assert_eq!((bench.faults(), bench.inflated()), (199, PAGE));
}

#[test]
fn of_an_endless_list_only_the_beginning_is_read() {
    let mut bench = Bench::new();
    // Page number 0, sixteen million times.
    let list = Buffer::Readable {
        address: REGION_BOUNDARY,
        len: u32::try_from(REGION_BOUNDARY).unwrap() / 2,
    };
    assert_eq!(bench.driver.request(INFLATE, &[list; 4]).written, 0);
    assert_eq!(bench.inflated(), 4 * PAGE, "once for each part of the list");
    assert_eq!(bench.faults(), 4 * 255 + 1);
    assert_eq!(bench.driver.request(DEFLATE, &[list]).written, 0);
    bench.fill(SPARE, 1);
    bench.name(INFLATE, &[SPARE]);
    assert!(!bench.is_full(SPARE));
}

#[test]
fn bytes_that_are_no_number_are_a_fault() {
    let mut bench = Bench::new();
    bench.fill(SPARE, 1);
    let number = u32::try_from(SPARE / PAGE).unwrap().to_le_bytes();
    let buffer = bench.driver.readable(&[&number[..], &[1, 2, 3]].concat());
    bench.driver.request(INFLATE, &[buffer]);
    assert_eq!((bench.faults(), bench.inflated()), (1, PAGE));
}

#[test]
fn reported_pages_go_back_to_the_host() {
    // A driver that fills free pages with zeroes finds zeroes in them.
    for features in [0, 1 << F_PAGE_POISON] {
        let features = features | 1 << F_PAGE_REPORTING;
        let mut bench = Bench::accepting(features);
        bench.fill(SPARE, 8);
        let report = [(0, 2), (5, 1)].map(|(page, count)| Buffer::Writable {
            address: SPARE + page * PAGE,
            len: count * 4096,
        });
        assert_eq!(bench.driver.request(REPORTING, &report).written, 0);
        assert_eq!(bench.balloon.counters().reported_bytes.get(), 3 * PAGE);
        assert!(
            !bench.is_full(SPARE)
                && !bench.is_full(SPARE + PAGE)
                && bench.is_full(SPARE + 2 * PAGE)
        );
        assert_eq!(bench.faults(), 0);
    }
}

#[test]
fn reported_pages_that_are_to_keep_a_value_keep_it() {
    let mut bench = Bench::accepting(u64::MAX);
    bench.driver.set_config(12, &0xaaaa_aaaa_u32.to_le_bytes());
    bench.fill(SPARE, 1);
    let report = Buffer::Writable {
        address: SPARE,
        len: 4096,
    };
    bench.driver.request(REPORTING, &[report]);
    assert!(bench.is_full(SPARE));
    // In the balloon they need not.
    bench.name(INFLATE, &[SPARE]);
    assert!(!bench.is_full(SPARE));
}

#[test]
fn reports_that_are_too_long_or_not_of_memory_are_faults() {
    let mut bench = Bench::new();
    bench.fill(SPARE, 1);
    let piece = Buffer::Writable {
        address: SPARE,
        len: 4096,
    };
    bench.driver.request(REPORTING, &[piece; 65]);
    assert_eq!(bench.faults(), 1);
    let outside = Buffer::Writable {
        address: MEMORY as u64,
        len: 4096,
    };
    bench.driver.request(REPORTING, &[outside]);
    assert_eq!(bench.faults(), 2);
    assert!(bench.is_full(SPARE));
    let half = Buffer::Writable {
        address: SPARE + 1,
        len: 4095,
    };
    bench.driver.request(REPORTING, &[half]);
    assert!(bench.is_full(SPARE));
    assert_eq!(bench.balloon.counters().reported_bytes.get(), 0);
}

#[test]
fn a_target_is_told_and_what_came_of_it_is_known() {
    let mut bench = Bench::new();
    bench.driver.take_interrupts();
    bench.balloon.set_target(5 * PAGE + 1).unwrap();
    assert!(bench.is_told());
    assert_eq!(bench.driver.config(0, 4), 5_u32.to_le_bytes());
    assert_eq!(
        (bench.balloon.target(), bench.balloon.actual()),
        (5 * PAGE, 0)
    );
    bench.driver.set_config(4, &3_u32.to_le_bytes());
    assert_eq!(bench.balloon.actual(), 3 * PAGE);
    assert_eq!(bench.driver.config(4, 4), 3_u32.to_le_bytes());

    bench.balloon.set_target(5 * PAGE).unwrap();
    assert!(!bench.is_told(), "nothing changed");
}

#[test]
fn a_target_leaves_the_guest_what_it_needs() {
    let (balloon, _reactor) = balloon();
    let balloon = balloon.handle();
    balloon.set_target(GUEST - FLOOR).unwrap();
    let error = balloon
        .set_target(GUEST - FLOOR + PAGE)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&format!("ask for {} or less", GUEST - FLOOR)),
        "{error}"
    );
    assert!(balloon.set_target(u64::MAX).is_err());
    assert_eq!(balloon.target(), GUEST - FLOOR);
}

#[test]
fn the_driver_cannot_set_its_own_target() {
    let mut bench = Bench::new();
    bench.driver.set_config(0, &[0xff; 16]);
    assert_eq!(bench.balloon.target(), 0);
    assert_eq!(bench.driver.config(0, 4), [0; 4]);
    assert_eq!(bench.driver.config(8, 4), [0; 4]);
}

#[test]
fn a_target_set_during_a_pause_is_told_after_it() {
    let mut bench = Bench::new();
    bench.driver.transport.pause().unwrap();
    bench.balloon.set_target(PAGE).unwrap();
    bench.driver.take_interrupts();
    bench.driver.transport.resume();
    assert!(bench.is_told());
}

#[test]
fn a_new_driver_begins_with_an_empty_balloon_and_the_same_target() {
    let mut bench = Bench::new();
    bench.balloon.set_target(PAGE).unwrap();
    bench.name(INFLATE, &[SPARE]);
    bench.driver.set_config(4, &1_u32.to_le_bytes());
    bench.driver.transport.pause().unwrap();
    bench.driver.transport.resume();
    assert_eq!(bench.balloon.actual(), PAGE, "a pause changes nothing");
    bench.driver.start(u64::MAX);
    assert_eq!((bench.balloon.actual(), bench.balloon.target()), (0, PAGE));
}

/// A buffer of statistics: free memory, and a tag that nobody knows.
fn entries(free: u64) -> Vec<u8> {
    let entry = |tag: u16, value: u64| [&tag.to_le_bytes()[..], &value.to_le_bytes()].concat();
    [entry(0x7777, 1), entry(4, free)].concat()
}

/// Waits until the host knows of this much free memory.
fn known(bench: &Bench, free: u64) -> MemoryStatistics {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        // Not through `statistics`, which would ask again.
        let said = *super::shared::lock(&bench.balloon.0.statistics);
        if let Some(said) = said.filter(|said| said.free == Some(free)) {
            return said;
        }
        assert!(Instant::now() < deadline, "the statistics do not arrive");
        std::thread::yield_now();
    }
}

#[test]
fn statistics_are_what_the_driver_said_last_and_asking_fetches_new_ones() {
    let mut bench = Bench::new();
    assert_eq!(bench.balloon.statistics(), None);
    let first = bench.driver.readable(&entries(100));
    let head = bench.driver.add(STATISTICS, &[first]);
    bench.driver.kick(STATISTICS);
    let said = known(&bench, 100);
    assert_eq!((said.total, said.swap_in), (None, None));

    assert_eq!(bench.balloon.statistics(), Some(said));
    assert_eq!(
        bench.driver.wait(STATISTICS).head,
        head,
        "returned to be filled"
    );
    let second = bench.driver.readable(&entries(200));
    bench.driver.add(STATISTICS, &[second]);
    bench.driver.kick(STATISTICS);
    assert!(known(&bench, 200).received >= said.received);
    assert_eq!(
        bench.driver.used(STATISTICS),
        None,
        "kept until somebody asks"
    );
    assert_eq!(bench.faults(), 0);
}

#[test]
fn the_statistics_buffer_survives_a_pause() {
    let mut bench = Bench::new();
    let buffer = bench.driver.readable(&entries(100));
    let head = bench.driver.add(STATISTICS, &[buffer]);
    bench.driver.kick(STATISTICS);
    known(&bench, 100);
    for _ in 0..3 {
        bench.driver.transport.pause().unwrap();
        bench.driver.transport.resume();
    }
    assert_eq!(bench.driver.used(STATISTICS), None);
    bench.balloon.statistics();
    let deadline = Instant::now() + Duration::from_secs(30);
    let used = loop {
        bench.balloon.statistics();
        if let Some(used) = bench.driver.used(STATISTICS) {
            break used;
        }
        assert!(Instant::now() < deadline, "the buffer is lost");
    };
    assert_eq!(used.head, head);
}

#[test]
fn more_statistics_buffers_than_one_come_back_as_faults() {
    let mut bench = Bench::new();
    let buffers = [1, 2, 3].map(|free| bench.driver.readable(&entries(free)));
    let heads = buffers.map(|buffer| bench.driver.add(STATISTICS, &[buffer]));
    bench.driver.kick(STATISTICS);
    assert_eq!(bench.driver.wait(STATISTICS).head, heads[0]);
    assert_eq!(bench.driver.wait(STATISTICS).head, heads[1]);
    known(&bench, 3);
    assert_eq!(bench.faults(), 2);
}

#[test]
fn endless_and_empty_statistics_are_read_as_far_as_they_make_sense() {
    let mut bench = Bench::new();
    let endless = Buffer::Readable {
        address: REGION_BOUNDARY,
        len: 1 << 24,
    };
    let last = bench.driver.readable(&entries(9));
    let empty = bench.driver.readable(&[]);
    for buffer in [endless, empty, last] {
        bench.driver.add(STATISTICS, &[buffer]);
    }
    bench.driver.kick(STATISTICS);
    assert_eq!(known(&bench, 9).swap_in, None);
}

#[test]
fn a_driver_that_numbers_only_its_queues_reports_on_the_last_one() {
    let without_poison = !(1 << F_PAGE_POISON);
    for (features, last) in [
        (without_poison, REPORTING - 1),
        (without_poison & !(1 << F_STATS_VQ), REPORTING - 2),
    ] {
        let mut bench = Bench::new();
        bench
            .driver
            .start_with(features, u32::try_from(last).unwrap() + 1);
        bench.fill(SPARE, 1);
        let report = Buffer::Writable {
            address: SPARE,
            len: 4096,
        };
        bench.driver.request(last, &[report]);
        assert!(!bench.is_full(SPARE));
    }
}

#[test]
fn a_driver_that_reports_needs_a_queue_for_it() {
    let mut bench = Bench::new();
    bench.driver.start_with(1 << F_PAGE_REPORTING, 2);
    assert!(bench.driver.needs_reset());
    bench.driver.start(u64::MAX);
    bench.name(INFLATE, &[SPARE]);
}
