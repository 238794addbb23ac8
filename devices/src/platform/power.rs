//! The sleep registers of hardware-reduced ACPI: how a guest turns its power
//! off (ACPI 6.5 §4.8.3.7).
//!
//! Two byte-wide registers side by side: sleep control, then sleep status.
//! The FADT gives their addresses and the DSDT's `_S5` package the sleep type
//! that means power-off; the machine passes the same number to
//! [`SleepRegisters::new`]. Every other sleep type is ignored.

use crate::bus::BusDevice;

use super::request::{MachineRequest, RequestSender};

/// Offset of the sleep control register; sleep status, which always reads as
/// zero since the machine never sleeps, follows it.
const SLEEP_CONTROL: u64 = 0;

/// SLP_EN: enter the state named by the sleep type.
const SLEEP_ENABLE: u8 = 1 << 5;
/// SLP_TYPx occupies bits 2 to 4.
const SLEEP_TYPE_SHIFT: u8 = 2;
const SLEEP_TYPE_MASK: u8 = 0b111;

/// The sleep control and sleep status registers.
#[derive(Debug)]
pub struct SleepRegisters {
    power_off: u8,
    requests: RequestSender,
}

impl SleepRegisters {
    /// Registers in which sleep type `power_off` (0 to 7) turns the power off.
    pub fn new(power_off: u8, requests: RequestSender) -> Self {
        Self {
            power_off,
            requests,
        }
    }
}

impl BusDevice for SleepRegisters {
    fn read(&mut self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let (SLEEP_CONTROL, &[value, ..]) = (offset, data) else {
            return;
        };
        let sleep_type = (value >> SLEEP_TYPE_SHIFT) & SLEEP_TYPE_MASK;
        if value & SLEEP_ENABLE != 0 && sleep_type == self.power_off {
            self.requests.send(MachineRequest::PowerOff);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::request::request_channel;

    #[test]
    fn only_the_enabled_power_off_type_turns_the_power_off() {
        let (sender, receiver) = request_channel();
        let mut registers = SleepRegisters::new(5, sender);
        registers.write(0, &[5 << 2]);
        registers.write(0, &[SLEEP_ENABLE | (3 << 2)]);
        registers.write(1, &[SLEEP_ENABLE | (5 << 2)]);
        assert!(receiver.try_recv().is_err());
        registers.write(0, &[SLEEP_ENABLE | (5 << 2)]);
        assert_eq!(receiver.try_recv(), Ok(MachineRequest::PowerOff));
    }

    #[test]
    fn both_registers_read_as_zero() {
        let (sender, _receiver) = request_channel();
        let mut data = [0xaa; 2];
        SleepRegisters::new(5, sender).read(0, &mut data);
        assert_eq!(data, [0, 0]);
    }
}
