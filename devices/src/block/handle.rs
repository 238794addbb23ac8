//! What can be asked of a block device and changed about it while it runs,
//! from any thread, without its worker noticing more than it must.
//!
//! The device has one from the beginning; it stays valid, without effect,
//! when the device is gone. It keeps neither the device nor its file.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use volume::freeze::{FreezeError, Unsaved};

use super::capacity::{Capacity, ResizeError};
use super::counters::Counters;
use super::device::State;
use super::id::DiskId;
use super::mapped_disk::FreezeFiles;
use super::waits::Waits;
use crate::rate_limit::{Limiter, Limits, Throttled};
use crate::virtio::interrupt::DeviceInterrupt;

/// A block device's handle. Clones are the same.
#[derive(Clone)]
pub struct BlockHandle(Arc<Shared>);

struct Shared {
    id: DiskId,
    counters: Arc<Counters>,
    limiter: Arc<Limiter>,
    waits: Arc<Waits>,
    capacity: Arc<Capacity>,
    driver: Mutex<Driver>,
    state: Weak<Mutex<State>>,
}

/// Whom to tell of a new size.
enum Driver {
    /// Nobody: the device does not run. `untold` of a size that changed since
    /// it did.
    Away { untold: bool },
    /// The driver of the running device.
    Here(DeviceInterrupt),
}

impl BlockHandle {
    pub(super) fn new(
        id: DiskId,
        capacity: Arc<Capacity>,
        limiter: Arc<Limiter>,
        waits: Arc<Waits>,
        state: Weak<Mutex<State>>,
    ) -> Self {
        Self(Arc::new(Shared {
            id,
            counters: Arc::default(),
            limiter,
            waits,
            capacity,
            state,
            driver: Mutex::new(Driver::Away { untold: false }),
        }))
    }

    /// The disk's name.
    pub fn id(&self) -> DiskId {
        self.0.id
    }

    /// What the device has done so far.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.0.counters
    }

    /// What limits have held back so far.
    pub fn throttled(&self) -> &Throttled {
        self.0.limiter.throttled()
    }

    /// What waits for the host.
    pub fn waits(&self) -> &Waits {
        &self.0.waits
    }

    /// The limits in force.
    pub fn limits(&self) -> Option<Limits> {
        self.0.limiter.limits()
    }

    /// Limits the disk's operations, those that wait included, or lets them
    /// all pass. See [`rate_limit`](crate::rate_limit) for what a limit means.
    ///
    /// Reads and writes count, with their bytes; discards and write-zeroes
    /// requests count as operations without bytes. Flushes are free: what they
    /// have written was counted, and whole file systems wait for them.
    pub fn set_limits(&self, limits: Option<Limits>) {
        self.0.limiter.set(limits);
    }

    /// The disk's size in bytes.
    pub fn capacity(&self) -> u64 {
        self.0.capacity.get()
    }

    /// Makes the disk `capacity` bytes long, or as long as its file or block
    /// device is now, and tells the driver, which can use the new space at
    /// once. Returns the size.
    ///
    /// # Errors
    /// The disk would shrink, or end within a block or behind its file; or it
    /// is gone. Nothing has changed.
    pub fn resize(&self, capacity: Option<u64>) -> Result<u64, ResizeError> {
        let mut driver = self.driver();
        let before = self.capacity();
        let now = self.0.capacity.grow(capacity)?;
        if now != before {
            match &mut *driver {
                // A driver that read half of the old size and half of the new
                // one reads again now: §2.5.1.
                Driver::Here(interrupt) => interrupt.config_changed(),
                Driver::Away { untold } => *untold = true,
            }
        }
        Ok(now)
    }

    /// Has a volume keep what it holds now in `files`, for a snapshot. The
    /// device must be at rest, with nothing in flight; takes next to no time. What
    /// it gives is to be saved when the device goes on.
    ///
    /// # Errors
    /// It is no volume, or is not at rest, or gone; or it cannot be kept.
    pub fn freeze(&self, files: FreezeFiles) -> Result<Unsaved, FreezeError> {
        let state = self.0.state.upgrade().ok_or(FreezeError::NotAVolume)?;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.freeze(files)
    }

    pub(super) fn shared_capacity(&self) -> &Arc<Capacity> {
        &self.0.capacity
    }

    /// Waits until no resize is under way, which has the file open. Called
    /// when the disk is gone: none comes after it.
    pub(super) fn wait_for_resize(&self) {
        drop(self.driver());
    }

    #[cfg(test)]
    pub(super) fn limiter(&self) -> &Arc<Limiter> {
        &self.0.limiter
    }

    /// The device runs for a driver from now on.
    pub(super) fn driver_came(&self, interrupt: DeviceInterrupt) {
        let mut driver = self.driver();
        if let Driver::Away { untold: true } = *driver {
            interrupt.config_changed();
        }
        *driver = Driver::Here(interrupt);
    }

    /// The device has stopped.
    pub(super) fn driver_left(&self) {
        let mut driver = self.driver();
        if let Driver::Here(_) = *driver {
            *driver = Driver::Away { untold: false };
        }
    }

    fn driver(&self) -> MutexGuard<'_, Driver> {
        self.0.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
