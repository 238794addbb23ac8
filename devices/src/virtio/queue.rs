//! A live virtqueue (virtio 1.3 §2.7), as a device's worker uses it.
//!
//! The transport builds one from its registers when the driver says
//! `DRIVER_OK`, and moves it into the worker; `stop` moves it back. It wraps
//! the virtio-queue crate, which only this file and `chain` name, and adds
//! what that leaves out: faults that are seen instead of swallowed, several
//! used buffers published in one step, and the interrupt suppression flag.

use std::io;
use std::num::Wrapping;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{Queue as Ring, QueueOwnedT, QueueState, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};
use vmm_sys_util::eventfd::EventFd;

use super::chain::Chain;
use super::interrupt::DeviceInterrupt;
use crate::memory::Ram;

/// Offsets in the available ring (§2.7.6); the driver's `used_event` follows
/// the entries, two bytes each.
const AVAILABLE_FLAGS: u64 = 0;
const AVAILABLE_ENTRIES: u64 = 4;

/// Offsets in the used ring, and the size of an entry (§2.7.8).
const USED_INDEX: u64 = 2;
const USED_ENTRIES: u64 = 4;
const USED_ENTRY: u64 = 8;

/// Where a queue lies in guest memory and how far it has been worked off.
/// Plain values, as the driver wrote them: untrusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueLayout {
    /// Entries, a power of two.
    pub size: u16,
    /// Guest physical address of the descriptor table.
    pub descriptors: u64,
    /// Guest physical address of the available ring.
    pub available: u64,
    /// Guest physical address of the used ring.
    pub used: u64,
    /// The next available entry that the device will look at.
    pub next_available: u16,
    /// The next used entry that the device will fill.
    pub next_used: u16,
}

impl QueueLayout {
    /// Where the descriptor table, the available ring and the used ring begin, and how
    /// many bytes each has (§2.7, table of sizes).
    pub fn areas(&self) -> [(u64, usize); 3] {
        let size = usize::from(self.size);
        [
            (self.descriptors, 16 * size),
            (self.available, 6 + 2 * size),
            (self.used, 6 + 8 * size),
        ]
    }

    /// Whether the three areas are guest memory.
    fn lies_in(&self, ram: &Ram) -> bool {
        let mut areas = self.areas().into_iter();
        areas.all(|(address, len)| ram.check_range(GuestAddress(address), len))
    }
}

/// The driver broke the ring itself; only a reset mends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueFault {
    /// Size or addresses are not allowed, or not in guest memory.
    #[error("the queue's size or addresses are not valid")]
    Layout,
    /// The available ring holds more than the queue can, or a number that is
    /// not in the queue; or a ring cannot be read or written.
    #[error("the available or used ring is broken")]
    Ring,
}

/// A queue that is in use.
#[derive(Debug)]
pub struct Queue {
    index: u16,
    ring: Ring,
    ram: Ram,
    kick: Arc<EventFd>,
    interrupt: DeviceInterrupt,
    /// The used index that the driver was last told of, or chose not to be.
    notified: u16,
    faults: u64,
    /// How many of them the worker knows of.
    faults_counted: u64,
}

impl Queue {
    /// Queue number `index` at `layout`, vetted. `kick` is signalled when the
    /// driver has made buffers available.
    ///
    /// # Errors
    /// The layout is not valid or does not lie in `ram`.
    pub fn new(
        index: u16,
        layout: &QueueLayout,
        event_idx: bool,
        ram: &Ram,
        kick: Arc<EventFd>,
        interrupt: DeviceInterrupt,
    ) -> Result<Self, QueueFault> {
        let ring = Ring::try_from(QueueState {
            max_size: layout.size,
            next_avail: layout.next_available,
            next_used: layout.next_used,
            event_idx_enabled: event_idx,
            size: layout.size,
            ready: true,
            desc_table: layout.descriptors,
            avail_ring: layout.available,
            used_ring: layout.used,
        })
        .map_err(|_| QueueFault::Layout)?;
        // Zero is where virtio-queue takes a ring not to be set up. Its own
        // `is_valid` logs each refusal, as often as the driver likes.
        if layout.available == 0 || !layout.lies_in(ram) {
            return Err(QueueFault::Layout);
        }
        Ok(Self {
            index,
            ring,
            ram: ram.clone(),
            kick,
            interrupt,
            notified: layout.next_used,
            faults: 0,
            faults_counted: 0,
        })
    }

