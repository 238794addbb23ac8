//! A number that only grows: counted by a worker, read by whoever wants to
//! know, at any time.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often something happened, or how much of it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds to it.
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }
}
