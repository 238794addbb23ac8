//! The backplane: where virtio devices are put, when a machine is built and
//! while it runs.
//!
//! A device gets a place, registers there on the MMIO bus, a way to interrupt,
//! and a doorbell for each queue that causes no exit. Over PCI the guest may
//! move the registers, and devices come and go; over MMIO they stay.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boot::MmioDevice;
use boot::layout::{PCI_ECAM, PCI_WINDOW};
use devices::bus::Bus;
use devices::interrupt::InterruptLine;
use devices::memory::Ram;
use devices::pci::function::ConfigPage;
use devices::pci::host_bridge::HostBridge;
use devices::pci::{CONFIG_PAGE, ecam_offset};
use devices::virtio::device::VirtioDevice;
use devices::virtio::mmio::{MmioTransport, QUEUE_NOTIFY};
use devices::virtio::pci::{BAR_SIZE, PciTransport};
use devices::virtio::transport::RegisterMap;

use crate::config::TransportKind;
use crate::error::{Error, Result};
use crate::kvm::machine::KvmMachine;
use crate::kvm::messages::KvmPci;

/// Where a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a window of registers.
    Mmio(MmioDevice),
    /// In a slot of the PCI bus.
    Pci(u8),
}

/// The place of the device number `index`, counted from 0, if there is one.
pub(crate) fn place(kind: TransportKind, index: usize) -> Option<Place> {
    match kind {
        TransportKind::Mmio => {
            let index = u32::try_from(index).ok()?;
            MmioDevice::at_slot(index).map(Place::Mmio)
        }
        TransportKind::Pci => {
            // The host bridge has the first.
            let slot = u8::try_from(index).ok()?.checked_add(1)?;
            (slot < devices::pci::SLOTS).then_some(Place::Pci(slot))
        }
    }
}

/// What devices are put into.
pub(crate) struct Backplane {
    pub(crate) kvm: KvmPci,
    pub(crate) ram: Ram,
    pub(crate) mmio: Bus,
}

impl Backplane {
    /// The backplane of `machine`, with a host bridge if `kind` needs one.
    pub(crate) fn new(
        kind: TransportKind,
        machine: &KvmMachine,
        ram: &Ram,
        mmio: &Bus,
    ) -> Result<Self> {
        if kind == TransportKind::Pci {
            let bridge = Arc::new(Mutex::new(HostBridge::default()));
            mmio.insert(PCI_ECAM.start, CONFIG_PAGE, bridge)?;
        }
        Ok(Self {
            kvm: KvmPci(Arc::clone(&machine.vm)),
            ram: ram.clone(),
            mmio: mmio.clone(),
        })
    }

    /// Puts `device`, called `name` in messages, into `place`.
    pub(crate) fn attach(
        &self,
        device: Box<dyn VirtioDevice>,
        name: &str,
        place: Place,
        machine: &KvmMachine,
    ) -> Result<AttachedDevice> {
        let (registers, base) = match place {
            Place::Mmio(window) => (
                self.attach_mmio(device, name, &window, machine)?,
                window.base,
            ),
            Place::Pci(slot) => (self.attach_pci(device, name, slot)?, config_page(slot)),
        };
        Ok(AttachedDevice {
            registers,
            place,
            mmio: self.mmio.clone(),
            base,
        })
    }

    fn attach_mmio(
        &self,
        device: Box<dyn VirtioDevice>,
        name: &str,
        window: &MmioDevice,
        machine: &KvmMachine,
    ) -> Result<Registers> {
        let line = InterruptLine::new().map_err(Error::device(name))?;
        machine.connect_interrupt(&line, window.gsi)?;
        let transport = MmioTransport::new(device, self.ram.clone(), line);
        let transport = transport.map_err(Error::device(name))?;
        for (queue, kick) in (0..).zip(transport.kicks()) {
            machine.connect_doorbell(window.base + QUEUE_NOTIFY, queue, kick)?;
        }
        let transport = Arc::new(Mutex::new(transport));
        self.mmio
            .insert(window.base, window.size, transport.clone())?;
        Ok(transport)
    }

    fn attach_pci(&self, device: Box<dyn VirtioDevice>, name: &str, slot: u8) -> Result<Registers> {
        let (messages, doorbells) = (Arc::new(self.kvm.clone()), Box::new(self.kvm.clone()));
        let ram = self.ram.clone();
        let transport = PciTransport::new(device, ram, first_bar(slot), messages, doorbells);
        let transport = Arc::new(Mutex::new(transport.map_err(Error::device(name))?));
        let page = ConfigPage::new(transport.clone(), self.mmio.clone(), PCI_WINDOW);
        let page = Arc::new(Mutex::new(page));
        self.mmio.insert(config_page(slot), CONFIG_PAGE, page)?;
        Ok(transport)
    }
}

fn config_page(slot: u8) -> u64 {
    PCI_ECAM.start + ecam_offset(slot)
}

/// Where the BAR of the function in `slot` lies until the guest moves it: no
/// firmware runs that would say.
fn first_bar(slot: u8) -> u32 {
    let base = PCI_WINDOW.start + u64::from(slot) * u64::from(BAR_SIZE);
    u32::try_from(base).expect("the window is below 4 GiB")
}

type Registers = Arc<Mutex<dyn RegisterMap>>;

/// A device in its place. Dropping it takes it out, without asking the guest.
pub(crate) struct AttachedDevice {
    registers: Registers,
    pub(crate) place: Place,
    mmio: Bus,
    /// Where it is on the bus.
    base: u64,
}

impl AttachedDevice {
    /// The device comes to rest; its queues are where the driver left them.
    pub(crate) fn pause(&self) -> Result<()> {
        Ok(self.registers().transport().pause()?)
    }

    /// The device goes on.
    pub(crate) fn resume(&self) {
        self.registers().transport().resume();
    }

    fn registers(&self) -> MutexGuard<'_, dyn RegisterMap + 'static> {
        self.registers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AttachedDevice {
    fn drop(&mut self) {
        self.mmio.remove(self.base);
    }
}
