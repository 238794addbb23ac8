//! Which MSI-X vector is raised for what: for each queue one, and for changes of the
//! configuration space; and, for a driver without vectors, the interrupt status.
//!
//! A queue that something outside of this process serves is wired: signals to an
//! eventfd are its vector's messages, as the vector is at that time. That is looked at
//! again whenever the guest changes anything about its vectors. While a wired vector is
//! masked it is pending in the eventfd, and not in the pending bits.

use std::io;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vmm_sys_util::eventfd::EventFd;

use crate::log_limit::LogLimit;
use crate::pci::msix::{Msix, Wire};

/// No vector (§4.1.4.3).
pub(super) const NO_VECTOR: u16 = 0xffff;

/// What the interrupt status says happened (§4.1.4.5).
const ISR_QUEUE: u8 = 1;
const ISR_CONFIG: u8 = 2;

/// A device's vectors, by what they are raised for.
pub(super) struct Vectors {
    pub(super) msix: Msix,
    config: AtomicU16,
    queues: Box<[AtomicU16]>,
    isr: AtomicU8,
    /// Never locked where requests are served.
    wires: Mutex<Wires>,
}

struct Wires {
    /// With the numbers of their queues.
    wires: Vec<(u16, Box<dyn Wire>)>,
    refusals: LogLimit,
}

impl Vectors {
    /// None is mapped yet, of `queues` queues.
    pub(super) fn new(msix: Msix, queues: usize) -> Self {
        let none = || AtomicU16::new(NO_VECTOR);
        Self {
            msix,
            config: none(),
            queues: std::iter::repeat_with(none).take(queues).collect(),
            isr: AtomicU8::new(0),
            wires: Mutex::new(Wires {
                wires: Vec::new(),
                refusals: LogLimit::default(),
            }),
        }
    }

    /// Queue number `queue` has used buffers.
    pub(super) fn raise_for_queue(&self, queue: u16) {
        if let Some(vector) = self.queues.get(usize::from(queue)) {
            self.raise(vector, ISR_QUEUE);
        }
    }

    /// The configuration space changed.
    pub(super) fn raise_for_config(&self) {
        self.raise(&self.config, ISR_CONFIG);
    }

    fn raise(&self, vector: &AtomicU16, cause: u8) {
        // With MSI-X the driver never looks at the status.
        if !self.msix.is_enabled() {
            self.isr.fetch_or(cause, Ordering::AcqRel);
            return;
        }
        match vector.load(Ordering::Acquire) {
            NO_VECTOR => {}
            vector => self.msix.raise(vector),
        }
    }

    /// The interrupt status, which reading clears.
    pub(super) fn take_status(&self) -> u8 {
        self.isr.swap(0, Ordering::AcqRel)
    }

    /// The vector for changes of the configuration space.
    pub(super) fn of_config(&self) -> u16 {
        self.config.load(Ordering::Acquire)
    }

    /// The vector of a queue; none if there is no such queue.
    pub(super) fn of_queue(&self, queue: usize) -> u16 {
        let vector = self.queues.get(queue);
        vector.map_or(NO_VECTOR, |vector| vector.load(Ordering::Acquire))
    }

    /// The driver maps changes of the configuration space to `vector`.
    pub(super) fn map_config(&self, vector: u16) {
        self.map(Some(&self.config), vector);
    }

    /// The driver maps a queue to `vector`.
    pub(super) fn map_queue(&self, queue: usize, vector: u16) {
        self.map(self.queues.get(queue), vector);
        self.settle();
    }

    /// One that is not there is refused by reading back as none (§4.1.4.3.1).
    fn map(&self, slot: Option<&AtomicU16>, vector: u16) {
        if let Some(slot) = slot {
            let exists = vector < self.msix.count();
            slot.store(if exists { vector } else { NO_VECTOR }, Ordering::Release);
        }
    }

    pub(super) fn reset(&self) {
        self.isr.store(0, Ordering::Release);
        let all = self.queues.iter().chain([&self.config]);
        all.for_each(|vector| vector.store(NO_VECTOR, Ordering::Release));
        self.settle();
    }

    /// Has signals to `call` raise the vector of `queue`.
    ///
    /// # Errors
    /// The driver does without vectors, or the machine refuses.
    pub(super) fn wire(&self, queue: u16, call: &EventFd) -> io::Result<()> {
        if !self.msix.is_enabled() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut wire = self.msix.wire(call)?;
        let mut held = self.wires();
        wire.lead_to(self.msix.message(self.of_queue(queue.into())))?;
        held.wires.push((queue, wire));
        Ok(())
    }

    /// Undoes it.
    pub(super) fn unwire(&self, queue: u16) {
        self.wires().wires.retain(|(wired, _)| *wired != queue);
    }

    /// The guest changed something about its vectors: wires follow.
    pub(super) fn settle(&self) {
        let mut held = self.wires();
        let Wires { wires, refusals } = &mut *held;
        for (queue, wire) in wires {
            let message = self.msix.message(self.of_queue((*queue).into()));
            if let Err(error) = wire.lead_to(message) {
                refusals.warn(|| format!("queue {queue}: an interrupt cannot be wired: {error}"));
            }
        }
    }

    fn wires(&self) -> MutexGuard<'_, Wires> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
