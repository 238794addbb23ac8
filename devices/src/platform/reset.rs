//! The ACPI reset register: one byte-wide port that resets the machine when
//! the value named in the FADT is written to it (ACPI 6.5 §4.8.3.6).

use crate::bus::BusDevice;

use super::request::{MachineRequest, RequestSender};

/// The reset register.
#[derive(Debug)]
pub struct ResetRegister {
    value: u8,
    requests: RequestSender,
}

impl ResetRegister {
    /// A register that resets the machine when `value` is written.
    pub fn new(value: u8, requests: RequestSender) -> Self {
        Self { value, requests }
    }
}

impl BusDevice for ResetRegister {
    fn read(&mut self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if offset == 0 && data.first() == Some(&self.value) {
            self.requests.send(MachineRequest::Reset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::request::request_channel;

    #[test]
    fn only_the_reset_value_resets() {
        let (sender, receiver) = request_channel();
        let mut register = ResetRegister::new(1, sender);
        for ignored in [0, 2, 0xff] {
            register.write(0, &[ignored]);
        }
        register.write(1, &[1]);
        register.write(0, &[]);
        assert!(receiver.try_recv().is_err());
        register.write(0, &[1]);
        assert_eq!(receiver.try_recv(), Ok(MachineRequest::Reset));
    }
}
