//! What a balloon's front, workers and handles have in common. No request of
//! the driver's takes the locks in here, but for its statistics.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::counters::Counters;
use super::statistics::MemoryStatistics;
use crate::virtio::interrupt::DeviceInterrupt;

#[derive(Debug)]
pub(super) struct Shared {
    /// The guest's memory, in bytes.
    pub(super) memory: u64,
    /// Pages that the balloon should have.
    pub(super) target: AtomicU32,
    /// Pages that the driver says it has.
    pub(super) actual: AtomicU32,
    /// What the driver says it fills free pages with.
    pub(super) poison: AtomicU32,
    pub(super) counters: Counters,
    /// What the driver said last.
    pub(super) statistics: Mutex<Option<MemoryStatistics>>,
    /// Statistics were asked for since.
    pub(super) asked: AtomicBool,
    /// Signalled when they are.
    pub(super) ask: EventFd,
    /// The way to the driver, while the device runs.
    pub(super) interrupt: Mutex<Option<DeviceInterrupt>>,
}

impl Shared {
    pub(super) fn new(memory: u64) -> io::Result<Self> {
        Ok(Self {
            memory,
            target: AtomicU32::new(0),
            actual: AtomicU32::new(0),
            poison: AtomicU32::new(0),
            counters: Counters::default(),
            statistics: Mutex::new(None),
            asked: AtomicBool::new(false),
            ask: EventFd::new(EFD_NONBLOCK)?,
            interrupt: Mutex::new(None),
        })
    }
}

/// Locks, also after a panic: every value is whole at any time.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
