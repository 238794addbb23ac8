//! virtio over PCI: the "modern" register map of virtio 1.3 §4.1. The one file
//! that knows both virtio and PCI.
//!
//! Capabilities say where registers lie. Each queue has a notification address of its
//! own, so that an ioeventfd there needs to compare no value, and an MSI-X vector of
//! its own, so that an interrupt needs no register read by the driver: a request costs
//! no exit to this process.
//!
//! Notifications are I/O ports. An exit for a port says where was written; for an
//! address in memory, KVM has to take the guest's instruction apart first, which on
//! some processors costs as much as all the rest. They are in memory as well, which
//! comes second in the list (§4.1.4), for drivers that do without ports, such as some in
//! user space: there nothing catches them, and they come here.
//!
//! ```text
//! BAR 0, memory
//! 0x0000  common configuration
//! 0x0100  interrupt status, for drivers without MSI-X vectors
//! 0x0200  device configuration
//! 0x1000  notifications, four bytes for each queue
//! 0x2000  MSI-X table
//! 0x3000  MSI-X pending bits
//! BAR 1, ports
//! 0x0000  notifications, four bytes for each queue
//! ```

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use virtio_bindings::virtio_ids::{VIRTIO_ID_BLOCK, VIRTIO_ID_NET};
use vmm_sys_util::eventfd::EventFd;

use super::device::VirtioDevice;
use super::interrupt::{DeviceInterrupt, Signal};
use super::queue_registers::{Area, Half};
use super::transport::{RegisterMap, Transport};
use crate::bus::BusDevice;
use crate::log_limit::LogLimit;
use crate::memory::Ram;
use crate::pci::config_space::{ConfigSpace, Identity, Space};
use crate::pci::function::PciFunction;
use crate::pci::msix::{self, MessageSink, Msix};

use vectors::Vectors;

mod vectors;

/// The BAR of memory, and the bytes of it.
pub const REGISTERS_BAR: usize = 0;
/// Its length in bytes.
pub const REGISTERS_LEN: u32 = 0x4000;
/// The BAR of ports.
pub const PORTS_BAR: usize = 1;
/// Its length in bytes, the most that there may be (PCI Local Bus Specification 3.0
/// §6.2.5.1).
pub const PORTS_LEN: u32 = 0x100;

const COMMON: u32 = 0;
const COMMON_LEN: u32 = 0x3c;
const ISR: u32 = 0x100;
const ISR_LEN: u32 = 1;
const DEVICE_CONFIG: u32 = 0x200;
const DEVICE_CONFIG_LEN: u32 = 0xe00;
const NOTIFY: u32 = 0x1000;
const NOTIFY_LEN: u32 = 0x1000;
const TABLE: u32 = 0x2000;
const PENDING: u32 = 0x3000;
/// Bytes between two queues' notification addresses.
const NOTIFY_STRIDE: u32 = 4;

/// Red Hat's, as every virtio device has it (§4.1.2).
const VENDOR: u16 = 0x1af4;
/// The device id is this and the device type (§4.1.2).
const FIRST_DEVICE: u16 = 0x1040;
/// Not a transitional device (§4.1.2.1).
const REVISION: u8 = 1;

/// A vendor-specific capability, and what kind of it (§4.1.4).
const VENDOR_CAPABILITY: u8 = 9;
const COMMON_CFG: u8 = 1;
const NOTIFY_CFG: u8 = 2;
const ISR_CFG: u8 = 3;
const DEVICE_CFG: u8 = 4;
const PCI_CFG: u8 = 5;

/// Has writes to a port signal an eventfd instead of coming to the device; with KVM:
/// an ioeventfd.
pub trait Doorbells: Send {
    /// Writes to `port`, of any value and width, signal `kick`.
    ///
    /// # Errors
    /// The machine refuses; notifications then come as register writes.
    fn connect(&self, port: u64, kick: &EventFd) -> io::Result<()>;

    /// Undoes it.
    fn disconnect(&self, port: u64, kick: &EventFd);
}

struct PciSignal(Arc<Vectors>);

impl Signal for PciSignal {
    fn used_buffer(&self, queue: u16) {
        self.0.raise_for_queue(queue);
    }

    fn config_change(&self) {
        self.0.raise_for_config();
    }

    fn wire(&self, queue: u16, call: &EventFd) -> io::Result<()> {
        self.0.wire(queue, call)
    }