    /// The queue's number within its device.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Entries in the queue: the most requests that are popped and not yet
    /// pushed. That one head is among them only once is for the driver to see
    /// to, and not certain.
    pub fn size(&self) -> u16 {
        self.ring.size()
    }

    /// The memory that the driver's buffers are in.
    pub fn ram(&self) -> &Ram {
        &self.ram
    }

    /// How many malformed chains were returned unused.
    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// How many of these there were since the last call.
    pub fn new_faults(&mut self) -> u64 {
        let counted = std::mem::replace(&mut self.faults_counted, self.faults);
        self.faults - counted
    }

    /// The eventfd that the driver's notifications signal.
    pub fn kick_fd(&self) -> RawFd {
        self.kick.as_raw_fd()
    }

    /// Has signals to `call` interrupt the driver, whether or not it wants to know.
    ///
    /// # Errors
    /// The driver takes no interrupts that could be sent so, or the machine refuses.
    pub fn wire(&self, call: &EventFd) -> io::Result<()> {
        self.interrupt.wire(self.index, call)
    }

    /// Undoes it. What has been signalled and not been sent stays in the eventfd.
    pub fn unwire(&self) {
        self.interrupt.unwire(self.index);
    }

    /// Interrupts the driver, whether or not it wants to know.
    pub fn interrupt(&self) {
        self.interrupt.used_buffer(self.index);
    }

    /// Others have worked off all requests before the available entry `next`.
    pub fn go_on_at(&mut self, next: u16) {
        self.ring.set_next_avail(next);
        self.ring.set_next_used(next);
        self.notified = next;
    }

    /// Has the worker woken again soon, after others had their turn. For a
    /// worker that stops though there is more to do.
    pub fn kick_again(&self) {
        let _ = self.kick.write(1);
    }

    /// Whether a worker would be woken; it is not any more.
    #[cfg(test)]
    pub(super) fn take_kick(&self) -> bool {
        self.kick.read().is_ok()
    }

    /// Takes the next request into `chain`; false if there is none.
    ///
    /// A malformed chain is counted, returned to the driver unused, and
    /// passed over: it fails alone.
    ///
    /// # Errors
    /// The ring is broken: the device needs a reset.
    pub fn pop(&mut self, chain: &mut Chain) -> Result<bool, QueueFault> {
        // Each turn consumes an available entry, of which there are at most
        // `size` unless the driver adds more; then others get their turn.
        for _ in 0..=self.size() {
            let full = self.in_flight() >= self.size();
            let mut available = self.ring.iter(&*self.ram).map_err(|_| QueueFault::Ring)?;
            let Some(descriptors) = available.next() else {
                return Ok(false);
            };
            if full || descriptors.head_index() >= self.ring.size() {
                // Stay there: it is as broken the next time.
                self.ring.go_to_previous_position();
                return Err(QueueFault::Ring);
            }
            let Err(fault) = chain.fill(descriptors) else {
                return Ok(true);
            };
            self.faults += 1;
            log::debug!("queue {}: {fault}", self.index);
            let head = chain.head();
            self.push(head, 0)?;
        }
        self.kick_again();
        Ok(false)
    }

    /// Requests that are popped and not pushed. Each takes a descriptor, so
    /// that an honest driver never has more than the queue's size.
    fn in_flight(&self) -> u16 {
        self.ring.next_avail().wrapping_sub(self.ring.next_used())
    }

    /// Puts back the request popped last, to be popped again; called more
    /// often, those before it. A malformed chain that was passed over counts
    /// as one of them, at the cost of the driver that made it.
    pub fn unpop(&mut self) {
        self.ring.go_to_previous_position();
    }

    /// Returns the request `head` to the driver, with `written` bytes written
    /// from the start of its writable buffers.
    ///
    /// # Errors
    /// `head` is not in the queue, or the ring cannot be written.
    pub fn push(&mut self, head: u16, written: u32) -> Result<(), QueueFault> {
        self.push_together([(head, written)])
    }

