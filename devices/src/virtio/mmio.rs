//! virtio over MMIO: the register map of virtio 1.3 §4.2.2 ("version 2").
//!
//! The guest learns of the device from ACPI. Queue notifications are meant to
//! be caught by an ioeventfd at [`QUEUE_NOTIFY`], so that they never come
//! here; interrupts go out through one [`InterruptLine`].

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use virtio_bindings::virtio_mmio as register;
use vmm_sys_util::eventfd::EventFd;

use super::device::VirtioDevice;
use super::interrupt::{DeviceInterrupt, Signal};
use super::queue_registers::{Area, Half};
use super::transport::{RegisterMap, Transport};
use crate::bus::BusDevice;
use crate::interrupt::InterruptLine;
use crate::memory::Ram;
use crate::reactor::ReactorError;

/// Bytes of address space that a device takes: one page, of which the
/// registers take 0x100 and the configuration space the rest.
pub const WINDOW: u64 = 0x1000;

/// Offset of the register that a driver writes a queue's number to.
pub const QUEUE_NOTIFY: u64 = register::VIRTIO_MMIO_QUEUE_NOTIFY as u64;

/// "virt", little-endian (§4.2.2).
const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
/// "PLIN": nobody assigns these, and drivers do not look.
const VENDOR: u32 = 0x4e49_4c50;
const CONFIG: u64 = register::VIRTIO_MMIO_CONFIG as u64;

/// The interrupt status register and the line under it.
struct MmioSignal {
    status: Arc<AtomicU32>,
    line: InterruptLine,
}

impl MmioSignal {
    fn raise(&self, cause: u32) {
        self.status.fetch_or(cause, Ordering::AcqRel);
        self.line.trigger();
    }
}

impl Signal for MmioSignal {
    fn used_buffer(&self, _queue: u16) {
        self.raise(register::VIRTIO_MMIO_INT_VRING);
    }

    fn config_change(&self) {
        self.raise(register::VIRTIO_MMIO_INT_CONFIG);
    }
}

/// A virtio device on an MMIO bus.
pub struct MmioTransport {
    core: Transport,
    interrupt_status: Arc<AtomicU32>,
}

impl MmioTransport {
    /// Puts `device` behind MMIO registers; it interrupts through `line`.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new(device: Box<dyn VirtioDevice>, ram: Ram, line: InterruptLine) -> io::Result<Self> {
        let interrupt_status = Arc::new(AtomicU32::new(0));
        let signal = MmioSignal {
            status: Arc::clone(&interrupt_status),
            line,
        };
        Ok(Self {
            core: Transport::new(device, ram, DeviceInterrupt::new(signal))?,
            interrupt_status,
        })
    }

    /// The eventfds to signal when the driver writes a queue's number to
    /// [`QUEUE_NOTIFY`], by that number.
    pub fn kicks(&self) -> impl Iterator<Item = &EventFd> {
        self.core.kicks()
    }

    /// See [`Transport::pause`].
    ///
    /// # Errors
    /// As there.
    pub fn pause(&mut self) -> Result<(), ReactorError> {
        self.core.pause()
    }

    /// See [`Transport::resume`].
    pub fn resume(&mut self) {
        self.core.resume();
    }

    /// How often the driver broke the rules.
    pub fn faults(&self) -> u64 {
        self.core.faults()
    }

    fn read_register(&self, offset: u32) -> u32 {
        match offset {
            register::VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            register::VIRTIO_MMIO_VERSION => VERSION,
            register::VIRTIO_MMIO_DEVICE_ID => self.core.device_type(),
            register::VIRTIO_MMIO_VENDOR_ID => VENDOR,
            register::VIRTIO_MMIO_DEVICE_FEATURES => self.core.device_features(),
            register::VIRTIO_MMIO_QUEUE_NUM_MAX => u32::from(self.core.queue_max_size()),
            register::VIRTIO_MMIO_QUEUE_READY => u32::from(self.core.queue_ready()),
            register::VIRTIO_MMIO_INTERRUPT_STATUS => self.interrupt_status.load(Ordering::Acquire),
            register::VIRTIO_MMIO_STATUS => self.core.status(),
            register::VIRTIO_MMIO_CONFIG_GENERATION => self.core.config_generation(),
            // No shared memory region: its length reads as ones (§4.2.2).
            register::VIRTIO_MMIO_SHM_LEN_LOW
            | register::VIRTIO_MMIO_SHM_LEN_HIGH
            | register::VIRTIO_MMIO_SHM_BASE_LOW
            | register::VIRTIO_MMIO_SHM_BASE_HIGH => u32::MAX,
            _ => 0,
        }
    }

    fn write_register(&mut self, offset: u32, value: u32) {
        use {Area::*, Half::*};
        let core = &mut self.core;
        match offset {
            register::VIRTIO_MMIO_DEVICE_FEATURES_SEL => core.select_device_features(value),
            register::VIRTIO_MMIO_DRIVER_FEATURES_SEL => core.select_driver_features(value),
            register::VIRTIO_MMIO_DRIVER_FEATURES => core.set_driver_features(value),
            register::VIRTIO_MMIO_QUEUE_SEL => core.select_queue(value),
            register::VIRTIO_MMIO_QUEUE_NUM => core.set_queue_size(value),
            register::VIRTIO_MMIO_QUEUE_READY => core.set_queue_ready(value & 1 == 1),
            register::VIRTIO_MMIO_QUEUE_NOTIFY => core.notify_queue(value),
            register::VIRTIO_MMIO_INTERRUPT_ACK => {
                self.interrupt_status.fetch_and(!value, Ordering::AcqRel);
            }
            register::VIRTIO_MMIO_STATUS => {
                core.set_status(value);
                if value == 0 {
                    self.interrupt_status.store(0, Ordering::Release);
                }
            }
            register::VIRTIO_MMIO_QUEUE_DESC_LOW => core.set_queue_address(Descriptors, Low, value),
            register::VIRTIO_MMIO_QUEUE_DESC_HIGH => {
                core.set_queue_address(Descriptors, High, value);
            }
            register::VIRTIO_MMIO_QUEUE_AVAIL_LOW => core.set_queue_address(Available, Low, value),
            register::VIRTIO_MMIO_QUEUE_AVAIL_HIGH => {
                core.set_queue_address(Available, High, value);
            }
            register::VIRTIO_MMIO_QUEUE_USED_LOW => core.set_queue_address(Used, Low, value),
            register::VIRTIO_MMIO_QUEUE_USED_HIGH => core.set_queue_address(Used, High, value),
            register::VIRTIO_MMIO_SHM_SEL => {}
            _ => core.fault("the driver wrote a register that cannot be written"),
        }
    }
}

