//! Putting a virtio device into its place: a register window on the MMIO bus,
//! an interrupt, and a doorbell for each queue that causes no exit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boot::MmioDevice;
use devices::bus::Bus;
use devices::interrupt::InterruptLine;
use devices::memory::Ram;
use devices::virtio::device::VirtioDevice;
use devices::virtio::mmio::{MmioTransport, QUEUE_NOTIFY};

use crate::error::{Error, Result};
use crate::kvm::machine::KvmMachine;

/// A device in its place.
pub(crate) struct AttachedDevice {
    /// What it is called in messages.
    name: String,
    transport: Arc<Mutex<MmioTransport>>,
}

impl AttachedDevice {
    /// The device comes to rest; its queues are where the driver left them.
    pub(crate) fn pause(&self) -> Result<()> {
        self.transport().pause().map_err(|source| Error::Pause {
            device: self.name.clone(),
            source,
        })
    }

    /// The device goes on.
    pub(crate) fn resume(&self) {
        self.transport().resume();
    }

    fn transport(&self) -> MutexGuard<'_, MmioTransport> {
        self.transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts `device`, called `name` in messages, into `slot`.
pub(crate) fn attach(
    device: Box<dyn VirtioDevice>,
    name: &str,
    slot: &MmioDevice,
    machine: &KvmMachine,
    ram: &Ram,
    mmio: &mut Bus,
) -> Result<AttachedDevice> {
    let line = InterruptLine::new().map_err(Error::device(name))?;
    machine.connect_interrupt(&line, slot.gsi)?;
    let transport = MmioTransport::new(device, ram.clone(), line).map_err(Error::device(name))?;
    for (queue, kick) in (0..).zip(transport.kicks()) {
        machine.connect_doorbell(slot.base + QUEUE_NOTIFY, queue, kick)?;
    }
    let transport = Arc::new(Mutex::new(transport));
    mmio.insert(slot.base, slot.size, transport.clone())?;
    Ok(AttachedDevice {
        name: name.into(),
        transport,
    })
}

/// A device that its driver has started and that does not stop.
#[cfg(test)]
pub(crate) fn stuck_device(name: &str) -> AttachedDevice {
    use devices::bus::BusDevice;
    use devices::reactor::ReactorError;
    use devices::virtio::device::{Activation, DeviceInfo, StartError};
    use devices::virtio::queue::Queue;
    use vm_memory::{GuestAddress, GuestMemoryMmap};

    struct Stuck;

    impl VirtioDevice for Stuck {
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
        fn stop(&mut self) -> std::result::Result<Vec<Queue>, ReactorError> {
            Err(ReactorError::Stuck)
        }
    }

    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x1000)]).unwrap();
    let line = InterruptLine::new().unwrap();
    let mut transport = MmioTransport::new(Box::new(Stuck), Ram::new(memory), line).unwrap();
    // Virtio 1.3 §4.2.2: version 1 is feature bit 32; then the status, to its
    // end.
    for (register, value) in [(0x24, 1u32), (0x20, 1), (0x70, 15)] {
        transport.write(register, &value.to_le_bytes());
    }
    AttachedDevice {
        name: name.into(),
        transport: Arc::new(Mutex::new(transport)),
    }
}
