//! The gate: where vCPU threads wait while their machine is paused.
//!
//! The control thread opens and closes it; vCPU threads pass it before they
//! run the guest and come back to it when kicked. Closing waits until every
//! one of them has come.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What vCPU threads are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Wait at the gate.
    Paused,
    /// Run the guest.
    Running,
    /// End.
    Ended,
}

impl Phase {
    fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Paused,
            1 => Self::Running,
            _ => Self::Ended,
        }
    }
}

/// A gate for a number of threads.
pub(crate) struct Gate {
    /// Read without the lock on the way back from every exit.
    phase: AtomicU8,
    /// How many threads wait at the gate, or have ended.
    waiting: Mutex<usize>,
    changed: Condvar,
}

impl Gate {
    /// A closed gate.
    pub(crate) fn new() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Paused as u8),
            waiting: Mutex::new(0),
            changed: Condvar::new(),
        }
    }

    /// What to do now.
    pub(crate) fn phase(&self) -> Phase {
        Phase::from_bits(self.phase.load(Ordering::Acquire))
    }

    /// For the control thread: says what to do. Whoever waits is woken; who
    /// runs the guest must be kicked.
    pub(crate) fn set(&self, phase: Phase) {
        let _waiting = self.lock();
        self.phase.store(phase as u8, Ordering::Release);
        self.changed.notify_all();
    }

    /// For a vCPU thread: waits at the gate. False when it is to end.
    pub(crate) fn pass(&self) -> bool {
        let mut waiting = self.lock();
        *waiting += 1;
        self.changed.notify_all();
        while self.phase() == Phase::Paused {
            waiting = self
                .changed
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let run = self.phase() == Phase::Running;
        if run {
            *waiting -= 1;
        }
        run
    }

    /// For a vCPU thread that cannot go on: waits until it is not asked to.
    pub(crate) fn wait_while_running(&self) {
        let mut waiting = self.lock();
        while self.phase() == Phase::Running {
            waiting = self
                .changed
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// For the control thread: waits until `count` threads wait at the gate
    /// or have ended.
    pub(crate) fn wait_for(&self, count: usize) {
        let mut waiting = self.lock();
        while *waiting < count {
            waiting = self
                .changed
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        // A count and a phase are valid whoever panicked.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