    fn unwire(&self, queue: u16) {
        self.0.unwire(queue);
    }
}

/// A virtio device as a PCI function.
pub struct PciTransport {
    core: Transport,
    space: ConfigSpace,
    vectors: Arc<Vectors>,
    doorbells: Box<dyn Doorbells>,
    /// Of doorbells that cannot be connected.
    refusals: LogLimit,
    /// Where the first notification port is.
    ports: Option<u64>,
    /// Where in configuration space its capabilities are that have registers.
    msix_at: usize,
    window_at: usize,
}

impl PciTransport {
    /// Makes `device` a function whose BARs lie at `base` to begin with.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new(
        device: Box<dyn VirtioDevice>,
        ram: Ram,
        base: FirstBars,
        messages: Arc<dyn MessageSink>,
        doorbells: Box<dyn Doorbells>,
    ) -> io::Result<Self> {
        let info = device.info();
        let queues = info.queue_sizes.len();
        // One for each queue and one for configuration changes.
        let count = u16::try_from(queues + 1).unwrap_or(u16::MAX);
        let vectors = Arc::new(Vectors::new(Msix::new(count, messages), queues));
        let mut space = ConfigSpace::new(&identity(info.device_type));
        let FirstBars { registers, ports } = base;
        space.set_bar(REGISTERS_BAR, Space::Memory, registers, REGISTERS_LEN);
        space.set_bar(PORTS_BAR, Space::Ports, ports, PORTS_LEN);
        let (body, writable) = vectors.msix.capability(TABLE, PENDING);
        let msix_at = space.add_capability(msix::CAPABILITY, &body, &writable);
        let window_at = add_capabilities(&mut space);
        let signal = PciSignal(Arc::clone(&vectors));
        Ok(Self {
            core: Transport::new(device, ram, DeviceInterrupt::new(signal))?,
            space,
            vectors,
            doorbells,
            refusals: LogLimit::default(),
            ports: None,
            msix_at,
            window_at,
        })
    }

    fn read_common(&self, offset: u32, data: &mut [u8]) {
        let core = &self.core;
        let value = match (offset, data.len()) {
            (0x00, 4) => u64::from(core.device_features_selected()),
            (0x04, 4) => u64::from(core.device_features()),
            (0x08, 4) => u64::from(core.driver_features_selected()),
            (0x0c, 4) => u64::from(core.driver_features()),
            (0x10, 2) => u64::from(self.vectors.of_config()),
            (0x12, 2) => core.queue_count().try_into().unwrap_or(0),
            (0x14, 1) => u64::from(core.status()),
            (0x15, 1) => u64::from(core.config_generation() & 0xff),
            (0x16, 2) => u64::from(core.queue_selected()),
            (0x18, 2) => u64::from(core.queue_size()),
            (0x1a, 2) => u64::from(self.queue_vector()),
            (0x1c, 2) => u64::from(core.queue_ready()),
            (0x1e, 2) if core.queue_max_size() > 0 => u64::from(core.queue_selected()),
            (0x20..0x38, 4 | 8) => {
                let (area, half) = address_of(offset);
                core.queue_address(area) >> if half == Half::High { 32 } else { 0 }
            }
            _ => 0,
        };
        let len = data.len().min(8);
        data[..len].copy_from_slice(&value.to_le_bytes()[..len]);
    }

    fn write_common(&mut self, offset: u32, data: &[u8]) {
        let core = &mut self.core;
        let value = number(data);
        match (offset, data.len()) {
            (0x00, 4) => core.select_device_features(low(value)),
            (0x08, 4) => core.select_driver_features(low(value)),
            (0x0c, 4) => core.set_driver_features(low(value)),
            (0x10, 2) => self.vectors.map_config(short(value)),
            (0x14, 1) => {
                core.set_status(low(value));
                if value == 0 {
                    self.vectors.reset();
                }
            }
            (0x16, 2) => core.select_queue(low(value)),
            (0x18, 2) => core.set_queue_size(low(value)),
            (0x1a, 2) => self.map_queue_vector(short(value)),
            (0x1c, 2) if value == 1 => core.set_queue_ready(true),
            (0x20..0x38, 4) => {
                let (area, half) = address_of(offset);
                core.set_queue_address(area, half, low(value));
            }
            (0x20 | 0x28 | 0x30, 8) => {
                let (area, _) = address_of(offset);
                core.set_queue_address(area, Half::Low, Half::Low.of(value));
                core.set_queue_address(area, Half::High, Half::High.of(value));
            }
            _ => core.fault("the driver wrote a register that cannot be written so"),
        }
    }

    fn queue_vector(&self) -> u16 {
        let index = usize::try_from(self.core.queue_selected()).unwrap_or(usize::MAX);
        self.vectors.of_queue(index)
    }

    fn map_queue_vector(&self, vector: u16) {
        let index = usize::try_from(self.core.queue_selected()).unwrap_or(usize::MAX);
        self.vectors.map_queue(index, vector);
    }

    /// Which access the window in configuration space stands for (§4.1.4.9),
    /// if the access at `offset` is one to its data: the BAR, and where in it.
    fn window(&self, offset: u64, len: usize) -> Option<(usize, u64)> {
        let data = self.window_at + 16;
        let is_data = offset == data as u64;
        let asked = usize::try_from(self.space.u32(self.window_at + 12)).ok();
        let bar = usize::from(self.space.u16(self.window_at + 4) & 0xff);
        let has_registers = matches!(bar, REGISTERS_BAR | PORTS_BAR);
        let valid = is_data && asked == Some(len) && matches!(len, 1 | 2 | 4) && has_registers;
        valid.then(|| (bar, u64::from(self.space.u32(self.window_at + 8))))
    }

    /// The driver writes to the notification address at `offset` from the first.
    fn notify(&mut self, offset: u64) {
        let queue = u32::try_from(offset / u64::from(NOTIFY_STRIDE)).unwrap_or(u32::MAX);
        self.core.notify_queue(queue);
    }
}

