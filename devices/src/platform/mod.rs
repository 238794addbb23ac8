//! Platform devices: what a PC has on its I/O ports beside virtio.
//!
//! The machine puts them on its port [`Bus`](crate::bus::Bus). They do not
//! know their own port numbers; each file says where a PC has its device. A
//! device that wants something of the machine as a whole, such as a power-off,
//! sends a [`request::MachineRequest`].

pub mod cpu_count;
pub mod events;
pub mod i8042;
pub mod panic;
pub mod pci_slots;
pub mod power;
pub mod request;
pub mod reset;
pub mod rtc;
pub mod serial;
pub mod watchdog;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::BusDevice;
    use crate::interrupt::InterruptLine;
    use proptest::prelude::*;

    fn every_device() -> Vec<Box<dyn BusDevice>> {
        let (requests, _) = request::request_channel();
        let output = crate::console::buffer::ConsoleBuffer::new().unwrap();
        let serial = serial::Serial::new(InterruptLine::new().unwrap(), output).unwrap();
        let events = events::EventRegister::new(InterruptLine::new().unwrap());
        vec![
            Box::new(cpu_count::CpuCountRegister::new(1, events.event(1))),
            Box::new(pci_slots::PciSlots::new(events.event(1), || {})),
            Box::new(events),
            Box::new(watchdog::Watchdog::new(60).unwrap()),
            Box::new(panic::PanicPort::new(|| {})),
            Box::new(i8042::I8042::new(requests.clone())),
            Box::new(power::SleepRegisters::new(5, requests.clone())),
            Box::new(reset::ResetRegister::new(1, requests)),
            Box::new(rtc::Rtc::new()),
            Box::new(serial),
        ]
    }

    proptest! {
        #[test]
        fn no_access_of_any_width_at_any_offset_panics(
            accesses in proptest::collection::vec(
                (any::<bool>(), prop_oneof![0u64..10, any::<u64>()], any::<[u8; 8]>(), 0usize..=8),
                0..100,
            )
        ) {
            for mut device in every_device() {
                for &(is_write, offset, mut data, len) in &accesses {
                    if is_write {
                        device.write(offset, &data[..len]);
                    } else {
                        device.read(offset, &mut data[..len]);
                    }
                }
            }
        }
    }
}
