//! The backplane: where virtio devices are put, when a machine is built and
//! while it runs.
//!
//! A device gets a place, registers there on the MMIO bus, a way to interrupt,
//! and a doorbell for each queue that causes no exit. Over PCI the guest may
//! move the registers, and devices come and go; over MMIO they stay.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boot::MmioDevice;
use boot::layout::{PCI_ECAM, PCI_PORTS, PCI_PORTS_STRIDE, PCI_WINDOW};
use devices::bus::Bus;
use devices::interrupt::InterruptLine;
use devices::memory::Ram;
use devices::pci::function::{Bar, ConfigPage};
use devices::pci::host_bridge::HostBridge;
use devices::pci::{CONFIG_PAGE, ecam_offset};
use devices::virtio::device::VirtioDevice;
use devices::virtio::last_act::LastAct;
use devices::virtio::mmio::{MmioTransport, QUEUE_NOTIFY};
use devices::virtio::pci::{FirstBars, NotifyPorts, PORTS_LEN, PciTransport, REGISTERS_LEN};
use devices::virtio::transport::RegisterMap;

use crate::catalog::{DeviceHandle, NamedDevice};
use crate::config::TransportKind;
use crate::cpu::vcpu::Buses;
use crate::description::DeviceDescription;
use crate::error::{Error, Result};
use crate::kvm::machine::KvmMachine;

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
    kind: TransportKind,
    machine: Arc<KvmMachine>,
    ram: Ram,
    buses: Buses,
    /// Where the last device was put; 0 before the first.
    last_slot: u8,
}

impl Backplane {
    /// The backplane of `machine`, with a host bridge if `kind` needs one.
    pub(crate) fn new(
        kind: TransportKind,
        machine: &Arc<KvmMachine>,
        ram: &Ram,
        buses: &Buses,
    ) -> Result<Self> {
        if kind == TransportKind::Pci {
            let bridge = Arc::new(Mutex::new(HostBridge::default()));
            buses.mmio.insert(PCI_ECAM.start, CONFIG_PAGE, bridge)?;
        }
        Ok(Self {
            kind,
            machine: Arc::clone(machine),
            ram: ram.clone(),
            buses: buses.clone(),
            last_slot: 0,
        })
    }

    /// Puts `made` into `place`.
    pub(crate) fn attach(&mut self, made: NamedDevice, place: Place) -> Result<AttachedDevice> {
        let NamedDevice {
            name,
            description,
            device,
            handle,
            place: _,
        } = made;
        let (registers, base) = match place {
            Place::Mmio(window) => (self.attach_mmio(device, &name, &window)?, window.base),
            Place::Pci(slot) => {
                self.last_slot = slot;
                (self.attach_pci(device, &name, slot)?, config_page(slot))
            }
        };
        Ok(AttachedDevice {
            name,
            description,
            handle,
            registers,
            place,
            severed: false,
            mmio: self.buses.mmio.clone(),
            base,
        })
    }

    fn attach_mmio(
        &self,
        device: Box<dyn VirtioDevice>,
        name: &str,
        window: &MmioDevice,
    ) -> Result<Registers> {
        let line = InterruptLine::new().map_err(Error::device(name))?;
        self.machine.connect_interrupt(&line, window.gsi)?;
        let transport = MmioTransport::new(device, self.ram.clone(), line);
        let transport = transport.map_err(Error::device(name))?;
        for (queue, kick) in (0..).zip(transport.kicks()) {
            self.machine
                .connect_doorbell(window.base + QUEUE_NOTIFY, queue, kick)?;
        }
        let transport = Arc::new(Mutex::new(transport));
        self.buses
            .mmio
            .insert(window.base, window.size, transport.clone())?;
        Ok(transport)
    }

    fn attach_pci(&self, device: Box<dyn VirtioDevice>, name: &str, slot: u8) -> Result<Registers> {
        let kvm = self.machine.pci();
        let (messages, doorbells) = (Arc::new(kvm.clone()), Box::new(kvm));
        let ram = self.ram.clone();
        let transport = PciTransport::new(device, ram, first_bars(slot), messages, doorbells);
        let transport = Arc::new(Mutex::new(transport.map_err(Error::device(name))?));
        let registers = Bar {
            registers: transport.clone(),
            len: REGISTERS_LEN.into(),
            bus: self.buses.mmio.clone(),
            window: PCI_WINDOW,
        };
        let ports = Bar {
            registers: Arc::new(Mutex::new(NotifyPorts(transport.clone()))),
            len: PORTS_LEN.into(),
            bus: self.buses.ports.clone(),
            window: PCI_PORTS,
        };
        let page = ConfigPage::new(transport.clone(), [registers, ports]);
        let page = Arc::new(Mutex::new(page));
        self.buses
            .mmio
            .insert(config_page(slot), CONFIG_PAGE, page)?;
        Ok(transport)
    }
}

