//! A token bucket, as two numbers that only grow: the tokens that were
//! *earned* up to now, a straight line in time, and those that were *taken*.
//!
//! The bucket is full when both are equal, empty when taken is ahead by the
//! burst, and in debt beyond. Taking is one atomic step, whoever shares the
//! bucket, and yields a [`Ticket`]: the place on the line where the taker's
//! tokens lie, and so the time at which they are earned.
//!
//! Both numbers count whole tokens and wrap around; only their difference
//! means something. Since the line is reckoned from one fixed point, in 128
//! bits, its roundings never add up.

use std::sync::atomic::{AtomicU64, Ordering};

use super::limits::Limit;
use crate::clock::{Nanos, SECOND};

/// The tokens taken from a bucket.
#[derive(Debug, Default)]
pub(super) struct Taken(AtomicU64);

impl Taken {
    /// Takes `cost` tokens of what `line` earns. Never waits.
    pub(super) fn take(&self, line: &Line, cost: u64, now: Nanos) -> Ticket {
        let earned = line.earned(now);
        // What was earned beyond a full bucket is lost.
        let start = |taken: u64| {
            if ahead(earned, taken) > 0 {
                earned
            } else {
                taken
            }
        };
        let take = |taken| Some(start(taken).wrapping_add(cost));
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        let (Ok(before) | Err(before)) = before;
        Ticket {
            start: start(before),
            cost,
        }
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Tokens that were taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    start: u64,
    cost: u64,
}

/// What a bucket earns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) limit: Limit,
    /// Where the line begins, in time and in tokens.
    epoch: Nanos,
    base: u64,
}

impl Line {
    /// The line of a full bucket from which `taken` were taken.
    pub(super) fn full(limit: Limit, taken: &Taken, now: Nanos) -> Self {
        Self {
            limit,
            epoch: now,
            base: taken.get(),
        }
    }

    /// The line from `now` on with another limit: the bucket stays as full as
    /// it is, or as deep in debt.
    pub(super) fn with_limit(&self, limit: Limit, taken: &Taken, now: Nanos) -> Self {
        let taken = taken.get();
        let (old, new) = (signed(self.limit.burst()), signed(limit.burst()));
        // Not above full: nobody may have taken anything for long.
        let level = (ahead(self.earned(now), taken).saturating_add(old)).min(old);
        let level = if level > 0 {
            scale(level, new, old)
        } else {
            level
        };
        Self {
            limit,
            epoch: now,
            base: taken.wrapping_add_signed(level - new),
        }
    }

    /// Tokens earned up to `now`.
    fn earned(&self, now: Nanos) -> u64 {
        self.base.wrapping_add(low_half(self.grown(now)))
    }

    /// Tokens earned since the line began.
    fn grown(&self, now: Nanos) -> u128 {
        let time = u128::from(now.saturating_sub(self.epoch));
        time * u128::from(self.limit.rate()) / u128::from(SECOND)
    }

    /// When the tokens of `ticket` are earned: `now`, if they are already.
    pub(super) fn when(&self, ticket: Ticket, now: Nanos) -> Nanos {
        // A burst is lent. Who takes more has to find the bucket full.
        let burst = self.limit.burst();
        let needed = ticket.start.wrapping_add(ticket.cost.min(burst));
        let needed = needed.wrapping_sub(burst);
        let missing = ahead(needed, self.earned(now));
        let Ok(missing @ 1..) = u64::try_from(missing) else {
            return now;
        };
        let tokens = self.grown(now) + u128::from(missing);
        let time = (tokens * u128::from(SECOND)).div_ceil(u128::from(self.limit.rate()));
        u64::try_from(time).map_or(Nanos::MAX, |time| self.epoch.saturating_add(time))
    }
}

/// How far `a` is ahead of `b`.
fn ahead(a: u64, b: u64) -> i64 {
    a.wrapping_sub(b).cast_signed()
}

fn signed(burst: u64) -> i64 {
    i64::try_from(burst).expect("bursts are limited to less")
}

/// `level` × `new` / `old`.
fn scale(level: i64, new: i64, old: i64) -> i64 {
    let scaled = i128::from(level) * i128::from(new) / i128::from(old);
    i64::try_from(scaled).expect("a part of a burst is no more than the burst")
}

fn low_half(tokens: u128) -> u64 {
    u64::try_from(tokens & u128::from(u64::MAX)).expect("masked")
}
