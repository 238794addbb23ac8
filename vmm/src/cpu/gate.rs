//! The gate: where vCPU threads wait while their machine is paused.
//!
//! The control thread opens and closes it; vCPU threads pass it before they
//! run the guest and come back to it when kicked. Closing it is complete when
//! nobody is inside. A thread that ends, even by a panic, is not inside.

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

/// A gate for any number of threads.
pub(crate) struct Gate {
    /// Read without the lock on the way back from every exit. Sequentially
    /// consistent: see [`kick`](super::kick).
    phase: AtomicU8,
    /// How many threads are inside.
    inside: Mutex<usize>,
    changed: Condvar,
}

impl Default for Gate {
    /// A closed gate.
    fn default() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Paused as u8),
            inside: Mutex::new(0),
            changed: Condvar::new(),
        }
    }
}

impl Gate {
    /// What to do now.
    pub(crate) fn phase(&self) -> Phase {
        Phase::from_bits(self.phase.load(Ordering::SeqCst))
    }

    /// Says what to do. Whoever waits is woken; who runs the guest must be
    /// kicked. After the end, nothing else is to be done: a vCPU whose guest
    /// asks for one may come too late, and nobody would open the gate again.
    pub(crate) fn set(&self, phase: Phase) {
        // Under the lock, so that nobody misses it between looking and waiting.
        let _inside = self.lock();
        if self.phase() != Phase::Ended {
            self.phase.store(phase as u8, Ordering::SeqCst);
        }
        self.changed.notify_all();
    }

    /// For a vCPU thread: waits at the gate. None when it is to end.
    pub(crate) fn pass(&self) -> Option<Passage<'_>> {
        let mut inside = self.lock();
        while self.phase() == Phase::Paused {
            inside = self.wait(inside);
        }
        if self.phase() == Phase::Ended {
            return None;
        }
        *inside += 1;
        Some(Passage(self))
    }

    /// For the control thread: waits until nobody is inside.
    pub(crate) fn wait_until_empty(&self) {
        let mut inside = self.lock();
        while *inside > 0 {
            inside = self.wait(inside);
        }
    }

    fn wait<'a>(&self, inside: MutexGuard<'a, usize>) -> MutexGuard<'a, usize> {
        self.changed
            .wait(inside)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        // A count is valid whoever panicked.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread's presence inside the gate.
#[must_use]
pub(crate) struct Passage<'a>(&'a Gate);

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::AtomicU64;
    use std::thread;

    #[test]
    fn nobody_works_behind_a_closed_gate() {
        const THREADS: usize = 8;
        let (gate, work) = (Gate::default(), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while let Some(_passage) = gate.pass() {
                        while gate.phase() == Phase::Running {
                            work.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            for _ in 0..20 {
                gate.set(Phase::Running);
                let before = work.load(Ordering::Relaxed);
                while work.load(Ordering::Relaxed) == before {
                    thread::yield_now();
                }
                gate.set(Phase::Paused);
                gate.wait_until_empty();
                let paused = work.load(Ordering::Relaxed);
                thread::yield_now();
                assert_eq!(work.load(Ordering::Relaxed), paused);
            }
            gate.set(Phase::Ended);
        });
        gate.wait_until_empty();
    }

    #[test]
    fn an_ended_gate_lets_nobody_in() {
        let gate = Gate::default();
        gate.set(Phase::Ended);
        assert!(gate.pass().is_none());
        // A vCPU asks for the end that has begun.
        gate.set(Phase::Paused);
        assert!(gate.pass().is_none());
    }

    #[test]
    fn a_thread_that_panics_is_outside() {
        let gate = Gate::default();
        gate.set(Phase::Running);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _passage = gate.pass();
            panic!("a defect");
        }));
        assert!(panicked.is_err());
        gate.set(Phase::Paused);
        gate.wait_until_empty();
    }
}
