//! The register that says how many vCPUs are there, for guests to whom vCPUs
//! are added while they run (ACPI 6.5 §8.4).
//!
//! One register of four bytes, read by the AML of the guest's tables. Whoever
//! operates the machine sets it once the vCPUs exist; their number only grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::bus::BusDevice;

use super::events::Event;

/// Bytes of the register.
pub const LEN: u64 = 4;

/// The register. Clones are the same one.
#[derive(Clone, Debug)]
pub struct CpuCountRegister {
    count: Arc<AtomicU32>,
    event: Event,
}

impl CpuCountRegister {
    /// A register of a machine with `count` vCPUs, that raises `event` when
    /// there are more.
    pub fn new(count: u8, event: Event) -> Self {
        let count = Arc::new(AtomicU32::new(count.into()));
        Self { count, event }
    }

    /// Has the guest find that there are `count` vCPUs now. Says nothing unless
    /// that is more than before.
    pub fn announce(&self, count: u8) {
        let before = self.count.fetch_max(count.into(), Ordering::AcqRel);
        if before < count.into() {
            self.event.raise();
        }
    }
}

impl BusDevice for CpuCountRegister {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if let (0, Ok(data)) = (offset, <&mut [u8; 4]>::try_from(data)) {
            *data = self.count.load(Ordering::Acquire).to_le_bytes();
        }
    }

    fn write(&mut self, _offset: u64, _data: &[u8]) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interrupt::InterruptLine;
    use crate::platform::events::EventRegister;

    #[test]
    fn more_vcpus_are_announced_and_fewer_are_not() {
        let line = InterruptLine::new().unwrap();
        let event = EventRegister::new(line.clone()).event(1);
        let mut register = CpuCountRegister::new(2, event);
        for (announced, count, raised) in [(2, 2, 0), (4, 4, 1), (3, 4, 0), (5, 5, 1)] {
            register.announce(announced);
            let mut data = [0xaa; 4];
            register.read(0, &mut data);
            assert_eq!(u32::from_le_bytes(data), count);
            assert_eq!(line.take(), raised, "{announced}");
        }
    }

    #[test]
    fn the_guest_cannot_change_it() {
        let event = EventRegister::new(InterruptLine::new().unwrap()).event(1);
        let mut register = CpuCountRegister::new(2, event);
        register.write(0, &[9, 0, 0, 0]);
        let mut data = [0xaa; 4];
        register.read(0, &mut data);
        assert_eq!(data, [2, 0, 0, 0]);
    }
}