impl RegisterMap for MmioTransport {
    fn transport(&mut self) -> &mut Transport {
        &mut self.core
    }
}

impl BusDevice for MmioTransport {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        if offset >= CONFIG {
            self.core.read_config(offset - CONFIG, data);
            return;
        }
        data.fill(0);
        // §4.2.2.2: drivers access registers as aligned 32-bit words.
        match (u32::try_from(offset), <&mut [u8; 4]>::try_from(data)) {
            (Ok(offset), Ok(word)) if offset % 4 == 0 => {
                *word = self.read_register(offset).to_le_bytes();
            }
            _ => self.core.fault("the driver read a register by halves"),
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if offset >= CONFIG {
            self.core.write_config(offset - CONFIG, data);
            return;
        }
        match (u32::try_from(offset), <[u8; 4]>::try_from(data)) {
            (Ok(offset), Ok(word)) if offset % 4 == 0 => {
                self.write_register(offset, u32::from_le_bytes(word));
            }
            _ => self.core.fault("the driver wrote a register by halves"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::Reactor;
    use crate::virtio::fake_driver::FakeDriver;
    use crate::virtio::loopback::{Controls, DEVICE_TYPE, Loopback, QUEUE_SIZE, Queues, Shelf};
    use proptest::prelude::*;

    fn loopback() -> (Reactor, FakeDriver, Controls) {
        let reactor = Reactor::spawn("loopback").unwrap();
        let controls = Controls::default();
        *controls.config.lock().unwrap() = vec![1, 2, 3, 4, 5, 6];
        let device = Loopback::new(reactor.handle(), controls.clone());
        (reactor, FakeDriver::started(device, 0), controls)
    }

    #[test]
    fn the_device_presents_itself() {
        let mut driver = FakeDriver::new(Shelf(Queues::default()));
        assert_eq!(driver.read(0).to_le_bytes(), *b"virt");
        assert_eq!(driver.read(4), 2);
        assert_eq!(driver.read(8), DEVICE_TYPE);
        assert_eq!(driver.read(0x34), u32::from(QUEUE_SIZE));
        // No shared memory (§4.2.2): Linux looks for some, and for this answer.
        driver.write(0xac, 0);
        assert_eq!([driver.read(0xb0), driver.read(0xb4)], [u32::MAX; 2]);
        assert_eq!(driver.transport.faults(), 0);
    }

    #[test]
    fn interrupts_stay_until_they_are_acknowledged() {
        let (_reactor, mut driver, controls) = loopback();
        let interrupt = controls.interrupt.lock().unwrap().clone().unwrap();
        interrupt.used_buffer(1);
        interrupt.config_changed();
        assert_eq!(driver.read(register::VIRTIO_MMIO_INTERRUPT_STATUS), 3);
        driver.write(register::VIRTIO_MMIO_INTERRUPT_ACK, 1);
        assert_eq!(driver.read(register::VIRTIO_MMIO_INTERRUPT_STATUS), 2);
        driver.write(register::VIRTIO_MMIO_INTERRUPT_ACK, u32::MAX);
        assert_eq!(driver.take_interrupts(), 2);
        interrupt.used_buffer(0);
        driver.write(register::VIRTIO_MMIO_STATUS, 0);
        assert_eq!(driver.read(register::VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    }

    #[test]
    fn the_generation_tells_of_changes() {
        let (_reactor, mut driver, controls) = loopback();
        let before = driver.read(register::VIRTIO_MMIO_CONFIG_GENERATION);
        assert_eq!(driver.config(0, 4), [1, 2, 3, 4]);
        assert_eq!(
            driver.read(register::VIRTIO_MMIO_CONFIG_GENERATION),
            before,
            "reading changes nothing"
        );
        controls.config.lock().unwrap()[0] = 9;
        let interrupt = controls.interrupt.lock().unwrap().clone().unwrap();
        interrupt.config_changed();
        assert_ne!(driver.read(register::VIRTIO_MMIO_CONFIG_GENERATION), before);
        assert_eq!(driver.config(0, 1), [9]);
    }

    #[test]
    fn configuration_space_takes_any_width() {
        let (_reactor, mut driver, _) = loopback();
        assert_eq!(driver.config(1, 2), [2, 3]);
        assert_eq!(driver.config(4, 8), [5, 6, 0, 0, 0, 0, 0, 0]);
        driver.set_config(5, &[7, 8]);
        assert_eq!(driver.config(5, 1), [7]);
        assert_eq!(driver.transport.faults(), 0);
    }

    #[test]
    fn registers_are_words() {
        let (_reactor, mut driver, _) = loopback();
        for (offset, len) in [(0, 1), (0, 2), (0, 8), (1, 4), (2, 4), (0xfd, 4), (4, 0)] {
            let mut data = vec![0xa5; len];
            driver.transport.read(offset, &mut data);
            assert_eq!(data, vec![0; len], "{len} bytes at {offset}");
            driver.transport.write(offset, &data);
        }
        assert_eq!(driver.transport.faults(), 14);
        // Above all, half a status is not a status of zero.
        driver.transport.write(0x70, &[0]);
        assert_eq!(driver.status(), 15);
    }

    #[test]
    fn kicks_are_counted_by_queue() {
        let mut driver = FakeDriver::started(Shelf(Queues::default()), 0);
        for queue in [0, 1, 1] {
            driver.kick(queue);
        }
        let kicks: Vec<_> = driver
            .transport
            .kicks()
            .map(|kick| kick.read().unwrap())
            .collect();
        assert_eq!(kicks, [1, 2]);
    }

    /// Offsets where there are registers, and anywhere else.
    fn offset() -> impl Strategy<Value = u64> {
        prop_oneof![
            8 => (0u64..0x40).prop_map(|word| 4 * word),
            1 => 0u64..WINDOW,
            1 => any::<u64>(),
        ]
    }

    /// Values that mean something to one register or another, and others.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            (0u32..20).boxed(),
            (0u32..32).prop_map(|bit| 1 << bit).boxed(),
            (0u32..64).prop_map(|page| page << 12).boxed(),
            any::<u32>().boxed(),
        ];
        prop_oneof![
            8 => word.prop_map(|word| word.to_le_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..9),
        ]
    }

    proptest! {
        /// Whatever is read and written where, nothing breaks, and a reset
        /// makes the device work.
        #[test]
        fn any_access_is_survived(
            accesses in prop::collection::vec((any::<bool>(), offset(), value()), 0..60),
        ) {
            let reactor = Reactor::spawn("loopback").unwrap();
            let device = Loopback::new(reactor.handle(), Controls::default());
            let mut driver = FakeDriver::new(device);
            for (write, offset, mut data) in accesses {
                if write {
                    driver.transport.write(offset, &data);
                } else {
                    driver.transport.read(offset, &mut data);
                }
            }
            driver.start(u64::MAX);
            let (question, answer) = (driver.readable(b"alive"), driver.writable(5));
            driver.request(0, &[question, answer]);
            prop_assert_eq!(driver.contents(answer), b"alive");
        }
    }
}
