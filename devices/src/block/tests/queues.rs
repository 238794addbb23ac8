//! Several queues to one disk: each is worked off by itself, and what belongs
//! to the disk they share.

use std::time::Duration;

use virtio_bindings::virtio_blk::{VIRTIO_BLK_F_MQ, VIRTIO_BLK_T_FLUSH};

use super::*;
use crate::block::capacity::ResizeError;
use crate::block::config::WRITEBACK;
use crate::block::id::DiskId;
use crate::clock::AlarmClock;
use crate::clock::fake::FakeClock;
use crate::rate_limit::{Limit, Limits};

const NUM_QUEUES: u64 = 34;

fn disks(file: &File, engine: EngineChoice, queues: u64) -> Disks {
    let options = DiskOptions {
        engine,
        queues: QueueCount::new(queues).unwrap(),
        ..DiskOptions::default()
    };
    open_disk(file.try_clone().unwrap(), options).unwrap().0
}

/// A device with this limit on operations, which goes by a clock.
fn limited(file: &File, rate: u64, burst: u64) -> (Bench, FakeClock) {
    let clock = FakeClock::new();
    let disks = disks(file, EngineChoice::Auto, 2);
    let (reactors, handles) = reactors(2);
    let clocks = || Ok(clock.clone());
    let block = Block::with_clocks(disks, DiskId::default(), OnError::Report, handles, clocks);
    let bench = Bench::on_device(block.unwrap(), reactors, u64::MAX);
    let limit = Limit::per_second(rate).unwrap().with_burst(burst).unwrap();
    let limits = Limits::new(Some(limit), None);
    bench.handle.limiter().set_at(limits, clock.now());
    (bench, clock)
}

impl Bench {
    /// Makes `count` reads available on `queue`.
    fn add_reads_to(&mut self, queue: usize, count: u64) {
        for sector in 0..count {
            let data = self.driver.writable(512);
            self.add_to(queue, VIRTIO_BLK_T_IN, sector, &[data]);
        }
        self.driver.kick(queue);
    }

    /// Makes a request on `queue` and waits for its status.
    fn request_on(&mut self, queue: usize, kind: u32, sector: u64, data: &[Buffer]) -> u8 {
        let (head, status) = self.add_to(queue, kind, sector, data);
        self.driver.kick(queue);
        assert_eq!(self.driver.wait(queue).head, head);
        self.driver.contents(status)[0]
    }

    fn count_used(&mut self, queue: usize) -> usize {
        std::iter::from_fn(|| self.driver.used(queue)).count()
    }
}

#[test]
fn the_driver_is_told_of_more_queues_if_there_are_more() {
    let file = patterned_file();
    for (queues, offered) in [(1, false), (2, true), (16, true)] {
        let mut bench = Bench::new(disks(&file, EngineChoice::Sync, queues));
        let features = bench.driver.offered_features();
        assert_eq!(features & 1 << VIRTIO_BLK_F_MQ != 0, offered);
        let told = u16::try_from(queues).unwrap().to_le_bytes();
        assert_eq!(bench.driver.config(NUM_QUEUES, 2), told);
    }
}

#[test]
fn what_is_written_through_one_queue_is_read_through_another() {
    let file = patterned_file();
    for engine in ENGINES {
        let mut bench = Bench::new(disks(&file, engine, 3));
        let mut written = Vec::new();
        for round in 0..60u8 {
            let queue = usize::from(round % 3);
            let data = bench.driver.readable(&[round; 512]);
            written.push(bench.add_to(queue, VIRTIO_BLK_T_OUT, round.into(), &[data]));
        }
        (0..3).for_each(|queue| bench.driver.kick(queue));
        for round in 0..60 {
            bench.driver.wait(round % 3);
        }
        for (_, status) in written {
            assert_eq!(bench.driver.contents(status), [OK]);
        }
        for round in 0..60u8 {
            let queue = usize::from((round + 1) % 3);
            let data = bench.driver.writable(512);
            let status = bench.request_on(queue, VIRTIO_BLK_T_IN, round.into(), &[data]);
            assert_eq!(
                (status, bench.driver.contents(data)),
                (OK, vec![round; 512])
            );
        }
        assert_eq!(bench.counters.writes.get(), 60);
        assert_eq!(bench.counters.reads.get(), 60);
    }
}

/// A flush is of the open file, which is one for all queues.
#[test]
fn a_flush_through_one_queue_is_a_flush_of_what_all_have_written() {
    let file = patterned_file();
    let disks = disks(&file, EngineChoice::Auto, 2);
    assert!(Arc::ptr_eq(&disks[0].capacity(), &disks[1].capacity()));
    let mut bench = Bench::new(disks);
    let data = bench.driver.readable(&[9; 512]);
    assert_eq!(bench.request_on(0, VIRTIO_BLK_T_OUT, 5, &[data]), OK);
    assert_eq!(bench.request_on(1, VIRTIO_BLK_T_FLUSH, 0, &[]), OK);
    assert_eq!(bench.counters.flushes.get(), 1);
    let mut sector = [0; 512];
    file.read_exact_at(&mut sector, 5 * 512).unwrap();
    assert_eq!(sector, [9; 512]);
}

