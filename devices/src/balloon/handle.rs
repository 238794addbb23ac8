//! The host's side of a balloon.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::config::PAGE;
use super::counters::Counters;
use super::shared::{Shared, lock};
use super::statistics::MemoryStatistics;

/// What a guest keeps at least, in bytes: with less, it would do nothing but
/// look for memory.
pub const FLOOR: u64 = 64 << 20;

/// Operates a balloon, from any thread. Clones are the same.
#[derive(Clone, Debug)]
pub struct BalloonHandle(pub(super) Arc<Shared>);

/// A target that would leave the guest with less than [`FLOOR`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the balloon cannot take {asked} bytes: of its {memory} the guest keeps {FLOOR}; \
     ask for {} or less",
    most(*memory)
)]
pub struct TargetError {
    /// What was asked for.
    pub asked: u64,
    /// The guest's memory.
    pub memory: u64,
}

/// The largest balloon of a guest with `memory` bytes; page numbers are 32
/// bits wide.
fn most(memory: u64) -> u64 {
    (memory.saturating_sub(FLOOR) & !(PAGE - 1)).min(u64::from(u32::MAX) * PAGE)
}

impl BalloonHandle {
    /// Asks the guest for `bytes`, rounded down to pages of 4 KiB: it inflates
    /// the balloon that far, or deflates it. This is a wish; what came of it
    /// is [`actual`](Self::actual). It is kept for a driver that comes later.
    ///
    /// # Errors
    /// That is more than the guest has, less [`FLOOR`].
    pub fn set_target(&self, bytes: u64) -> Result<(), TargetError> {
        let memory = self.0.memory;
        if bytes > most(memory) {
            return Err(TargetError {
                asked: bytes,
                memory,
            });
        }
        let pages = u32::try_from(bytes / PAGE).expect("the most is 32 bits of pages");
        if self.0.target.swap(pages, Ordering::AcqRel) != pages
            && let Some(interrupt) = &*lock(&self.0.interrupt)
        {
            interrupt.config_changed();
        }
        Ok(())
    }

    /// How many bytes the balloon should have.
    pub fn target(&self) -> u64 {
        u64::from(self.0.target.load(Ordering::Acquire)) * PAGE
    }

    /// How many bytes the driver says that the balloon has.
    pub fn actual(&self) -> u64 {
        u64::from(self.0.actual.load(Ordering::Acquire)) * PAGE
    }

    /// What the guest said last of its memory, if anything; and asks it to say
    /// it anew, which takes as long as the guest takes.
    pub fn statistics(&self) -> Option<MemoryStatistics> {
        let known = *lock(&self.0.statistics);
        self.0.asked.store(true, Ordering::Release);
        // Full counts as signalled.
        let _ = self.0.ask.write(1);
        known
    }

    /// What the balloon has done so far.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }
}