impl Backplane {
    /// A place for a device that comes while the guest runs, and its slot.
    pub(crate) fn free_slot(&self, taken: impl Iterator<Item = Place>) -> Result<(Place, u8)> {
        let taken: Vec<Place> = taken.collect();
        if self.kind == TransportKind::Mmio {
            return Err(Error::Config(
                "devices come and go on the PCI bus only; \
                 start the machine with --transport pci"
                    .into(),
            ));
        }
        let slot = free_slot_after(self.last_slot, &taken);
        let slot = slot.ok_or_else(|| {
            Error::Config(format!(
                "all {} slots of the machine are taken; detach a device first",
                TransportKind::Pci.room()
            ))
        })?;
        Ok((Place::Pci(slot), slot))
    }
}

/// The first free slot after `last`, around. A slot that was just freed comes
/// last: a guest that was asked twice for the device that was there may give up
/// whatever is there by then.
fn free_slot_after(last: u8, taken: &[Place]) -> Option<u8> {
    let mut slots = (last.saturating_add(1)..devices::pci::SLOTS).chain(1..devices::pci::SLOTS);
    slots.find(|slot| !taken.contains(&Place::Pci(*slot)))
}

fn config_page(slot: u8) -> u64 {
    PCI_ECAM.start + ecam_offset(slot)
}

/// Where the BARs of the function in `slot` lie until the guest moves them: no
/// firmware runs that would say.
fn first_bars(slot: u8) -> FirstBars {
    let first = |window: Range<u64>, stride: u64| {
        let base = window.start + u64::from(slot) * stride;
        u32::try_from(base).expect("the windows are below 4 GiB")
    };
    FirstBars {
        registers: first(PCI_WINDOW, REGISTERS_LEN.into()),
        ports: first(PCI_PORTS, PCI_PORTS_STRIDE),
    }
}

type Registers = Arc<Mutex<dyn RegisterMap>>;

/// A device in its place. Dropping it takes it out, without asking the guest.
pub(crate) struct AttachedDevice {
    /// What it is called in messages.
    name: String,
    /// For whoever operates the machine, as it was made.
    pub(crate) description: DeviceDescription,
    /// The host's side of it.
    pub(crate) handle: DeviceHandle,
    registers: Registers,
    pub(crate) place: Place,
    /// It was detached by force: what it stood on is gone.
    pub(crate) severed: bool,
    mmio: Bus,
    /// Where it is on the bus.
    base: u64,
}

impl AttachedDevice {
    /// What it is, as it is now.
    pub(crate) fn describe(&self) -> DeviceDescription {
        self.handle.describe(&self.description)
    }

    /// The device comes to rest; its queues are where the driver left them.
    pub(crate) fn pause(&self) -> Result<()> {
        let paused = self.registers().transport().pause();
        paused.map_err(|source| Error::Pause {
            device: self.name.clone(),
            source,
        })
    }

    /// Takes the device out, stopped, to be in the same place again; the guest,
    /// if there still is one, has lost it.
    pub(crate) fn take_device(&self) -> Result<NamedDevice> {
        let device = self.registers().transport().take_device();
        let device = device.map_err(|source| Error::Pause {
            device: self.name.clone(),
            source,
        })?;
        Ok(NamedDevice {
            name: self.name.clone(),
            description: self.description.clone(),
            device,
            handle: self.handle.clone(),
            place: Some(self.place),
        })
    }

    /// Its slot of the PCI bus, if it is there.
    pub(crate) fn slot(&self) -> Option<u8> {
        match self.place {
            Place::Pci(slot) => Some(slot),
            Place::Mmio(_) => None,
        }
    }

