//! What passes a gate, and when, by a clock that tests move.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::SECOND;
use crate::clock::fake::FakeClock;
use crate::rate_limit::limits::{Limit, Limits};

type TestGate = Gate<FakeClock>;

fn gate(limits: Option<Limits>) -> (TestGate, Arc<Limiter>, FakeClock) {
    let limiter = Arc::new(Limiter::default());
    let clock = FakeClock::new();
    limiter.set_at(limits, clock.now());
    let gate = limiter.gate(clock.clone()).unwrap();
    (gate, limiter, clock)
}

fn limit(rate: u64, burst: u64) -> Limit {
    Limit::per_second(rate).unwrap().with_burst(burst).unwrap()
}

fn operations(rate: u64, burst: u64) -> Option<Limits> {
    Limits::new(Some(limit(rate, burst)), None)
}

fn bytes(rate: u64, burst: u64) -> Option<Limits> {
    Limits::new(None, Some(limit(rate, burst)))
}

/// How many operations on `bytes` pass before one has to wait.
fn passing(gate: &mut TestGate, bytes: u64) -> u64 {
    (0..).find(|_| !gate.admits(bytes)).unwrap()
}

/// What passed, as pairs of time and bytes.
type Passed = Vec<(Nanos, u64)>;

/// Has operations of `sizes` pass one after the other, each asked for as soon
/// as it may be and the wake `late` by that many nanoseconds.
fn run(gate: &mut TestGate, clock: &FakeClock, sizes: &[u64], late: &[Nanos]) -> Passed {
    let mut late = late.iter().cycle();
    let pass = |size: &u64| {
        while !gate.admits(*size) {
            clock.skip(*late.next().unwrap());
        }
        (clock.now(), *size)
    };
    sizes.iter().map(pass).collect()
}

/// The most that `limit` lets pass in `time`, the largest operation being
/// `largest`, of which as many as `late` may have woken late. The clock knows
/// no less than a nanosecond, in which a high rate earns several.
fn most(limit: Limit, time: Nanos, largest: u64, late: u64) -> u128 {
    let earned = u128::from(limit.rate()) * u128::from(time + 1);
    u128::from(limit.burst().max(largest))
        + u128::from(largest * late)
        + earned.div_ceil(u128::from(SECOND))
}

/// Checks every window between two operations that passed.
fn assert_never_more(limits: Limits, passed: &Passed, late: u64) {
    let largest = passed.iter().map(|(_, size)| *size).max().unwrap_or(0);
    for (i, (begin, _)) in passed.iter().enumerate() {
        let (mut count, mut bytes) = (0, 0);
        for (end, size) in &passed[i..] {
            count += 1;
            bytes += u128::from(*size);
            let window = end - begin;
            if let Some(limit) = limits.operations() {
                let most = most(limit, window, 1, late);
                assert!(count <= most, "{count} in {window} ns");
            }
            if let Some(limit) = limits.bytes() {
                let most = most(limit, window, largest, late);
                assert!(bytes <= most, "{bytes} in {window} ns");
            }
        }
    }
}

#[test]
fn without_limits_everything_passes_and_no_clock_is_set() {
    let (mut gate, limiter, _) = gate(None);
    for _ in 0..1000 {
        assert!(gate.admits(u64::MAX) && gate.is_clear());
        gate.charge(u64::MAX);
        gate.force(u64::MAX);
    }
    assert_eq!(limiter.throttled().operations.get(), 0);
}

#[test]
fn ten_seconds_of_demand_get_what_the_rate_says_to_the_operation() {
    for rate in [1, 7, 100, 3000, 10_000, 99_991] {
        let limit = Limit::per_second(rate).unwrap();
        let (mut gate, _, clock) = gate(Limits::new(Some(limit), None));
        let begin = clock.now();
        let mut count = 0;
        loop {
            if gate.admits(4096) {
                count += 1;
            } else {
                clock.skip(0);
                if clock.now() - begin > 10 * SECOND {
                    break;
                }
            }
        }
        assert_eq!(count, limit.burst() + 10 * rate, "rate {rate}");
    }
}

#[test]
fn an_operation_passes_when_it_is_time_and_not_a_nanosecond_earlier() {
    let (mut gate, _, clock) = gate(operations(3000, 1));
    assert!(gate.admits(0));
    for _ in 0..100 {
        assert!(!gate.admits(0));
        clock.skip_almost();
        assert!(!gate.admits(0));
        clock.skip(0);
        assert!(gate.admits(0));
    }
    // 33 and a third of a millisecond, rounded up.
    assert_eq!(clock.now() - 1, 33_333_334);
}