    /// Returns several requests, as pairs of head and bytes written, so that
    /// the driver sees all of them or none: a packet that spans buffers
    /// (§5.1.6.4) must not be seen in part.
    ///
    /// # Errors
    /// A head is not in the queue, there are more than the queue holds, or
    /// the ring cannot be written.
    pub fn push_together(
        &mut self,
        used: impl IntoIterator<Item = (u16, u32)>,
    ) -> Result<(), QueueFault> {
        let size = self.size();
        let first = Wrapping(self.ring.next_used());
        let mut next = first;
        for (head, written) in used {
            if head >= size || (next - first).0 >= size {
                return Err(QueueFault::Ring);
            }
            let entry = USED_ENTRIES + USED_ENTRY * u64::from(next.0 % size);
            self.ram
                .write_obj(
                    [u32::from(head).to_le(), written.to_le()],
                    GuestAddress(self.ring.used_ring() + entry),
                )
                .map_err(|_| QueueFault::Ring)?;
            next += 1;
        }
        self.ring.set_next_used(next.0);
        self.ram
            .store(
                next.0.to_le(),
                GuestAddress(self.ring.used_ring() + USED_INDEX),
                Ordering::Release,
            )
            .map_err(|_| QueueFault::Ring)
    }

    /// Interrupts the driver if it wants to know of what was pushed since the
    /// last call. Worth a call also when `pop` found nothing: it may have
    /// returned malformed chains.
    ///
    /// # Errors
    /// The ring cannot be read.
    pub fn notify(&mut self) -> Result<(), QueueFault> {
        if self.wants_interrupt()? {
            self.interrupt.used_buffer(self.index);
        }
        Ok(())
    }

    /// Whether the driver wants an interrupt for what was pushed since the
    /// last call (§2.7.7.2).
    fn wants_interrupt(&mut self) -> Result<bool, QueueFault> {
        let next = Wrapping(self.ring.next_used());
        let pushed = next - Wrapping(std::mem::replace(&mut self.notified, next.0));
        if pushed.0 == 0 {
            return Ok(false);
        }
        // The driver writes its wish and then looks at the used index; the
        // used index was written, and only now is the wish looked at.
        fence(Ordering::SeqCst);
        if self.ring.event_idx_enabled() {
            let used_event = AVAILABLE_ENTRIES + 2 * u64::from(self.size());
            let passed = next - Wrapping(self.available_field(used_event)?) - Wrapping(1);
            Ok(passed < pushed)
        } else {
            let flags = self.available_field(AVAILABLE_FLAGS)?;
            Ok(u32::from(flags) & VRING_AVAIL_F_NO_INTERRUPT == 0)
        }
    }

    /// Reads the field at `offset` of the available ring.
    fn available_field(&self, offset: u64) -> Result<u16, QueueFault> {
        self.ram
            .load(
                GuestAddress(self.ring.avail_ring() + offset),
                Ordering::Relaxed,
            )
            .map(u16::from_le)
            .map_err(|_| QueueFault::Ring)
    }

    /// Asks the driver not to notify: the worker is looking anyway.
    ///
    /// # Errors
    /// The ring cannot be written.
    pub fn disable_notification(&mut self) -> Result<(), QueueFault> {
        self.ring
            .disable_notification(&*self.ram)
            .map_err(|_| QueueFault::Ring)
    }

    /// Asks the driver to notify again. Returns whether buffers became
    /// available meanwhile: then the worker must look once more.
    ///
    /// # Errors
    /// The ring cannot be read or written.
    pub fn enable_notification(&mut self) -> Result<bool, QueueFault> {
        self.ring
            .enable_notification(&*self.ram)
            .map_err(|_| QueueFault::Ring)
    }

    /// Tells the driver that the device needs a reset.
    pub fn needs_reset(&self, fault: QueueFault) {
        self.interrupt.needs_reset();
        let count = self.interrupt.breakdowns();
        // The guest chooses how often: powers of two are worth a line.
        if count.is_power_of_two() {
            let index = self.index;
            log::warn!("queue {index}: {fault}; the device needs a reset ({count} so far)");
        }
    }

    /// Whether its device needs a reset, because of this queue or another one.
    pub fn awaits_reset(&self) -> bool {
        self.interrupt.is_reset_needed()
    }

    /// Where the queue stands, to build it again later.
    pub fn layout(&self) -> QueueLayout {
        QueueLayout {
            size: self.ring.size(),
            descriptors: self.ring.desc_table(),
            available: self.ring.avail_ring(),
            used: self.ring.used_ring(),
            next_available: self.ring.next_avail(),
            next_used: self.ring.next_used(),
        }
    }
}

#[cfg(test)]
mod tests;
