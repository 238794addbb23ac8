//! Operations that a limit holds back, by a clock that stands still until it
//! is moved.

use std::time::Duration;

use virtio_bindings::virtio_blk::{VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH};

use super::*;
use crate::block::id::DiskId;
use crate::clock::AlarmClock;
use crate::clock::fake::FakeClock;
use crate::rate_limit::{Limit, Limits};

fn operations(rate: u64, burst: u64) -> Option<Limits> {
    Limits::new(Some(limit(rate, burst)), None)
}

fn limit(rate: u64, burst: u64) -> Limit {
    Limit::per_second(rate).unwrap().with_burst(burst).unwrap()
}

/// A device whose limits go by the clock.
fn limited(file: &File, engine: EngineChoice, limits: Option<Limits>) -> (Bench, FakeClock) {
    let options = DiskOptions {
        engine,
        ..DiskOptions::default()
    };
    let (disks, _) = open_disk(file.try_clone().unwrap(), options).unwrap();
    let clock = FakeClock::new();
    let (reactors, handles) = reactors(disks.len());
    let clocks = || Ok(clock.clone());
    let block = Block::with_clocks(disks, DiskId::default(), OnError::Report, handles, clocks);
    let bench = Bench::on_device(block.unwrap(), reactors, u64::MAX);
    bench.set_limits(limits, &clock);
    (bench, clock)
}

impl Bench {
    fn set_limits(&self, limits: Option<Limits>, clock: &FakeClock) {
        self.handle.limiter().set_at(limits, clock.now());
    }

    /// Makes `count` reads of `len` bytes available.
    fn add_reads(&mut self, count: u64, len: u32) {
        for sector in 0..count {
            let data = self.driver.writable(len);
            self.add(VIRTIO_BLK_T_IN, sector, &[data]);
        }
        self.driver.kick(0);
    }

    fn wait_for(&mut self, count: usize) {
        for _ in 0..count {
            self.driver.wait(0);
        }
    }
}

#[test]
fn operations_pass_at_the_rate_and_no_faster() {
    let file = patterned_file();
    for engine in ENGINES {
        let (mut bench, clock) = limited(&file, engine, operations(1000, 2));
        bench.add_reads(7, 512);
        bench.wait_for(2);
        for _ in 0..5 {
            clock.ring_after(Duration::from_millis(1));
            bench.wait_for(1);
            assert_eq!(bench.driver.used(0), None);
        }
        assert_eq!(bench.handle.throttled().operations.get(), 5);
        assert_eq!(bench.handle.throttled().nanoseconds.get(), 5_000_000);
        assert_eq!(bench.handle.limits(), operations(1000, 2));
    }
}

#[test]
fn bytes_pass_at_the_rate_and_no_faster() {
    let file = patterned_file();
    let limits = Limits::new(None, Some(limit(4_096_000, 4096)));
    let (mut bench, clock) = limited(&file, EngineChoice::Auto, limits);
    bench.add_reads(4, 8192);
    // Twice the burst: it takes a full bucket and leaves it in debt.
    bench.wait_for(1);
    for _ in 0..3 {
        clock.ring_after(Duration::from_millis(2));
        bench.wait_for(1);
    }
}

#[test]
fn more_than_the_disk_holds_at_a_time_waits_in_the_queue() {
    let file = patterned_file();
    let (mut bench, clock) = limited(&file, EngineChoice::Sync, operations(1000, 1));
    bench.add_reads(20, 512);
    bench.wait_for(1);
    for _ in 0..19 {
        clock.ring_after(Duration::from_millis(1));
        bench.wait_for(1);
    }
}

