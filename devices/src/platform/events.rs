//! The event register behind the ACPI Generic Event Device (ACPI 6.5 §5.6.9):
//! how the machine tells a running guest that something happened to it.
//!
//! One four-byte register: a bit for each kind of event, set by the machine and
//! cleared as the guest reads it, and one edge interrupt that says so. Whoever
//! operates the machine hands an [`Event`] to each device that has something
//! to announce. Raising one never blocks and remembers no more than that it
//! was raised.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::bus::BusDevice;
use crate::interrupt::InterruptLine;

/// Bytes of the register.
pub const LEN: u64 = 4;

#[derive(Debug)]
struct Shared {
    pending: AtomicU32,
    line: InterruptLine,
}

/// The register. Clones are the same one.
#[derive(Clone, Debug)]
pub struct EventRegister(Arc<Shared>);

impl EventRegister {
    /// A register that interrupts through `line`. Nothing has happened yet.
    pub fn new(line: InterruptLine) -> Self {
        let pending = AtomicU32::new(0);
        Self(Arc::new(Shared { pending, line }))
    }

    /// The event with the bits `bit`, as the guest's tables know it.
    pub fn event(&self, bit: u32) -> Event {
        Event {
            bit,
            register: self.clone(),
        }
    }

    /// Interrupts again if the guest has not read all that happened. An edge
    /// is lost on a guest that has not yet set the interrupt up, so whoever
    /// waits for an answer reminds it now and then. Returns whether there was
    /// something.
    pub fn remind(&self) -> bool {
        let unread = self.0.pending.load(Ordering::Acquire) != 0;
        if unread {
            self.0.line.trigger();
        }
        unread
    }
}

impl BusDevice for EventRegister {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        read_once(&self.0.pending, offset, data);
    }

    fn write(&mut self, _offset: u64, _data: &[u8]) {}
}

/// Something that can happen to the machine. Clones are the same.
#[derive(Clone, Debug)]
pub struct Event {
    bit: u32,
    register: EventRegister,
}

impl Event {
    /// It happened. What the guest is to find in other registers is there
    /// already.
    pub fn raise(&self) {
        let shared = &self.register.0;
        shared.pending.fetch_or(self.bit, Ordering::AcqRel);
        shared.line.trigger();
    }
}

/// The guest reads `register`, which clears it. An access that is not the
/// whole register reads as zero and clears nothing.
pub(super) fn read_once(register: &AtomicU32, offset: u64, data: &mut [u8]) {
    data.fill(0);
    if let (0, Ok(data)) = (offset, <&mut [u8; 4]>::try_from(data)) {
        *data = register.swap(0, Ordering::AcqRel).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(device: &mut impl BusDevice) -> u32 {
        let mut data = [0xaa; 4];
        device.read(0, &mut data);
        u32::from_le_bytes(data)
    }

    #[test]
    fn what_happened_is_read_once_and_interrupts_each_time() {
        let line = InterruptLine::new().unwrap();
        let mut register = EventRegister::new(line.clone());
        assert_eq!((read(&mut register), line.take()), (0, 0));
        let (button, slots) = (register.event(1), register.event(2));
        button.raise();
        slots.clone().raise();
        slots.raise();
        assert_eq!(line.take(), 3);
        assert_eq!(read(&mut register), 3);
        assert_eq!(read(&mut register), 0);
        button.raise();
        assert_eq!((read(&mut register), line.take()), (1, 1));
    }

    #[test]
    fn a_guest_is_reminded_of_what_it_has_not_read_only() {
        let line = InterruptLine::new().unwrap();
        let mut register = EventRegister::new(line.clone());
        register.remind();
        assert_eq!(line.take(), 0);
        register.event(4).raise();
        line.take();
        register.remind();
        assert_eq!(line.take(), 1);
        read(&mut register);
        register.remind();
        assert_eq!(line.take(), 0);
    }

    #[test]
    fn a_part_of_the_register_says_and_clears_nothing() {
        let mut register = EventRegister::new(InterruptLine::new().unwrap());
        register.event(1).raise();
        for (offset, len) in [(0, 1), (0, 2), (1, 3), (0, 8), (4, 4)] {
            let mut data = [0xaa; 8];
            register.read(offset, &mut data[..len]);
            assert!(data[..len].iter().all(|&byte| byte == 0));
        }
        register.write(0, &[0xff; 4]);
        assert_eq!(read(&mut register), 1);
    }
}
