//! The catalogue: the one file that knows every virtio device.

use devices::block::device::Block;
use devices::block::open::open_disk;
use devices::net::device::Net;
use devices::net::tap::Tap;
use devices::reactor::ReactorHandle;
use devices::rng::Rng;
use devices::virtio::device::VirtioDevice;

use crate::config::{BlockConfig, DeviceConfig, NetConfig};
use crate::error::{Error, Result};

/// A device and what to call it in messages.
pub(crate) struct NamedDevice {
    pub(crate) name: String,
    pub(crate) device: Box<dyn VirtioDevice>,
}

/// Makes the device that `config` describes, to work on `reactor`.
pub(crate) fn make(config: DeviceConfig, reactor: &ReactorHandle) -> Result<NamedDevice> {
    match config {
        DeviceConfig::Block(config) => block(config, reactor),
        DeviceConfig::Net(config) => net(config, reactor),
        DeviceConfig::Rng => Ok(NamedDevice {
            name: "rng".into(),
            device: Box::new(Rng::new(reactor.clone())),
        }),
    }
}

fn block(config: BlockConfig, reactor: &ReactorHandle) -> Result<NamedDevice> {
    let name = format!("disk {}", config.id);
    let (disk, engine) = open_disk(config.file, config.options).map_err(Error::device(&name))?;
    log::info!("{name} uses {engine}");
    let device = Block::new(disk, config.id, reactor.clone()).map_err(Error::device(&name))?;
    Ok(NamedDevice {
        name,
        device: Box::new(device),
    })
}

fn net(config: NetConfig, reactor: &ReactorHandle) -> Result<NamedDevice> {
    let name = format!("network interface {}", config.options.mac);
    let tap = Tap::from_fd(config.tap).map_err(Error::device(&name))?;
    let device = Net::new(Box::new(tap), config.options, reactor.clone());
    let device = device.map_err(Error::device(&name))?;
    Ok(NamedDevice {
        name,
        device: Box::new(device),
    })
}