#[test]
fn the_cache_mode_holds_for_all_queues() {
    let file = patterned_file();
    let mut bench = Bench::new(disks(&file, EngineChoice::Auto, 2));
    bench.driver.set_config(WRITEBACK as u64, &[0]);
    for queue in 0..2 {
        let data = bench.driver.readable(&[1; 512]);
        assert_eq!(bench.request_on(queue, VIRTIO_BLK_T_OUT, 0, &[data]), OK);
        assert_eq!(bench.counters.flushes.get(), queue as u64 + 1);
    }
}

#[test]
fn a_driver_may_leave_queues_out_but_not_the_first() {
    let file = patterned_file();
    let mut bench = Bench::new(disks(&file, EngineChoice::Auto, 4));
    for queues in [1, 3, 4, 2] {
        bench.driver.start_with(u64::MAX, queues);
        for queue in 0..usize::try_from(queues).unwrap() {
            let data = bench.driver.writable(512);
            assert_eq!(bench.request_on(queue, VIRTIO_BLK_T_IN, 0, &[data]), OK);
        }
    }
    bench.driver.start_with(u64::MAX, 0);
    assert!(bench.driver.needs_reset());
    bench.driver.start(u64::MAX);
    let data = bench.driver.writable(512);
    assert_eq!(bench.request_on(3, VIRTIO_BLK_T_IN, 0, &[data]), OK);
}

#[test]
fn a_limit_is_the_disk_s_and_not_the_queue_s() {
    let file = patterned_file();
    let (mut bench, clock) = limited(&file, 1000, 2);
    bench.add_reads_to(0, 2);
    bench.driver.wait(0);
    bench.driver.wait(0);
    for turn in 1..=6 {
        bench.add_reads_to(turn % 2, 1);
        clock.ring_after(Duration::from_millis(1));
        bench.driver.wait(turn % 2);
        assert_eq!(bench.handle.throttled().operations.get(), turn as u64);
    }
}

#[test]
fn a_pause_stops_every_queue_and_finishes_what_waits_there() {
    let file = patterned_file();
    let (mut bench, _clock) = limited(&file, 10, 2);
    bench.add_reads_to(0, 1);
    bench.driver.wait(0);
    bench.add_reads_to(1, 3);
    bench.driver.wait(1);
    bench.add_reads_to(0, 3);
    bench.driver.transport.pause().unwrap();
    assert_eq!(bench.count_used(1), 2);
    // Whether this queue's worker has seen its requests yet or not.
    let finished = bench.count_used(0);
    bench.add_reads_to(1, 3);
    assert_eq!(bench.count_used(0) + bench.count_used(1), 0);
    bench.handle.set_limits(None);
    bench.driver.transport.resume();
    for _ in finished..3 {
        bench.driver.wait(0);
    }
    for _ in 0..3 {
        bench.driver.wait(1);
    }
    assert_eq!(bench.counters.reads.get(), 10);
}

#[test]
fn a_reset_in_the_midst_of_requests_ends_those_of_every_queue() {
    let file = patterned_file();
    for engine in ENGINES {
        let mut bench = Bench::new(disks(&file, engine, 3));
        for _ in 0..20 {
            (0..3).for_each(|queue| bench.add_reads_to(queue, 20));
            bench.driver.start(u64::MAX);
            let read = bench.counters.reads.get();
            for queue in 0..3 {
                let data = bench.driver.writable(512);
                assert_eq!(bench.request_on(queue, VIRTIO_BLK_T_IN, 7, &[data]), OK);
                assert_eq!(bench.driver.contents(data), pattern(7, 512));
            }
            assert_eq!(bench.counters.reads.get(), read + 3);
        }
    }
}

#[test]
fn a_severed_disk_fails_through_every_queue_and_its_file_is_closed() {
    let file = patterned_file();
    let mut bench = Bench::new(disks(&file, EngineChoice::Auto, 2));
    (0..2).for_each(|queue| bench.add_reads_to(queue, 20));
    bench.driver.take_backend_away();
    assert!(matches!(bench.handle.resize(None), Err(ResizeError::Gone)));
    bench.driver.start(u64::MAX);
    for queue in 0..2 {
        let data = bench.driver.writable(512);
        assert_eq!(bench.request_on(queue, VIRTIO_BLK_T_IN, 0, &[data]), IOERR);
    }
}