impl RegisterMap for PciTransport {
    fn transport(&mut self) -> &mut Transport {
        &mut self.core
    }
}

impl BusDevice for PciTransport {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        let Ok(offset) = u32::try_from(offset) else {
            return;
        };
        match offset {
            COMMON..COMMON_LEN => self.read_common(offset, data),
            ISR => data[0] = self.vectors.take_status(),
            DEVICE_CONFIG..NOTIFY => self
                .core
                .read_config(u64::from(offset - DEVICE_CONFIG), data),
            TABLE..PENDING => self
                .vectors
                .msix
                .read_table(u64::from(offset - TABLE), data),
            PENDING.. => {
                let offset = u64::from(offset - PENDING);
                self.vectors.msix.read_pending(offset, data);
            }
            _ => {}
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let Ok(offset) = u32::try_from(offset) else {
            return;
        };
        match offset {
            COMMON..COMMON_LEN => self.write_common(offset, data),
            DEVICE_CONFIG..NOTIFY => {
                let offset = u64::from(offset - DEVICE_CONFIG);
                self.core.write_config(offset, data);
            }
            NOTIFY..TABLE => self.notify((offset - NOTIFY).into()),
            TABLE..PENDING => {
                let offset = u64::from(offset - TABLE);
                self.vectors.msix.write_table(offset, data);
                self.vectors.settle();
            }
            _ => self.core.fault("the driver wrote where no register is"),
        }
    }
}

impl PciFunction for PciTransport {
    fn read_config(&mut self, offset: u64, data: &mut [u8]) {
        match self.window(offset, data.len()) {
            Some((REGISTERS_BAR, register)) => self.read(register, data),
            Some(_) => data.fill(0),
            None => self.space.read(offset, data),
        }
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        match self.window(offset, data.len()) {
            Some((REGISTERS_BAR, register)) => return self.write(register, data),
            Some((_, port)) => return self.notify(port),
            None => self.space.write(offset, data),
        }
        self.vectors
            .msix
            .set_control(self.space.u16(self.msix_at + 2));
        self.vectors.settle();
    }

    fn bar(&self, number: usize) -> Option<u64> {
        self.space.bar(number)
    }

    fn placed(&mut self, number: usize, base: Option<u64>) {
        if number != PORTS_BAR {
            return;
        }
        let port = |base: u64, queue: u32| base + u64::from(queue * NOTIFY_STRIDE);
        for (queue, kick) in (0..).zip(self.core.kicks()) {
            if let Some(old) = self.ports {
                self.doorbells.disconnect(port(old, queue), kick);
            }
            if let Some(new) = base
                && let Err(error) = self.doorbells.connect(port(new, queue), kick)
            {
                // Slower, but it works: the write comes here. The guest chooses
                // how often it moves its ports.
                self.refusals
                    .warn(|| format!("a queue's doorbell cannot be connected: {error}"));
            }
        }
        self.ports = base;
    }
}