#[test]
fn flushes_pass_what_waits_and_discards_count_without_their_bytes() {
    let file = patterned_file();
    let limits = Limits::new(Some(limit(1000, 2)), Some(limit(512, 512)));
    let (mut bench, clock) = limited(&file, EngineChoice::Auto, limits);
    let mut range = Vec::from(0u64.to_le_bytes());
    range.extend(4096u32.to_le_bytes());
    range.extend([0; 4]);
    let range = bench.driver.readable(&range);
    assert_eq!(bench.request(VIRTIO_BLK_T_DISCARD, 0, &[range]).0, OK);
    assert_eq!(bench.request(VIRTIO_BLK_T_DISCARD, 0, &[range]).0, OK);
    bench.add(VIRTIO_BLK_T_DISCARD, 0, &[range]);
    assert_eq!(bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]).0, OK);
    clock.ring_after(Duration::from_millis(1));
    bench.wait_for(1);
    assert_eq!(bench.counters.discards.get(), 3);
}

#[test]
fn a_change_frees_what_waits_or_holds_it_longer() {
    let file = patterned_file();
    for engine in ENGINES {
        let (mut bench, clock) = limited(&file, engine, operations(1, 1));
        bench.add_reads(4, 512);
        bench.wait_for(1);
        bench.set_limits(operations(10, 1), &clock);
        clock.ring_after(Duration::from_millis(100));
        bench.wait_for(1);
        bench.set_limits(operations(1, 1), &clock);
        clock.ring_after(Duration::from_secs(1));
        bench.wait_for(1);
        bench.set_limits(None, &clock);
        bench.wait_for(1);
    }
}

#[test]
fn the_handle_changes_limits_by_the_real_clock() {
    let file = patterned_file();
    let mut bench = Bench::on(&file, EngineChoice::Auto);
    let once_in_a_while = operations(1, 1).unwrap();
    bench.handle.set_limits(Some(once_in_a_while));
    assert_eq!(bench.handle.limits(), Some(once_in_a_while));
    // Seen together, so that the second waits when the first is answered.
    bench.driver.transport.pause().unwrap();
    bench.add_reads(50, 512);
    bench.driver.transport.resume();
    bench.wait_for(1);
    bench.handle.set_limits(None);
    bench.wait_for(49);
    assert!(bench.handle.throttled().nanoseconds.get() > 0);
    assert_eq!(bench.handle.limits(), None);
}

#[test]
fn a_pause_lets_what_waits_through_at_once_and_it_is_paid_for_later() {
    let file = patterned_file();
    for engine in ENGINES {
        let (mut bench, clock) = limited(&file, engine, operations(10, 1));
        bench.add_reads(6, 512);
        bench.wait_for(1);
        bench.driver.transport.pause().unwrap();
        for _ in 0..5 {
            bench.driver.used(0).expect("the pause finished it");
        }
        bench.driver.transport.resume();
        bench.add_reads(1, 512);
        clock.ring_after(Duration::from_millis(600));
        bench.wait_for(1);
    }
}

#[test]
fn a_reset_ends_what_waits() {
    let file = patterned_file();
    let (mut bench, clock) = limited(&file, EngineChoice::Auto, operations(10, 1));
    bench.add_reads(3, 512);
    bench.wait_for(1);
    bench.driver.start(u64::MAX);
    bench.add_reads(1, 512);
    clock.ring_after(Duration::from_millis(300));
    bench.wait_for(1);
}

#[test]
fn a_handle_outlives_its_device() {
    let file = patterned_file();
    let bench = Bench::on(&file, EngineChoice::Auto);
    let handle = bench.handle.clone();
    drop(bench);
    handle.set_limits(operations(1, 1));
    assert_eq!(handle.limits(), operations(1, 1));
}

#[test]
fn latencies_are_counted_by_kind() {
    let file = patterned_file();
    for engine in ENGINES {
        let mut bench = Bench::on(&file, engine);
        bench.read(0, 512);
        bench.read(1, 512);
        bench.write(0, &[1; 512]);
        bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]);
        bench.read(u64::MAX, 512);
        let latency = &bench.counters.latency;
        let kinds = [
            &latency.read,
            &latency.write,
            &latency.flush,
            &latency.discard,
        ];
        let counts = kinds.map(|kind| kind.snapshot().count());
        assert_eq!(counts, [2, 1, 1, 0]);
        assert!(latency.read.snapshot().sum > Duration::ZERO);
    }
}
