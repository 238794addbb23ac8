//! What is left of the keyboard controller: the reset line, and ports 0x60 to
//! 0x64 that read so that no guest waits on them.
//!
//! There is no keyboard, and ACPI says so (FADT boot flags without 8042). A
//! guest that asks the hardware all the same should find out at once: the
//! output buffer always looks full, so that a wait for a reply ends, a probe
//! that first drains the buffer concludes that there is no controller (Linux
//! gives up after 16 bytes), and the input buffer always looks free for the
//! reset command (Linux `reboot=k`).

use crate::bus::BusDevice;

use super::request::{MachineRequest, RequestSender};

/// First port of the range.
pub const BASE: u64 = 0x60;
/// Number of ports.
pub const LEN: u64 = 5;

/// Port 0x61, system control port B: timer 2 gate, speaker, refresh toggle.
const SYSTEM_CONTROL: u64 = 1;
/// Port 0x64: command on write, status on read.
const COMMAND: u64 = 4;

/// Pulses the reset line (output port bit 0).
const PULSE_RESET: u8 = 0xfe;

/// Output buffer full, input buffer empty (bit 1 clear), all else as on an
/// undriven bus.
const STATUS: u8 = 0xfd;

/// Timer 2 gate and speaker enable can be read back.
const SYSTEM_CONTROL_WRITABLE: u8 = 0b11;
/// Refresh cycle (bit 4) and timer 2 output (bit 5) change on every read:
/// guests count these changes to wait.
const SYSTEM_CONTROL_TOGGLING: u8 = 0b11_0000;

/// Ports 0x60 to 0x64.
#[derive(Debug)]
pub struct I8042 {
    system_control: u8,
    requests: RequestSender,
}

impl I8042 {
    /// A controller whose reset line leads to `requests`.
    pub fn new(requests: RequestSender) -> Self {
        Self {
            system_control: 0,
            requests,
        }
    }

    fn read_port(&mut self, offset: u64) -> u8 {
        match offset {
            SYSTEM_CONTROL => {
                self.system_control ^= SYSTEM_CONTROL_TOGGLING;
                self.system_control
            }
            COMMAND => STATUS,
            _ => 0xff,
        }
    }
}

impl BusDevice for I8042 {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        for (at, byte) in (offset..=u64::MAX).zip(data) {
            *byte = self.read_port(at);
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        for (at, &byte) in (offset..=u64::MAX).zip(data) {
            match (at, byte) {
                (SYSTEM_CONTROL, value) => {
                    self.system_control &= !SYSTEM_CONTROL_WRITABLE;
                    self.system_control |= value & SYSTEM_CONTROL_WRITABLE;
                }
                (COMMAND, PULSE_RESET) => self.requests.send(MachineRequest::Reset),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::request::request_channel;

    #[test]
    fn the_reset_pulse_resets() {
        let (sender, receiver) = request_channel();
        let mut i8042 = I8042::new(sender);
        i8042.write(COMMAND, &[0xd1]);
        i8042.write(0, &[PULSE_RESET]);
        assert!(receiver.try_recv().is_err());
        i8042.write(COMMAND, &[PULSE_RESET]);
        assert_eq!(receiver.try_recv(), Ok(MachineRequest::Reset));
    }

    #[test]
    fn no_wait_for_the_controller_lasts() {
        let (sender, _receiver) = request_channel();
        let mut i8042 = I8042::new(sender);
        let mut status = [0];
        i8042.read(COMMAND, &mut status);
        assert_eq!(status[0] & 0b01, 0b01, "a reply is always there");
        assert_eq!(status[0] & 0b10, 0, "a command is always accepted");
    }

    #[test]
    fn the_refresh_and_timer_bits_toggle_and_the_gate_reads_back() {
        let (sender, _receiver) = request_channel();
        let mut i8042 = I8042::new(sender);
        i8042.write(SYSTEM_CONTROL, &[0xff]);
        let (mut first, mut second) = ([0], [0]);
        i8042.read(SYSTEM_CONTROL, &mut first);
        i8042.read(SYSTEM_CONTROL, &mut second);
        assert_eq!(first[0] ^ second[0], SYSTEM_CONTROL_TOGGLING);
        assert_eq!(first[0] & !SYSTEM_CONTROL_TOGGLING, SYSTEM_CONTROL_WRITABLE);
    }
}