#[test]
fn an_operation_beyond_the_burst_passes_a_full_bucket_and_leaves_a_debt() {
    let (mut gate, _, clock) = gate(bytes(1000, 10));
    assert!(gate.admits(500));
    assert!(!gate.admits(1));
    clock.skip(0);
    assert!(gate.admits(1));
    assert_eq!(clock.now() - 1, 491 * SECOND / 1000);
    // Only a full bucket takes another.
    assert!(!gate.admits(500));
    clock.skip(0);
    assert!(gate.admits(500));
    assert_eq!(clock.now() - 1, 501 * SECOND / 1000);
}

#[test]
fn what_is_forced_through_is_paid_for_afterwards() {
    let (mut gate, _, clock) = gate(operations(1000, 1));
    assert!(gate.admits(0) && !gate.admits(0));
    for _ in 0..9 {
        gate.force(0);
    }
    assert!(!gate.admits(0));
    clock.skip(0);
    assert!(gate.admits(0));
    assert_eq!(clock.now() - 1, SECOND / 100);
}

#[test]
fn what_is_charged_afterwards_holds_up_the_next() {
    let (mut gate, _, clock) = gate(bytes(1000, 100));
    assert!(gate.is_clear());
    gate.charge(150);
    assert!(gate.is_clear(), "the bucket was full");
    gate.charge(50);
    assert!(!gate.is_clear());
    clock.skip(0);
    assert!(gate.is_clear());
    assert_eq!(clock.now() - 1, SECOND / 10);
}

#[test]
fn a_limit_that_is_new_begins_with_a_full_bucket() {
    let (mut gate, limiter, clock) = gate(None);
    assert!(gate.admits(0));
    limiter.set_at(operations(10, 5), clock.now());
    assert_eq!(passing(&mut gate, 0), 5);
}

#[test]
fn a_bucket_stays_as_full_as_it_was_when_its_limit_changes() {
    for (taken, left) in [(0, 30), (5, 15), (10, 0)] {
        let (mut gate, limiter, clock) = gate(operations(10, 10));
        assert!((0..taken).all(|_| gate.admits(0)));
        limiter.set_at(operations(20, 30), clock.now());
        assert_eq!(passing(&mut gate, 0), left, "{taken} taken");
    }
}

#[test]
fn a_debt_stays_what_it_is_and_is_paid_at_the_new_rate() {
    let (mut gate, limiter, clock) = gate(bytes(10, 10));
    assert!(gate.admits(110) && !gate.admits(5));
    limiter.set_at(bytes(1000, 20), clock.now());
    assert!(!gate.admits(5));
    clock.skip(0);
    assert!(gate.admits(5));
    assert_eq!(clock.now() - 1, 105 * SECOND / 1000);
}

#[test]
fn a_change_holds_for_what_waits_already() {
    let (mut gate, limiter, clock) = gate(operations(1, 1));
    assert!(gate.admits(0) && !gate.admits(0));
    limiter.set_at(operations(1000, 1), clock.now());
    assert!(!gate.admits(0));
    clock.skip(0);
    assert!(gate.admits(0));
    assert_eq!(clock.now() - 1, SECOND / 1000);
    assert!(!gate.admits(0));
    limiter.set_at(None, clock.now());
    assert!(gate.admits(0));
}

#[test]
fn the_time_that_operations_wait_is_counted() {
    let (mut gate, limiter, clock) = gate(operations(100, 1));
    let sizes = [0; 6];
    run(&mut gate, &clock, &sizes, &[7]);
    assert_eq!(limiter.throttled().operations.get(), 5);
    let waited = limiter.throttled().nanoseconds.get();
    assert_eq!(waited, clock.now() - 1);
    assert!(!gate.admits(0));
    clock.advance(Duration::from_nanos(9));
    limiter.set_at(None, clock.now());
    assert!(gate.admits(0));
    assert_eq!(limiter.throttled().nanoseconds.get(), waited + 9);
}

