//! What a virtio console has done. The worker counts; anybody may look, at any
//! time. Counters only grow, and survive resets.

use std::sync::Arc;

use crate::console::buffer::ConsoleBuffer;
use crate::counter::Counter;

/// The counters of one console. Clones are the same.
#[derive(Clone, Debug)]
pub struct ConsoleCounters {
    counted: Arc<Counted>,
    output: ConsoleBuffer,
}

#[derive(Debug, Default)]
pub(super) struct Counted {
    /// Bytes that the guest wrote.
    pub(super) sent: Counter,
    /// Those of them that were not even looked at.
    pub(super) passed_over: Counter,
    /// Bytes that the guest read.
    pub(super) received: Counter,
    /// Chains that were malformed.
    pub(super) faults: Counter,
}

impl ConsoleCounters {
    pub(super) fn new(counted: Arc<Counted>, output: ConsoleBuffer) -> Self {
        Self { counted, output }
    }

    /// Bytes that the guest wrote.
    pub fn sent_bytes(&self) -> u64 {
        self.counted.sent.get()
    }

    /// Those of them that were lost because nobody took them in time.
    pub fn lost_bytes(&self) -> u64 {
        self.counted.passed_over.get() + self.output.lost()
    }

    /// Bytes that the guest read.
    pub fn received_bytes(&self) -> u64 {
        self.counted.received.get()
    }

    /// Chains of the driver's that were malformed.
    pub fn faults(&self) -> u64 {
        self.counted.faults.get()
    }
}
