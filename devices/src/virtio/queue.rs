//! A live virtqueue (virtio 1.3 §2.7), as a device's worker uses it.
//!
//! The transport builds one from its registers when the driver says
//! `DRIVER_OK`, and moves it into the worker; `stop` moves it back. It wraps
//! the virtio-queue crate, which only this file and `chain` name, and adds
//! what that leaves out: faults that are seen instead of swallowed, several
//! used buffers published in one step, and the interrupt suppression flag.

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
    /// Whether the three areas are guest memory (§2.7, table of sizes).
    fn lies_in(&self, ram: &Ram) -> bool {
        let size = usize::from(self.size);
        let areas = [
            (self.descriptors, 16 * size),
            (self.available, 6 + 2 * size),
            (self.used, 6 + 8 * size),
        ];
        let mut areas = areas.into_iter();
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

    /// The eventfd that the driver's notifications signal.
    pub fn kick_fd(&self) -> RawFd {
        self.kick.as_raw_fd()
    }

    /// Has the worker woken again soon, after others had their turn. For a
    /// worker that stops though there is more to do.
    pub fn kick_again(&self) {
        let _ = self.kick.write(1);
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

    /// Puts back the request popped last, to be popped again.
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
mod tests {
    use super::*;
    use crate::virtio::fake_driver::{Buffer, FakeDriver, MEMORY, RawDescriptor, Used};
    use crate::virtio::loopback::{QUEUE_SIZE, echo, shelved};
    use proptest::prelude::*;

    const EVENT_IDX: u64 = 1 << 29;
    const END: u64 = MEMORY as u64;

    /// Pops and answers what is there. Returns how many requests that was.
    fn serve(queue: &mut Queue) -> usize {
        let mut chain = Chain::new(queue.ram());
        let mut count = 0;
        while queue.pop(&mut chain).unwrap() {
            let written = echo(&mut chain);
            queue.push(chain.head(), written).unwrap();
            count += 1;
        }
        count
    }

    fn add(driver: &mut FakeDriver) -> u16 {
        let buffer = driver.readable(b"x");
        driver.add(0, &[buffer])
    }

    #[test]
    fn a_layout_must_be_aligned_and_in_memory() {
        let (driver, queue) = shelved(0);
        let good = queue.layout();
        let allowed = |change: &dyn Fn(&mut QueueLayout)| {
            let mut layout = good;
            change(&mut layout);
            let queue = Queue::new(
                0,
                &layout,
                false,
                &driver.ram,
                Arc::clone(&queue.kick),
                queue.interrupt.clone(),
            );
            queue.map(|queue| queue.layout() == layout)
        };
        assert_eq!(allowed(&|_| {}), Ok(true));
        assert_eq!(allowed(&|l| l.descriptors = END - 256), Ok(true));
        assert_eq!(allowed(&|l| l.available = END - 38), Ok(true));
        assert_eq!(allowed(&|l| l.used = END - 136), Ok(true));
        for size in [0, 3, 15, 0x8001, u16::MAX] {
            let refused = allowed(&|l| l.size = size);
            assert_eq!(refused, Err(QueueFault::Layout), "size {size}");
        }
        for address in [END - 16, END, 1 << 63, !0xf] {
            for change in [
                |l: &mut QueueLayout, address| l.descriptors = address,
                |l: &mut QueueLayout, address| l.available = address,
                |l: &mut QueueLayout, address| l.used = address,
            ] {
                let refused = allowed(&|l| change(l, address));
                assert_eq!(refused, Err(QueueFault::Layout), "at {address:#x}");
            }
        }
        assert_eq!(allowed(&|l| l.descriptors += 8), Err(QueueFault::Layout));
        assert_eq!(allowed(&|l| l.available += 1), Err(QueueFault::Layout));
        assert_eq!(allowed(&|l| l.used += 2), Err(QueueFault::Layout));
        assert_eq!(allowed(&|l| l.available = 0), Err(QueueFault::Layout));
    }

    #[test]
    fn an_available_index_that_runs_ahead_breaks_the_ring() {
        let (mut driver, mut queue) = shelved(0);
        let mut chain = Chain::new(&driver.ram);
        for index in [QUEUE_SIZE + 1, 0x8000, u16::MAX] {
            driver.set_available_index(0, index);
            for _ in 0..3 {
                assert_eq!(queue.pop(&mut chain), Err(QueueFault::Ring));
            }
        }
        assert_eq!(driver.used(0), None);
    }

    #[test]
    fn a_head_out_of_range_breaks_the_ring() {
        for head in [QUEUE_SIZE, u16::MAX] {
            let (mut driver, mut queue) = shelved(0);
            let mut chain = Chain::new(&driver.ram);
            driver.make_available(0, head);
            // It cannot be returned: the driver knows no request by it.
            for _ in 0..3 {
                assert_eq!(queue.pop(&mut chain), Err(QueueFault::Ring));
            }
            assert_eq!(driver.used(0), None);
        }
    }

    #[test]
    fn more_requests_in_flight_than_the_queue_holds_break_the_ring() {
        let (mut driver, mut queue) = shelved(0);
        let mut chain = Chain::new(&driver.ram);
        let head = add(&mut driver);
        assert_eq!(queue.pop(&mut chain), Ok(true));
        for _ in 1..QUEUE_SIZE {
            driver.make_available(0, head);
            assert_eq!(queue.pop(&mut chain), Ok(true));
        }
        assert_eq!(queue.pop(&mut chain), Ok(false), "full, and nothing wrong");
        driver.make_available(0, head);
        for _ in 0..3 {
            assert_eq!(queue.pop(&mut chain), Err(QueueFault::Ring));
        }
    }

    #[test]
    fn only_heads_of_the_queue_can_be_returned() {
        let (mut driver, mut queue) = shelved(0);
        assert_eq!(queue.push(QUEUE_SIZE, 0), Err(QueueFault::Ring));
        assert_eq!(driver.used(0), None);
    }

    #[test]
    fn requests_returned_together_are_seen_together_or_not_at_all() {
        let (mut driver, mut queue) = shelved(0);
        let mut chain = Chain::new(&driver.ram);
        let heads: Vec<_> = (0..3).map(|_| add(&mut driver)).collect();
        for _ in &heads {
            assert_eq!(queue.pop(&mut chain), Ok(true));
        }
        let unknown = [(heads[0], 0), (QUEUE_SIZE, 0)];
        assert_eq!(queue.push_together(unknown), Err(QueueFault::Ring));
        let many = (0..=QUEUE_SIZE).map(|_| (0, 0));
        assert_eq!(queue.push_together(many), Err(QueueFault::Ring));
        assert_eq!(driver.used(0), None);
        queue.notify().unwrap();
        assert_eq!(driver.take_interrupts(), 0);
        let used = heads.iter().map(|head| (*head, 7));
        queue.push_together(used).unwrap();
        for head in heads {
            assert_eq!(driver.used(0), Some(Used { head, written: 7 }));
        }
        assert_eq!(driver.used(0), None);
    }

    #[test]
    fn malformed_chains_without_end_leave_others_their_turn() {
        let (mut driver, mut queue) = shelved(0);
        let mut chain = Chain::new(&driver.ram);
        let outside = RawDescriptor {
            address: END,
            len: 1,
            flags: 0,
            next: 0,
        };
        driver.set_descriptor(0, 3, outside);
        for _ in 0..QUEUE_SIZE {
            driver.make_available(0, 3);
        }
        assert_eq!(queue.pop(&mut chain), Ok(false));
        assert_eq!(queue.faults(), u64::from(QUEUE_SIZE));
        for _ in 0..QUEUE_SIZE {
            assert_eq!(driver.used(0).unwrap().head, 3);
        }
        // All of them are notified of, though no request was served.
        queue.notify().unwrap();
        assert_eq!(driver.take_interrupts(), 1);
        add(&mut driver);
        assert_eq!(serve(&mut queue), 1);
    }

    #[test]
    fn a_kick_by_the_worker_itself_is_a_kick() {
        let (_driver, queue) = shelved(0);
        assert!(queue.kick.read().is_err(), "no kick yet");
        queue.kick_again();
        assert_eq!(queue.kick.read().unwrap(), 1);
    }

    #[test]
    fn an_unpopped_request_is_popped_again() {
        let (mut driver, mut queue) = shelved(0);
        let mut chain = Chain::new(&driver.ram);
        let heads = [add(&mut driver), add(&mut driver)];
        for head in heads {
            for _ in 0..3 {
                assert_eq!(queue.pop(&mut chain), Ok(true));
                assert_eq!(chain.head(), head);
                queue.unpop();
            }
            assert_eq!(queue.pop(&mut chain), Ok(true));
        }
        assert_eq!(queue.pop(&mut chain), Ok(false));
    }

    #[test]
    fn interrupts_follow_what_was_returned() {
        let (mut driver, mut queue) = shelved(0);
        queue.notify().unwrap();
        assert_eq!(driver.take_interrupts(), 0, "nothing was returned yet");
        for _ in 0..3 {
            add(&mut driver);
        }
        serve(&mut queue);
        queue.notify().unwrap();
        queue.notify().unwrap();
        assert_eq!(driver.take_interrupts(), 1, "one for all three");
    }

    #[test]
    fn the_no_interrupt_flag_is_honoured() {
        let (mut driver, mut queue) = shelved(0);
        for (flags, interrupts) in [(1, 0), (0, 1), (1, 0)] {
            driver.suppress_interrupts(0, flags, 0);
            add(&mut driver);
            serve(&mut queue);
            queue.notify().unwrap();
            assert_eq!(driver.take_interrupts(), interrupts, "flags {flags}");
        }
    }

    #[test]
    fn an_interrupt_comes_when_the_used_event_is_passed() {
        let (mut driver, mut queue) = shelved(EVENT_IDX);
        // The flag means nothing with event indices (§2.7.7.1).
        driver.suppress_interrupts(0, 1, 3);
        for (returned, interrupts) in [(2, 0), (1, 0), (2, 1), (2, 0)] {
            for _ in 0..returned {
                add(&mut driver);
            }
            serve(&mut queue);
            queue.notify().unwrap();
            assert_eq!(driver.take_interrupts(), interrupts);
        }
        driver.suppress_interrupts(0, 0, 7);
        add(&mut driver);
        serve(&mut queue);
        queue.notify().unwrap();
        assert_eq!(driver.take_interrupts(), 1);
    }

    #[test]
    fn the_driver_is_told_whether_to_notify() {
        let (mut driver, mut queue) = shelved(0);
        queue.disable_notification().unwrap();
        assert_eq!(driver.notification_wishes(0).0, 1);
        assert_eq!(queue.enable_notification(), Ok(false));
        assert_eq!(driver.notification_wishes(0).0, 0);
        // A request that comes while notifications are off is not lost.
        queue.disable_notification().unwrap();
        add(&mut driver);
        assert_eq!(queue.enable_notification(), Ok(true));
        assert_eq!(serve(&mut queue), 1);
        assert_eq!(queue.enable_notification(), Ok(false));
    }

    #[test]
    fn the_driver_is_told_when_to_notify() {
        let (mut driver, mut queue) = shelved(EVENT_IDX);
        for served in 1..4 {
            queue.disable_notification().unwrap();
            add(&mut driver);
            assert_eq!(queue.enable_notification(), Ok(true));
            assert_eq!(serve(&mut queue), 1);
            assert_eq!(queue.enable_notification(), Ok(false));
            assert_eq!(driver.notification_wishes(0), (0, served));
        }
    }

    #[test]
    fn indices_wrap_around() {
        let (mut driver, mut queue) = shelved(EVENT_IDX);
        let address = driver.allocate(1);
        let buffer = Buffer::Readable { address, len: 1 };
        for round in 0..=u16::MAX {
            let head = driver.add(0, &[buffer]);
            driver.suppress_interrupts(0, 0, round);
            assert_eq!(serve(&mut queue), 1);
            queue.notify().unwrap();
            assert_eq!(driver.used(0).unwrap().head, head);
        }
        assert_eq!(driver.take_interrupts(), 1 << 16);
        assert_eq!(queue.layout().next_available, 0);
    }

    /// An address that is interesting: in plain memory, at its edges, and if
    /// `wild` also in the queue itself.
    fn address(wild: bool) -> BoxedStrategy<u64> {
        let tame = prop_oneof![
            4 => 0x100_0000u64..0x100_1000,
            2 => END / 2 - 0x100..END / 2 + 0x100,
            1 => END - 0x100..END + 0x100,
            1 => END + 0x100..,
        ];
        if wild {
            prop_oneof![2 => tame, 1 => 0x1_0000u64..0x1_0400].boxed()
        } else {
            tame.boxed()
        }
    }

    fn descriptor(wild: bool) -> impl Strategy<Value = RawDescriptor> {
        let len = prop_oneof![6 => 0u32..0x80, 2 => (0u32..20).prop_map(|n| 16 * n), 1 => 0u32..];
        // NEXT, WRITE, INDIRECT in any combination; others mean nothing.
        let flags = prop_oneof![4 => 0u16..4, 1 => 0u16..16];
        (address(wild), len, flags, 0u16..QUEUE_SIZE + 2).prop_map(
            move |(address, len, flags, next)| RawDescriptor {
                address,
                // A tame buffer does not wrap into the queue.
                len: if wild { len } else { len.min(0x1000) },
                flags,
                next,
            },
        )
    }

    fn table(wild: bool) -> impl Strategy<Value = Vec<RawDescriptor>> {
        prop::collection::vec(descriptor(wild), usize::from(QUEUE_SIZE))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Whatever the descriptors say, each head that is made available
        /// comes back exactly once.
        #[test]
        fn every_head_comes_back_once(
            table in table(false),
            indirect in table(false),
            batches in prop::collection::vec(
                prop::collection::vec(0..QUEUE_SIZE, 0..=usize::from(QUEUE_SIZE)),
                1..4,
            ),
        ) {
            let (mut driver, mut queue) = shelved(u64::MAX);
            let mut chain = Chain::new(&driver.ram);
            driver.poke_table(0x100_0000, &indirect);
            for batch in batches {
                // The device may have written over the tables.
                for (descriptor, i) in table.iter().zip(0..) {
                    driver.set_descriptor(0, i, *descriptor);
                }
                for head in &batch {
                    driver.make_available(0, *head);
                }
                let mut in_flight = Vec::new();
                while queue.pop(&mut chain).unwrap() {
                    in_flight.push((chain.head(), echo(&mut chain)));
                    prop_assert!(in_flight.len() <= batch.len());
                }
                // Devices finish in any order.
                for (head, written) in in_flight.into_iter().rev() {
                    queue.push(head, written).unwrap();
                }
                queue.notify().unwrap();
                let mut returned: Vec<_> =
                    std::iter::from_fn(|| driver.used(0)).map(|used| used.head).collect();
                returned.sort_unstable();
                let mut expected = batch;
                expected.sort_unstable();
                prop_assert_eq!(returned, expected);
            }
        }

        /// A driver that lets the device write over its own queue, and
        /// publishes what it likes, hurts nobody.
        #[test]
        fn a_wild_driver_is_survived(
            table in table(true),
            events in prop::collection::vec((any::<u16>(), 0..QUEUE_SIZE + 2, any::<bool>()), 1..20),
            features in prop_oneof![Just(0), Just(u64::MAX)],
        ) {
            let (mut driver, mut queue) = shelved(features);
            let mut chain = Chain::new(&driver.ram);
            for (descriptor, i) in table.iter().zip(0..) {
                driver.set_descriptor(0, i, *descriptor);
            }
            for (index, head, publish) in events {
                if publish {
                    driver.set_available_index(0, index);
                }
                driver.make_available(0, head);
                for _ in 0..2 * QUEUE_SIZE {
                    let _ = queue.enable_notification();
                    match queue.pop(&mut chain) {
                        Ok(true) => {
                            let written = echo(&mut chain);
                            queue.push(chain.head(), written).unwrap();
                        }
                        Ok(false) | Err(_) => break,
                    }
                }
                let _ = queue.notify();
            }
        }
    }
}
