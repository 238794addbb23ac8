//! A histogram of durations: how many fell into each of a fixed row of
//! buckets, and their sum.
//!
//! Workers record without a lock, readers take a snapshot at any time. The
//! bounds follow 1-2-5 from a microsecond, about what the cheapest request
//! costs, to ten seconds, after which a request counts as stuck: 22 of them,
//! so that a quantile is off by a factor of 2.5 at most, and they read well as
//! the `le` labels of a metric.
//!
//! Recording costs a search of five steps and two locked additions, 10 to
//! 20 ns. What is recorded comes from a clock that takes another 20 ns to
//! read, hence is read once for a batch.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in nanoseconds, each inclusive. One more bucket
/// behind the last takes what is longer.
pub const BOUNDS: [u64; 22] = {
    let mut bounds = [0; 22];
    let (mut at, mut decade) = (0, 1_000);
    while at < bounds.len() {
        bounds[at] = match at % 3 {
            0 => decade,
            1 => 2 * decade,
            _ => 5 * decade,
        };
        if at % 3 == 2 {
            decade *= 10;
        }
        at += 1;
    }
    bounds
};

const BUCKETS: usize = BOUNDS.len() + 1;

/// Durations by size.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

/// What a histogram held at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// How many durations fell into each bucket of [`BOUNDS`], and then how
    /// many were longer. Not cumulative.
    pub buckets: [u64; BUCKETS],
    /// Sum of all durations. While others record it may be ahead of the
    /// buckets or behind them, by what is being recorded.
    pub sum: Duration,
}

impl Snapshot {
    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

impl Histogram {
    /// Counts a duration of `nanoseconds`.
    pub(crate) fn record(&self, nanoseconds: u64) {
        let bucket = BOUNDS.partition_point(|bound| *bound < nanoseconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// What it holds now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            buckets: std::array::from_fn(|at| self.buckets[at].load(Ordering::Relaxed)),
            sum: Duration::from_nanos(self.sum.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bounds_go_from_a_microsecond_to_ten_seconds() {
        assert_eq!(BOUNDS[..4], [1_000, 2_000, 5_000, 10_000]);
        assert_eq!(BOUNDS[21], 10_000_000_000);
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn a_bound_belongs_to_the_bucket_that_it_ends() {
        let histogram = Histogram::default();
        for nanoseconds in [
            0,
            1_000,
            1_001,
            10_000_000_000,
            10_000_000_001,
            u64::MAX / 2,
        ] {
            histogram.record(nanoseconds);
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.buckets[..2], [2, 1]);
        assert_eq!(snapshot.buckets[21..], [1, 2]);
        assert_eq!(snapshot.count(), 6);
    }

    #[test]
    fn threads_lose_nothing_to_each_other() {
        let histogram = Histogram::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| histogram.record(3_000)));
            }
        });
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.buckets[2], 4000);
        assert_eq!(snapshot.sum, Duration::from_millis(12));
    }

    proptest! {
        #[test]
        fn a_duration_lies_between_its_buckets_bounds(nanoseconds in 0u64..20_000_000_000) {
            let histogram = Histogram::default();
            histogram.record(nanoseconds);
            let snapshot = histogram.snapshot();
            let bucket = snapshot.buckets.iter().position(|count| *count == 1).unwrap();
            prop_assert!(bucket == BOUNDS.len() || nanoseconds <= BOUNDS[bucket]);
            prop_assert!(bucket == 0 || nanoseconds > BOUNDS[bucket - 1]);
            prop_assert_eq!(snapshot.sum, Duration::from_nanos(nanoseconds));
        }
    }
}
