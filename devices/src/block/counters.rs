//! What a disk has done so far, counted by its worker and read by whoever
//! wants to know, at any time.

use super::disk::OperationKind;
use crate::counter::Counter;
use crate::histogram::Histogram;

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
    /// How long the disk's operations took.
    pub latency: Latency,
}

/// Time from when a worker took a request on until it answered it, whatever
/// the outcome; what limits held it up for is part of it. A worker reads the
/// clock once for all the requests that it takes on or answers together.
#[derive(Debug, Default)]
pub struct Latency {
    /// Of reads.
    pub read: Histogram,
    /// Of writes; in writethrough mode, until they were durable.
    pub write: Histogram,
    /// Of flushes that the driver asked for.
    pub flush: Histogram,
    /// Of discards and write-zeroes requests.
    pub discard: Histogram,
}

impl Latency {
    /// That of operations of `kind`.
    pub(super) fn of(&self, kind: OperationKind) -> &Histogram {
        match kind {
            OperationKind::Read => &self.read,
            OperationKind::Write => &self.write,
            OperationKind::Flush => &self.flush,
            OperationKind::Discard | OperationKind::WriteZeroes { .. } => &self.discard,
        }
    }
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
                self.flushes.increment();
                return;
            }
        };
        operations.increment();
        bytes.add(len);
    }
}
