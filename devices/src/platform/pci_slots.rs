//! The registers for hot-plug of PCI devices, that the AML of the guest's
//! tables reads and writes (ACPI 6.5 §6.3).
//!
//! Three registers of four bytes. Two bitmaps that reading clears: slots with a
//! new device, and slots that the guest is asked to give up. Then one that the
//! guest writes: the number of the slot that it has given up, whether it was
//! asked to or did so by itself.
//!
//! Whoever operates the machine announces, asks, and is told once when slots
//! were given up, until it has taken them: a guest that repeats itself costs
//! nothing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::bus::BusDevice;

use super::events::{Event, read_once};

/// Bytes of the registers.
pub const LEN: u64 = 12;

const NEW: u64 = 0;
const UNWANTED: u64 = 4;
const EJECTED: u64 = 8;

struct Shared {
    /// Not yet read by the guest.
    new: AtomicU32,
    /// Not yet read by the guest.
    unwanted: AtomicU32,
    /// Not yet taken by the machine.
    ejected: AtomicU32,
    event: Event,
    on_eject: Box<dyn Fn() + Send + Sync>,
}

/// The slots of a PCI bus whose devices come and go. Clones are the same slots.
/// A number that is no slot's, 0 or above 31, stands for nothing.
#[derive(Clone)]
pub struct PciSlots(Arc<Shared>);

impl PciSlots {
    /// Slots that raise `event` when the guest is to look at them. `on_eject`
    /// is called on a vCPU's thread, so it must not block; it says that
    /// [`take_ejected`](Self::take_ejected) has something, and is not called
    /// again before that was called.
    pub fn new(event: Event, on_eject: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            new: AtomicU32::new(0),
            unwanted: AtomicU32::new(0),
            ejected: AtomicU32::new(0),
            event,
            on_eject: Box::new(on_eject),
        }))
    }

    /// Has the guest find the device that is now in `slot`.
    pub fn announce(&self, slot: u8) {
        self.0.new.fetch_or(bit(slot), Ordering::AcqRel);
        self.0.event.raise();
    }

    /// Asks the guest to give up the device in `slot`. It answers when it has;
    /// it need not. Until then the slot is not free for another device, also if
    /// this one is gone: the guest would give up the next instead.
    pub fn request_eject(&self, slot: u8) {
        self.0.unwanted.fetch_or(bit(slot), Ordering::AcqRel);
        self.0.event.raise();
    }

    /// Takes a request back, and returns whether the guest had not read it yet:
    /// then it never hears of it. One that it has read cannot be taken back.
    pub fn withdraw_eject(&self, slot: u8) -> bool {
        let before = self.0.unwanted.fetch_and(!bit(slot), Ordering::AcqRel);
        before & bit(slot) != 0
    }

    /// The slots that the guest gave up since the last call, lowest first.
    /// There may be nothing in them. A request to give one of them up that the
    /// guest has not read yet has been granted, and is not for the next device
    /// in that slot.
    pub fn take_ejected(&self) -> impl Iterator<Item = u8> + use<> {
        let ejected = self.0.ejected.swap(0, Ordering::AcqRel);
        self.0.unwanted.fetch_and(!ejected, Ordering::AcqRel);
        (1..32).filter(move |&slot| ejected & bit(slot) != 0)
    }

    fn eject(&self, slot: u32) {
        let bit = u8::try_from(slot).map_or(0, bit);
        if bit != 0 && self.0.ejected.fetch_or(bit, Ordering::AcqRel) == 0 {
            (self.0.on_eject)();
        }
    }
}

/// Nothing for what is no slot that can change.
fn bit(slot: u8) -> u32 {
    1_u32.checked_shl(slot.into()).unwrap_or(0) & !1
}

impl fmt::Debug for PciSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PciSlots")
    }
}

