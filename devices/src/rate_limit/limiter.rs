//! A limiter: limits, what was taken of them, and who is to hear of changes.
//!
//! Workers never lock it but to fetch limits that changed: a version tells
//! them when.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::{fmt, io};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::bucket::{Line, Taken, Ticket};
use super::gate::Gate;
use super::limits::{Limit, Limits};
use crate::clock::{self, AlarmClock, Nanos};
use crate::counter::Counter;

/// What limits have held back so far.
#[derive(Debug, Default)]
pub struct Throttled {
    /// Operations, or packets, that had to wait. Those that stood behind one
    /// that waited, and then did not have to, are not among them.
    pub operations: Counter,
    /// Nanoseconds during which a worker's next operation had to wait: a
    /// second in a second is a worker that could always have done more.
    pub nanoseconds: Counter,
}

/// Limits that any number of workers share.
#[derive(Debug, Default)]
pub struct Limiter {
    /// Grows with each change, after it.
    version: AtomicU64,
    settings: Mutex<Settings>,
    operations: Taken,
    bytes: Taken,
    throttled: Throttled,
}

#[derive(Default)]
struct Settings {
    lines: Lines,
    /// Signalled after a change, so that those who wait look again.
    changed: Vec<Weak<EventFd>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.fmt(f)
    }
}

/// What the limits in force earn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lines {
    operations: Option<Line>,
    bytes: Option<Line>,
}

impl Lines {
    pub(super) fn are_none(&self) -> bool {
        self.operations.is_none() && self.bytes.is_none()
    }

    fn limits(&self) -> Option<Limits> {
        let limit = |line: Option<Line>| line.map(|line| line.limit);
        Limits::new(limit(self.operations), limit(self.bytes))
    }

    /// When `claim` may pass.
    pub(super) fn when(&self, claim: &Claim, now: Nanos) -> Nanos {
        let when = |line: Option<Line>, ticket: Option<Ticket>| {
            let both = line.zip(ticket);
            both.map_or(now, |(line, ticket)| line.when(ticket, now))
        };
        when(self.operations, claim.operations).max(when(self.bytes, claim.bytes))
    }
}

/// What one operation has taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    operations: Option<Ticket>,
    bytes: Option<Ticket>,
}

impl Limiter {
    /// A way through for one worker, which looks at `clock`.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub(crate) fn gate<C: AlarmClock>(self: &Arc<Self>, clock: C) -> io::Result<Gate<C>> {
        let changed = Arc::new(EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?);
        let mut settings = self.settings();
        settings.changed.retain(|fd| fd.strong_count() > 0);
        settings.changed.push(Arc::downgrade(&changed));
        drop(settings);
        Ok(Gate::new(Arc::clone(self), clock, changed))
    }

    /// The limits in force.
    pub fn limits(&self) -> Option<Limits> {
        self.settings().lines.limits()
    }

    /// What was held back so far.
    pub fn throttled(&self) -> &Throttled {
        &self.throttled
    }

    /// Changes the limits, at once and for what waits already.
    pub(crate) fn set(&self, limits: Option<Limits>) {
        self.set_at(limits, clock::now());
    }

    /// Changes the limits at `now`, by the clock of the gates.
    pub(crate) fn set_at(&self, limits: Option<Limits>, now: Nanos) {
        let mut settings = self.settings();
        let line = |old: Option<Line>, new: Option<Limit>, taken: &Taken| {
            new.map(|limit| match old {
                Some(old) => old.with_limit(limit, taken, now),
                None => Line::full(limit, taken, now),
            })
        };
        let Lines { operations, bytes } = settings.lines;
        settings.lines = Lines {
            operations: line(
                operations,
                limits.and_then(Limits::operations),
                &self.operations,
            ),
            bytes: line(bytes, limits.and_then(Limits::bytes), &self.bytes),
        };
        self.version.fetch_add(1, Ordering::Release);
        for fd in settings.changed.iter().filter_map(Weak::upgrade) {
            let _ = fd.write(1);
        }
    }

    /// Changes whenever the limits did.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn lines(&self) -> Lines {
        self.settings().lines
    }

    /// Takes what an operation on `bytes` costs by `lines`.
    pub(super) fn claim(&self, lines: &Lines, bytes: u64, now: Nanos) -> Claim {
        let operations = lines.operations.as_ref();
        let byte_line = lines.bytes.as_ref();
        Claim {
            operations: operations.map(|line| self.operations.take(line, 1, now)),
            bytes: byte_line.map(|line| self.bytes.take(line, bytes, now)),
        }
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