/// Where a function's BARs lie until the guest moves them.
#[derive(Clone, Copy, Debug)]
pub struct FirstBars {
    /// The one of memory.
    pub registers: u32,
    /// The one of ports.
    pub ports: u32,
}

/// The ports of a function, for notifications that no doorbell catches.
pub struct NotifyPorts(pub Arc<Mutex<PciTransport>>);

impl BusDevice for NotifyPorts {
    fn read(&mut self, _: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&mut self, offset: u64, _: &[u8]) {
        // Registers are plain values, valid whoever panicked.
        let mut function = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        function.notify(offset);
    }
}

fn identity(device_type: u32) -> Identity {
    let number = u16::try_from(device_type).unwrap_or(0);
    let device = FIRST_DEVICE.saturating_add(number);
    Identity {
        vendor: VENDOR,
        device,
        revision: REVISION,
        class: class(device_type),
        subsystem_vendor: VENDOR,
        subsystem: device,
    }
}

/// Drivers go by the device id; the class is for people (PCI Code and ID
/// Assignment 1.11 §1).
fn class(device_type: u32) -> [u8; 3] {
    match device_type {
        VIRTIO_ID_NET => [0x02, 0x00, 0],
        VIRTIO_ID_BLOCK => [0x01, 0x80, 0],
        _ => [0xff, 0x00, 0],
    }
}

/// Adds the capabilities that say where everything is. Returns the position of
/// the window's, the only one with registers.
fn add_capabilities(space: &mut ConfigSpace) -> usize {
    let stride = NOTIFY_STRIDE.to_le_bytes();
    for (kind, bar, offset, len, rest) in [
        (COMMON_CFG, REGISTERS_BAR, COMMON, COMMON_LEN, &[][..]),
        (NOTIFY_CFG, PORTS_BAR, 0, PORTS_LEN, &stride),
        (NOTIFY_CFG, REGISTERS_BAR, NOTIFY, NOTIFY_LEN, &stride),
        (ISR_CFG, REGISTERS_BAR, ISR, ISR_LEN, &[]),
        (
            DEVICE_CFG,
            REGISTERS_BAR,
            DEVICE_CONFIG,
            DEVICE_CONFIG_LEN,
            &[],
        ),
    ] {
        let body = capability(kind, bar, offset, len, rest);
        space.add_capability(VENDOR_CAPABILITY, &body, &vec![0; body.len()]);
    }
    let body = capability(PCI_CFG, 0, 0, 0, &[0; 4]);
    // Which BAR, where in it, and how much; then the data.
    let writable = [0, 0, 0xff, 0, 0, 0].into_iter().chain([0xff; 12]);
    let writable: Vec<u8> = writable.collect();
    space.add_capability(VENDOR_CAPABILITY, &body, &writable)
}

/// The body of a `virtio_pci_cap` (§4.1.4) about a part of BAR `bar`.
fn capability(kind: u8, bar: usize, offset: u32, len: u32, rest: &[u8]) -> Vec<u8> {
    let whole = u8::try_from(16 + rest.len()).expect("capabilities are short");
    let bar = u8::try_from(bar).expect("there are six");
    let mut body = vec![whole, kind, bar, 0, 0, 0];
    body.extend(offset.to_le_bytes());
    body.extend(len.to_le_bytes());
    body.extend(rest);
    body
}

/// Which half of which area's address is at `offset` of the common
/// configuration.
fn address_of(offset: u32) -> (Area, Half) {
    let area = match offset & !7 {
        0x20 => Area::Descriptors,
        0x28 => Area::Available,
        _ => Area::Used,
    };
    let half = if offset & 4 == 0 {
        Half::Low
    } else {
        Half::High
    };
    (area, half)
}

fn number(data: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = data.len().min(8);
    bytes[..len].copy_from_slice(&data[..len]);
    u64::from_le_bytes(bytes)
}

fn low(value: u64) -> u32 {
    Half::Low.of(value)
}

fn short(value: u64) -> u16 {
    u16::try_from(value & 0xffff).expect("16 bits are left")
}

#[cfg(test)]
mod tests;
