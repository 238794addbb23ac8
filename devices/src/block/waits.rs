//! What becomes of an operation that the host fails, and how to know that one
//! waits.

use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::counter::Counter;

/// What becomes of an operation that the host fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The driver is told.
    #[default]
    Report,
    /// It waits until the host can do it, if it may come to that: there is no
    /// room, the disk behind it fails. Flushes do not
    /// ([`super::joint_flush_disk`]).
    Wait,
}

/// The operations of a disk that wait for its host, in all queues.
#[derive(Default)]
pub struct Waits {
    state: Mutex<State>,
    /// Operations that had to wait so far.
    pub held: Counter,
    watcher: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct State {
    operations: u64,
    /// Of the operation that began to wait first.
    reason: Option<String>,
}

impl Waits {
    /// How many operations wait.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Why the first of those that wait does; `None` if none waits.
    pub fn reason(&self) -> Option<String> {
        self.state().reason.clone()
    }

    /// Has `changed` called, on any thread, when the first operation waits and
    /// when none waits any more. Only the first who asks is told. It never
    /// blocks, and a guest decides how often it is called.
    pub fn watch(&self, changed: impl Fn() + Send + Sync + 'static) {
        let _ = self.watcher.set(Box::new(changed));
    }

    /// An operation waits, which the host failed with `error`.
    pub(super) fn enter(&self, error: &io::Error) {
        self.held.increment();
        let mut state = self.state();
        state.operations += 1;
        if state.operations == 1 {
            state.reason = Some(error.to_string());
            drop(state);
            self.tell();
        }
    }

    /// An operation does not wait any more, whatever has become of it.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.operations -= 1;
        if state.operations == 0 {
            state.reason = None;
            drop(state);
            self.tell();
        }
    }

    fn tell(&self) {
        if let Some(changed) = self.watcher.get() {
            changed();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Waits")
            .field("operations", &state.operations)
            .field("reason", &state.reason)
            .finish_non_exhaustive()
    }
}
