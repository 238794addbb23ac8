//! How many of its queue pairs a driver uses: the worker of the control queue
//! says so, and the pairs' workers follow, each on its own thread.
//!
//! They meet in atomics and eventfds, and nobody waits: a change has happened
//! when the last worker that it concerns has followed it, and only then does
//! the driver hear of it. From then on no packet appears in a queue that it
//! has given up (virtio 1.3 §5.1.6.5.6.2).
//!
//! The first pair is always in use.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// The queue pairs of a device.
#[derive(Debug)]
pub(super) struct Pairs {
    /// How many are in use: the first ones.
    used: AtomicU16,
    /// Grows with each change, after it.
    version: AtomicU32,
    /// Workers that have not followed the last change yet.
    behind: AtomicU16,
    /// One of them could not.
    failed: AtomicBool,
    /// Signalled after a change, one for each pair but the first.
    changed: Box<[EventFd]>,
    /// Signalled when all have followed.
    followed: EventFd,
}

impl Pairs {
    /// `count` pairs, at least one, of which the first is in use.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub(super) fn new(count: u16) -> io::Result<Self> {
        let eventfd = || EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC);
        Ok(Self {
            used: AtomicU16::new(1),
            version: AtomicU32::new(0),
            behind: AtomicU16::new(0),
            failed: AtomicBool::new(false),
            changed: (1..count).map(|_| eventfd()).collect::<io::Result<_>>()?,
            followed: eventfd()?,
        })
    }

    /// How many are in use.
    pub(super) fn used(&self) -> u16 {
        self.used.load(Ordering::Acquire)
    }

    /// The first alone is in use. Called while no worker runs.
    pub(super) fn reset(&self) {
        self.used.store(1, Ordering::Release);
    }

    /// The first `used` are to be in use, of `running` that have workers.
    /// Called when the last change has happened.
    pub(super) fn change(&self, used: u16, running: u16) {
        let concerned = running.saturating_sub(1);
        self.failed.store(false, Ordering::Relaxed);
        self.behind.store(concerned, Ordering::Relaxed);
        self.used.store(used, Ordering::Relaxed);
        self.version.fetch_add(1, Ordering::Release);
        for changed in self.changed.iter().take(concerned.into()) {
            let _ = changed.write(1);
        }
    }

    /// Whether the last change succeeded; `None` until it has happened.
    pub(super) fn outcome(&self) -> Option<bool> {
        let happened = self.behind.load(Ordering::Acquire) == 0;
        happened.then(|| !self.failed.load(Ordering::Relaxed))
    }

    /// Becomes readable, edge by edge, when a change has happened that
    /// concerned a worker.
    pub(super) fn followed_fd(&self) -> RawFd {
        self.followed.as_raw_fd()
    }
}

/// One of the pairs, for its worker.
#[derive(Debug)]
pub(super) struct Pair {
    all: Arc<Pairs>,
    index: u16,
    /// The change that was followed last.
    version: u32,
    in_use: bool,
}

impl Pair {
    /// Pair number `index`. Called before any worker runs.
    pub(super) fn new(all: &Arc<Pairs>, index: u16) -> Self {
        Self {
            version: all.version.load(Ordering::Acquire),
            in_use: index < all.used(),
            all: Arc::clone(all),
            index,
        }
    }

    /// Whether the driver uses it.
    pub(super) fn is_in_use(&self) -> bool {
        self.in_use
    }

    /// Becomes readable, edge by edge, when there may be a change to follow.
    pub(super) fn changed_fd(&self) -> Option<RawFd> {
        let at = usize::from(self.index).checked_sub(1)?;
        self.all.changed.get(at).map(AsRawFd::as_raw_fd)
    }

    /// Follows a change, if there is one, by `act`, which is told whether the
    /// pair is in use. Where that fails the pair is not.
    pub(super) fn follow(&mut self, act: impl FnOnce(bool) -> io::Result<()>) {
        let version = self.all.version.load(Ordering::Acquire);
        if version == self.version {
            return;
        }
        self.version = version;
        let wanted = self.index < self.all.used();
        let acted = act(wanted);
        self.in_use = wanted && acted.is_ok();
        if acted.is_err() {
            self.all.failed.store(true, Ordering::Relaxed);
        }
        if self.all.behind.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _ = self.all.followed.write(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(count: u16) -> (Arc<Pairs>, Vec<Pair>) {
        let all = Arc::new(Pairs::new(count).unwrap());
        let each = (0..count).map(|index| Pair::new(&all, index)).collect();
        (all, each)
    }

    fn in_use(each: &[Pair]) -> Vec<bool> {
        each.iter().map(Pair::is_in_use).collect()
    }

    #[test]
    fn a_change_has_happened_when_all_that_run_have_followed() {
        let (all, mut each) = pairs(4);
        assert_eq!(in_use(&each), [true, false, false, false]);
        // The last has no worker.
        all.change(2, 3);
        assert_eq!(all.outcome(), None);
        each[1].follow(|in_use| {
            assert!(in_use);
            Ok(())
        });
        // Woken twice, it follows once.
        each[1].follow(|_| panic!("it has followed"));
        assert_eq!(all.outcome(), None);
        each[2].follow(|in_use| {
            assert!(!in_use);
            Ok(())
        });
        assert_eq!(all.outcome(), Some(true));
        assert_eq!(all.followed.read().unwrap(), 1);
        assert_eq!(in_use(&each), [true, true, false, false]);
    }

    #[test]
    fn a_pair_that_cannot_follow_is_not_in_use_and_fails_the_change() {
        let (all, mut each) = pairs(2);
        all.change(2, 2);
        each[1].follow(|_| Err(io::ErrorKind::NotFound.into()));
        assert_eq!(all.outcome(), Some(false));
        assert!(!each[1].is_in_use());
        all.change(2, 2);
        each[1].follow(|_| Ok(()));
        assert_eq!(all.outcome(), Some(true));
        assert!(each[1].is_in_use());
    }

    #[test]
    fn where_one_pair_runs_a_change_happens_at_once() {
        let (all, each) = pairs(1);
        all.change(1, 1);
        assert_eq!(all.outcome(), Some(true));
        assert_eq!(each[0].changed_fd(), None);
    }

    #[test]
    fn a_change_that_nobody_followed_is_over_with_the_workers() {
        let (all, _) = pairs(3);
        all.change(3, 3);
        let pair = Pair::new(&all, 2);
        assert!(pair.is_in_use());
        all.reset();
        assert!(!Pair::new(&all, 2).is_in_use());
        all.change(1, 2);
        let mut pair = Pair { version: 0, ..pair };
        pair.follow(|_| Ok(()));
        assert_eq!(all.outcome(), Some(true));
    }
}
