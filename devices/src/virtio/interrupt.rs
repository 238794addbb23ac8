//! How a device gets the driver's attention (virtio 1.3 §2.3).
//!
//! Fronts and workers share one [`DeviceInterrupt`]; the transport supplies
//! the [`Signal`] beneath it, since mmio has one line and a status register
//! while PCI has a vector for each queue.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use vmm_sys_util::eventfd::EventFd;

/// The transport's half: reaches the driver.
pub trait Signal: Send + Sync {
    /// A used buffer notification for `queue`.
    fn used_buffer(&self, queue: u16);
    /// A configuration change notification.
    fn config_change(&self);
    /// From now on signals to `call` are used buffer notifications for `queue`, without
    /// anybody of this process being woken. One for each queue.
    ///
    /// # Errors
    /// It cannot be so with this transport or its driver, or the machine refuses.
    fn wire(&self, _queue: u16, _call: &EventFd) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Undoes it, if it was done.
    fn unwire(&self, _queue: u16) {}
}

/// A device's way to the driver. Clones are the same.
#[derive(Clone)]
pub struct DeviceInterrupt(Arc<Shared>);

struct Shared {
    signal: Box<dyn Signal>,
    generation: AtomicU32,
    needs_reset: AtomicBool,
    breakdowns: AtomicU64,
}

impl fmt::Debug for DeviceInterrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceInterrupt").finish_non_exhaustive()
    }
}

impl DeviceInterrupt {
    /// Notifies through `signal`.
    pub fn new(signal: impl Signal + 'static) -> Self {
        Self(Arc::new(Shared {
            signal: Box::new(signal),
            generation: AtomicU32::new(0),
            needs_reset: AtomicBool::new(false),
            breakdowns: AtomicU64::new(0),
        }))
    }

    /// Tells the driver that `queue` has used buffers.
    pub fn used_buffer(&self, queue: u16) {
        self.0.signal.used_buffer(queue);
    }

    /// Has signals to `call` tell the driver so.
    ///
    /// # Errors
    /// It cannot be, or the machine refuses.
    pub fn wire(&self, queue: u16, call: &EventFd) -> io::Result<()> {
        self.0.signal.wire(queue, call)
    }

    /// Undoes it.
    pub fn unwire(&self, queue: u16) {
        self.0.signal.unwire(queue);
    }

    /// Tells the driver that the configuration space changed.
    pub fn config_changed(&self) {
        self.0.generation.fetch_add(1, Ordering::AcqRel);
        self.0.signal.config_change();
    }

    /// The device is beyond help until the driver resets it: sets
    /// `DEVICE_NEEDS_RESET` (§2.1.2) and says so.
    pub fn needs_reset(&self) {
        self.0.breakdowns.fetch_add(1, Ordering::Relaxed);
        self.0.needs_reset.store(true, Ordering::Release);
        self.0.signal.config_change();
    }

    /// Changes whenever the configuration space did (§2.5.1).
    pub(super) fn generation(&self) -> u32 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// How often a reset was needed so far.
    pub(super) fn breakdowns(&self) -> u64 {
        self.0.breakdowns.load(Ordering::Relaxed)
    }

    pub(super) fn is_reset_needed(&self) -> bool {
        self.0.needs_reset.load(Ordering::Acquire)
    }

    pub(super) fn reset(&self) {
        self.0.needs_reset.store(false, Ordering::Release);
    }
}
