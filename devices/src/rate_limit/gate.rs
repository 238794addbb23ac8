//! A gate: one worker's way through a [`Limiter`].
//!
//! The worker asks for its next operation; while that has to wait, everything
//! behind it waits too. Two descriptors wake the worker to ask again: the
//! clock's, when it is time, and one that is signalled when limits change.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use super::limiter::{Claim, Limiter, Lines};
use crate::clock::{AlarmClock, Nanos};

/// What a worker passes through. `C` is the clock that it goes by.
pub(crate) struct Gate<C> {
    limiter: Arc<Limiter>,
    clock: C,
    changed: Arc<EventFd>,
    /// A copy of the limiter's, and the version that it is of.
    lines: Lines,
    version: u64,
    waiting: Option<Waiting>,
}

/// What has taken its tokens and waits for them to be earned.
struct Waiting {
    claim: Claim,
    bytes: u64,
    /// Since when it waits; set when it was first turned away.
    since: Option<Nanos>,
}

impl<C: AlarmClock> Gate<C> {
    pub(super) fn new(limiter: Arc<Limiter>, clock: C, changed: Arc<EventFd>) -> Self {
        // In this order: lines that change in between are fetched again.
        let version = limiter.version();
        Self {
            lines: limiter.lines(),
            version,
            limiter,
            clock,
            changed,
            waiting: None,
        }
    }

    /// The descriptors that wake the worker to ask again. Edges count; they
    /// need not be read.
    pub(crate) fn wakers(&self) -> [RawFd; 2] {
        [self.clock.fd(), self.changed.as_raw_fd()]
    }

    /// Whether an operation on `bytes` may pass, and takes its tokens: at
    /// once, so that others who share the limiter come after it. If not, the
    /// worker is woken to ask again.
    pub(crate) fn admits(&mut self, bytes: u64) -> bool {
        if self.is_open() {
            return true;
        }
        let now = self.clock.now();
        // Another operation than the one that waits: that has paid in vain.
        if self
            .waiting
            .as_ref()
            .is_none_or(|waiting| waiting.bytes != bytes)
        {
            self.take(bytes, now);
        }
        self.is_paid(now)
    }

    /// Whether what passed before is paid for; for operations whose size is
    /// known only when they are done, see [`charge`](Self::charge). If not,
    /// the worker is woken to ask again.
    pub(crate) fn is_clear(&mut self) -> bool {
        self.is_open() || self.waiting.is_none() || self.is_paid(self.clock.now())
    }

    /// An operation on `bytes` has passed. The next may when this is paid.
    pub(crate) fn charge(&mut self, bytes: u64) {
        if !self.is_open() {
            self.take(bytes, self.clock.now());
        }
    }

    /// Lets an operation on `bytes` pass now, into debt.
    pub(crate) fn force(&mut self, bytes: u64) {
        if self.is_open() {
            return;
        }
        let now = self.clock.now();
        match self.waiting.take() {
            Some(waiting) => self.count(&waiting, now),
            None => {
                self.limiter.claim(&self.lines, bytes, now);
            }
        }
    }

    /// Whether there is no limit.
    fn is_open(&mut self) -> bool {
        let version = self.limiter.version();
        if version != self.version {
            self.version = version;
            self.lines = self.limiter.lines();
            if self.lines.are_none()
                && let Some(waiting) = self.waiting.take()
            {
                self.count(&waiting, self.clock.now());
            }
        }
        self.lines.are_none()
    }

    fn take(&mut self, bytes: u64, now: Nanos) {
        self.waiting = Some(Waiting {
            claim: self.limiter.claim(&self.lines, bytes, now),
            bytes,
            since: None,
        });
    }

    /// Whether what waits has waited long enough; sets the alarm if not.
    fn is_paid(&mut self, now: Nanos) -> bool {
        let Some(waiting) = &mut self.waiting else {
            return true;
        };
        let when = self.lines.when(&waiting.claim, now);
        if when > now {
            waiting.since.get_or_insert(now);
            self.clock.set(when);
            return false;
        }
        if let Some(waiting) = self.waiting.take() {
            self.count(&waiting, now);
        }
        true
    }

    /// Counts how long something waited.
    fn count(&self, waiting: &Waiting, now: Nanos) {
        if let Some(since) = waiting.since {
            let throttled = self.limiter.throttled();
            throttled.operations.increment();
            throttled.nanoseconds.add(now.saturating_sub(since));
        }
    }
}

#[cfg(test)]
mod tests;
