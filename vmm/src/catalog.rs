//! The catalogue: the one file that knows every virtio device.

use boot::MemoryLayout;
use devices::balloon::device::Balloon;
use devices::balloon::handle::BalloonHandle;
use devices::block::device::Block;
use devices::block::open::open_disk;
use devices::net::device::Net;
use devices::net::tap::Tap;
use devices::reactor::ReactorHandle;
use devices::rng::Rng;
use devices::virtio::device::VirtioDevice;
use devices::virtio_mem::device::Mem;
use devices::virtio_mem::handle::MemHandle;

use crate::config::{BlockConfig, DeviceConfig, NetConfig};
use crate::error::{Error, Result};

/// A device and what to call it in messages.
pub(crate) struct NamedDevice {
    pub(crate) name: String,
    pub(crate) device: Box<dyn VirtioDevice>,
    /// The host's side of it, if it has one.
    pub(crate) handle: Option<DeviceHandle>,
}

/// The host's side of a device, to operate it while the machine runs.
pub(crate) enum DeviceHandle {
    Balloon(BalloonHandle),
    Mem(MemHandle),
}

/// Makes the device that `config` describes, to work on `reactor`, for a
/// machine with this `memory`.
pub(crate) fn make(
    config: DeviceConfig,
    reactor: &ReactorHandle,
    memory: &MemoryLayout,
) -> Result<NamedDevice> {
    match config {
        DeviceConfig::Block(config) => block(config, reactor),
        DeviceConfig::Net(config) => net(config, reactor),
        DeviceConfig::Rng => Ok(NamedDevice {
            name: "rng".into(),
            device: Box::new(Rng::new(reactor.clone())),
            handle: None,
        }),
        DeviceConfig::Balloon => balloon(reactor, memory),
        DeviceConfig::Mem => mem(reactor, memory),
    }
}

fn block(config: BlockConfig, reactor: &ReactorHandle) -> Result<NamedDevice> {
    let name = format!("disk {}", config.id);
    let (disk, engine) = open_disk(config.file, config.options).map_err(Error::device(&name))?;
    log::info!("{name} uses {engine}");
    let device = Block::new(disk, config.id, reactor.clone());
    Ok(NamedDevice {
        name,
        device: Box::new(device),
        handle: None,
    })
}

fn net(config: NetConfig, reactor: &ReactorHandle) -> Result<NamedDevice> {
    let name = format!("network interface {}", config.options.mac);
    let tap = Tap::from_fd(config.tap).map_err(Error::device(&name))?;
    let device = Net::new(Box::new(tap), config.options, reactor.clone());
    Ok(NamedDevice {
        name,
        device: Box::new(device),
        handle: None,
    })
}

fn balloon(reactor: &ReactorHandle, memory: &MemoryLayout) -> Result<NamedDevice> {
    let name = "balloon";
    let device = Balloon::new(memory.bytes(), reactor.clone()).map_err(Error::device(name))?;
    Ok(NamedDevice {
        name: name.into(),
        handle: Some(DeviceHandle::Balloon(device.handle())),
        device: Box::new(device),
    })
}

fn mem(reactor: &ReactorHandle, memory: &MemoryLayout) -> Result<NamedDevice> {
    let name = "mem";
    let region = memory.growth().ok_or_else(|| {
        Error::Config("a machine whose memory cannot grow has no device for that".into())
    })?;
    let device = Mem::new(region, reactor.clone()).map_err(Error::device(name))?;
    Ok(NamedDevice {
        name: name.into(),
        handle: Some(DeviceHandle::Mem(device.handle())),
        device: Box::new(device),
    })
}
