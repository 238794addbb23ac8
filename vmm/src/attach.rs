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
    transport: Arc<Mutex<MmioTransport>>,
}

impl AttachedDevice {
    /// The device comes to rest; its queues are where the driver left them.
    pub(crate) fn pause(&self) -> Result<()> {
        Ok(self.transport().pause()?)
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
    Ok(AttachedDevice { transport })
}