#[test]
fn whoever_shares_a_limiter_gets_its_turn_however_large_its_operations() {
    let limiter = Arc::new(Limiter::default());
    let clock = FakeClock::new();
    limiter.set_at(bytes(1000, 100), clock.now());
    let [mut greedy, mut large] = [(); 2].map(|()| limiter.gate(clock.clone()).unwrap());
    assert_eq!(passing(&mut greedy, 1), 100);
    assert!(!large.admits(100));
    let asked = clock.now();
    let mut small = 0;
    // The small operation that asked first goes first, and none after it.
    while !large.admits(100) {
        clock.skip(0);
        small += u64::from(greedy.admits(1));
    }
    assert_eq!(small, 1);
    assert_eq!(clock.now() - asked, 101 * SECOND / 1000);
}

fn some_limit() -> impl Strategy<Value = Limit> {
    let rate = prop_oneof![1u64..50, 1u64..20_000, 1u64..10_000_000_000];
    let burst = prop_oneof![1u64..10, 1u64..2_000_000];
    (rate, burst).prop_map(|(rate, burst)| limit(rate, burst))
}

fn some_limits() -> impl Strategy<Value = Limits> {
    let either = (
        prop::option::of(some_limit()),
        prop::option::of(some_limit()),
    );
    either.prop_filter_map("a limit", |(a, b)| Limits::new(a, b))
}

fn sizes() -> impl Strategy<Value = Vec<u64>> {
    let size = prop_oneof![0u64..2000, Just(4096), 0u64..1 << 28];
    prop::collection::vec(size, 1..200)
}

proptest! {
    #[test]
    fn no_window_holds_more_than_burst_and_rate(limit in some_limit(), sizes in sizes()) {
        for (operations, bytes) in [(Some(limit), None), (None, Some(limit))] {
            let limits = Limits::new(operations, bytes).unwrap();
            let (mut gate, _, clock) = gate(Some(limits));
            let passed = run(&mut gate, &clock, &sizes, &[0]);
            assert_never_more(limits, &passed, 0);
        }
    }

    /// Late by itself, or since the other of two limits held it up.

    #[test]
    fn a_late_wake_lets_one_operation_more_pass_at_most(
        limits in some_limits(),
        sizes in sizes(),
        late in prop::collection::vec(0u64..1_000_000_000, 1..5),
    ) {
        let (mut gate, _, clock) = gate(Some(limits));
        let passed = run(&mut gate, &clock, &sizes, &late);
        assert_never_more(limits, &passed, 1);
    }

    /// However late wakes come, if no later than a burst takes to fill.
    #[test]
    fn demand_gets_no_less_than_the_rate(
        limit in some_limit(),
        sizes in sizes(),
        late in prop::collection::vec(0u64..100, 1..5),
    ) {
        let fill = limit.burst() * SECOND / limit.rate();
        let late: Vec<_> = late.iter().map(|percent| fill / 100 * percent).collect();
        let (mut gate, _, clock) = gate(Limits::new(None, Some(limit)));
        let begin = clock.now();
        let mut bytes = 0;
        for (time, size) in run(&mut gate, &clock, &sizes, &late) {
            bytes += u128::from(size);
            // What passes now may have been due that much earlier, and the
            // fraction of a nanosecond.
            let due = (time - begin).saturating_sub(late.iter().max().unwrap() + 1);
            let earned = u128::from(limit.rate()) * u128::from(due) / u128::from(SECOND);
            prop_assert!(bytes >= earned, "{bytes} of {earned} at {due}");
        }
    }

    /// Whatever changes meanwhile, those who share it hold to the largest.
    #[test]
    fn changes_let_no_more_pass_than_the_largest_of_the_limits(
        rates in prop::collection::vec((1u64..10_000, 1u64..100), 1..6),
        turns in prop::collection::vec((0usize..6, 0usize..3), 1..200),
    ) {
        let limits: Vec<_> = rates.iter().map(|(rate, burst)| operations(*rate, *burst)).collect();
        let limiter = Arc::new(Limiter::default());
        let clock = FakeClock::new();
        limiter.set_at(limits[0], clock.now());
        let mut gates = [(); 3].map(|()| limiter.gate(clock.clone()).unwrap());
        let mut passed = Passed::new();
        for (change, gate) in turns {
            if let Some(limits) = limits.get(change) {
                limiter.set_at(*limits, clock.now());
            }
            if gates[gate].admits(1) {
                passed.push((clock.now(), 1));
            } else {
                clock.skip(0);
            }
        }
        let rate = rates.iter().map(|(rate, _)| *rate).max().unwrap();
        let burst = rates.iter().map(|(_, burst)| *burst).max().unwrap();
        assert_never_more(operations(rate, burst).unwrap(), &passed, 3);
    }
}