impl BusDevice for PciSlots {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        match offset {
            NEW..UNWANTED => read_once(&self.0.new, offset - NEW, data),
            UNWANTED..EJECTED => read_once(&self.0.unwanted, offset - UNWANTED, data),
            _ => data.fill(0),
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if let (EJECTED, Ok(slot)) = (offset, data.try_into()) {
            self.eject(u32::from_le_bytes(slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::interrupt::InterruptLine;
    use crate::platform::events::EventRegister;

    /// Slots, how often they told of ejections, and their event's line.
    fn slots() -> (PciSlots, Receiver<()>, InterruptLine) {
        let line = InterruptLine::new().unwrap();
        let event = EventRegister::new(line.clone()).event(1);
        let (sender, told) = channel();
        let slots = PciSlots::new(event, move || sender.send(()).unwrap());
        (slots, told, line)
    }

    fn read(slots: &mut PciSlots, offset: u64) -> u32 {
        let mut data = [0xaa; 4];
        slots.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    fn eject(slots: &mut PciSlots, slot: u32) {
        slots.write(EJECTED, &slot.to_le_bytes());
    }

    #[test]
    fn the_guest_reads_each_announcement_and_request_once() {
        let (mut slots, _told, line) = slots();
        slots.announce(1);
        slots.announce(31);
        slots.request_eject(7);
        assert_eq!(line.take(), 3);
        assert_eq!(read(&mut slots, NEW), 1 << 31 | 1 << 1);
        assert_eq!(read(&mut slots, UNWANTED), 1 << 7);
        assert_eq!(read(&mut slots, NEW), 0);
        assert_eq!(read(&mut slots, UNWANTED), 0);
    }

    #[test]
    fn ejections_are_told_once_until_they_are_taken() {
        let (mut slots, told, _line) = slots();
        for _ in 0..1000 {
            eject(&mut slots, 3);
            eject(&mut slots, 31);
        }
        assert_eq!(told.try_iter().count(), 1);
        assert_eq!(slots.take_ejected().collect::<Vec<_>>(), [3, 31]);
        assert_eq!(slots.take_ejected().count(), 0);
        eject(&mut slots, 3);
        assert_eq!(told.try_iter().count(), 1);
    }

    #[test]
    fn a_request_that_was_not_read_ends_with_the_device_that_it_was_for() {
        let (mut slots, _told, _line) = slots();
        slots.request_eject(3);
        assert_eq!(read(&mut slots, UNWANTED), 1 << 3);
        // Somebody asks again while the guest is at it.
        slots.request_eject(3);
        slots.request_eject(4);
        eject(&mut slots, 3);
        assert_eq!(slots.take_ejected().collect::<Vec<_>>(), [3]);
        slots.announce(3);
        assert_eq!(read(&mut slots, UNWANTED), 1 << 4);
    }

    #[test]
    fn a_request_is_taken_back_until_the_guest_has_read_it() {
        let (mut slots, _told, _line) = slots();
        slots.request_eject(3);
        slots.request_eject(4);
        assert!(slots.withdraw_eject(3));
        assert!(!slots.withdraw_eject(3));
        assert_eq!(read(&mut slots, UNWANTED), 1 << 4);
        assert!(!slots.withdraw_eject(4));
        assert!(!slots.withdraw_eject(0));
    }

    #[test]
    fn what_is_no_slot_stands_for_nothing() {
        let (mut slots, told, _line) = slots();
        for slot in [0, 32, 33, 255, 256, u32::MAX] {
            eject(&mut slots, slot);
        }
        slots.write(EJECTED, &[3]);
        slots.write(EJECTED - 1, &[3, 0, 0, 0]);
        for slot in [0, 32, 255] {
            slots.announce(slot);
            slots.request_eject(slot);
        }
        assert_eq!(told.try_iter().count(), 0);
        assert_eq!(slots.take_ejected().count(), 0);
        assert_eq!((read(&mut slots, NEW), read(&mut slots, UNWANTED)), (0, 0));
    }
}