    /// Has the device finish and let go of what it stands on. Its driver sees
    /// errors from then on. Making durable what was written, and closing, are
    /// left to whoever performs the last act.
    pub(crate) fn sever(&self) -> LastAct {
        self.registers().transport().sever()
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

/// What is wrong with a device.
#[cfg(test)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    DoesNotStop,
    DoesNotSync,
}

/// A network interface in `slot` that its driver has started.
#[cfg(test)]
pub(crate) fn started_device(name: &str, slot: u8, flaw: Flaw) -> AttachedDevice {
    slow_device(name, slot, flaw).0
}

/// The same, which is closed when what comes with it is dropped, and not
/// before.
#[cfg(test)]
pub(crate) fn slow_device(
    name: &str,
    slot: u8,
    flaw: Flaw,
) -> (AttachedDevice, std::sync::mpsc::Sender<()>) {
    use devices::bus::BusDevice;
    use devices::net::handle::NetHandle;
    use devices::reactor::ReactorError;
    use devices::virtio::device::{Activation, DeviceInfo, StartError};
    use devices::virtio::queue::Queue;
    use vm_memory::{GuestAddress, GuestMemoryMmap};

    struct Fake {
        flaw: Flaw,
        release: Option<std::sync::mpsc::Receiver<()>>,
    }

    impl VirtioDevice for Fake {
        fn info(&self) -> DeviceInfo {
            DeviceInfo {
                device_type: 1,
                features: 0,
                queue_sizes: vec![1],
            }
        }
        fn read_config(&self, _: u64, _: &mut [u8]) {}
        fn write_config(&mut self, _: u64, _: &[u8]) {}
        fn start(&mut self, _: Activation) -> std::result::Result<(), StartError> {
            Ok(())
        }
        fn sever(&mut self) -> LastAct {
            let (flaw, release) = (self.flaw, self.release.take());
            LastAct::new(move || {
                let _ = release.map(|release| release.recv());
                match flaw {
                    Flaw::DoesNotSync => Err(std::io::ErrorKind::StorageFull.into()),
                    _ => Ok(()),
                }
            })
        }
        fn stop(&mut self) -> std::result::Result<Vec<Queue>, ReactorError> {
            match self.flaw {
                Flaw::DoesNotStop => Err(ReactorError::Stuck),
                _ => Ok(Vec::new()),
            }
        }
    }

    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x1000)]).unwrap();
    let line = InterruptLine::new().unwrap();
    let (sender, release) = std::sync::mpsc::channel();
    let release = Some(release);
    let fake = Box::new(Fake { flaw, release });
    let mut transport = MmioTransport::new(fake, Ram::new(memory), line).unwrap();
    // Virtio 1.3 §4.2.2: version 1 is feature bit 32; then the status, to its
    // end.
    for (register, value) in [(0x24, 1u32), (0x20, 1), (0x70, 15)] {
        transport.write(register, &value.to_le_bytes());
    }
    let device = AttachedDevice {
        name: name.into(),
        description: DeviceDescription::new(
            name.replace(' ', "-").parse().unwrap(),
            crate::description::DeviceKind::Disk,
        ),
        handle: DeviceHandle::Net(NetHandle::default()),
        registers: Arc::new(Mutex::new(transport)),
        place: Place::Pci(slot),
        severed: false,
        mmio: Bus::default(),
        base: 0,
    };
    (device, sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_room_for_its_bars() {
        let last = first_bars(devices::pci::SLOTS - 1);
        let registers = u64::from(last.registers) + u64::from(REGISTERS_LEN);
        assert!(registers <= PCI_WINDOW.end);
        // Where Linux would put them, too.
        assert!(u64::from(PORTS_LEN) <= PCI_PORTS_STRIDE);
        assert_eq!(u64::from(last.ports) % PCI_PORTS_STRIDE, 0);
        assert_eq!(u64::from(last.ports) + PCI_PORTS_STRIDE, PCI_PORTS.end);
    }

    #[test]
    fn a_slot_is_used_again_only_after_all_others() {
        let mut taken = vec![Place::Pci(1), Place::Pci(2), Place::Pci(3)];
        let mut last = 3;
        // The device in slot 2 left. Each that comes leaves before the next.
        taken.remove(1);
        for expected in (4..devices::pci::SLOTS).chain([2, 4]) {
            last = free_slot_after(last, &taken).unwrap();
            assert_eq!(last, expected);
        }
    }

    #[test]
    fn every_slot_is_found_when_it_is_the_only_free_one() {
        for free in 1..devices::pci::SLOTS {
            let others = (1..devices::pci::SLOTS).filter(|slot| *slot != free);
            let taken: Vec<Place> = others.map(Place::Pci).collect();
            for last in 0..devices::pci::SLOTS {
                assert_eq!(free_slot_after(last, &taken), Some(free));
            }
        }
        let all: Vec<Place> = (1..devices::pci::SLOTS).map(Place::Pci).collect();
        assert_eq!(free_slot_after(7, &all), None);
    }
}
