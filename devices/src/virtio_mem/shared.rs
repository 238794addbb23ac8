//! What the device's front, worker and handles have in common.

use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::handle::Counters;
use crate::virtio::interrupt::DeviceInterrupt;

#[derive(Debug)]
pub(super) struct Shared {
    /// Where the blocks are.
    pub(super) region: Range<u64>,
    /// Bytes that the host wants plugged.
    pub(super) requested: AtomicU64,
    /// Bytes that are plugged.
    pub(super) plugged: AtomicU64,
    pub(super) counters: Counters,
    /// The way to the driver, while the device runs.
    interrupt: Mutex<Option<DeviceInterrupt>>,
}

impl Shared {
    pub(super) fn new(region: Range<u64>) -> Self {
        Self {
            region,
            requested: AtomicU64::new(0),
            plugged: AtomicU64::new(0),
            counters: Counters::default(),
            interrupt: Mutex::new(None),
        }
    }

    /// Locks, also after a panic: the value is whole at any time.
    pub(super) fn interrupt(&self) -> MutexGuard<'_, Option<DeviceInterrupt>> {
        self.interrupt
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
