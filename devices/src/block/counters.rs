//! What a disk has done so far, counted by its worker and read by whoever
//! wants to know, at any time.

use std::sync::atomic::{AtomicU64, Ordering};

use super::disk::OperationKind;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }
}

/// Requests by kind and outcome. Only what succeeded counts under its kind.
#[derive(Debug, Default)]
pub struct Counters {
    /// Reads.
    pub reads: Counter,
    /// Bytes read.
    pub read_bytes: Counter,
    /// Writes.
    pub writes: Counter,
    /// Bytes written.
    pub written_bytes: Counter,
    /// Flushes, whether the driver asked or writethrough mode did.
    pub flushes: Counter,
    /// Discards.
    pub discards: Counter,
    /// Write-zeroes requests.
    pub zeroes: Counter,
    /// Bytes discarded or zeroed.
    pub cleared_bytes: Counter,
    /// Requests that the disk failed.
    pub disk_errors: Counter,
    /// Requests refused with an error status, the disk untouched.
    pub refused: Counter,
    /// Chains returned unused: malformed, or without room for a status.
    pub malformed: Counter,
}

impl Counters {
    /// Counts an operation on `len` bytes that succeeded.
    pub(super) fn count(&self, kind: OperationKind, len: u64) {
        let (operations, bytes) = match kind {
            OperationKind::Read => (&self.reads, &self.read_bytes),
            OperationKind::Write => (&self.writes, &self.written_bytes),
            OperationKind::Discard => (&self.discards, &self.cleared_bytes),
            OperationKind::WriteZeroes { .. } => (&self.zeroes, &self.cleared_bytes),
            OperationKind::Flush => {
                self.flushes.add(1);
                return;
            }
        };
        operations.add(1);
        bytes.add(len);
    }
}
