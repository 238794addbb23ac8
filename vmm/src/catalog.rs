//! The catalogue: the one file that knows every virtio device.

use devices::block::device::Block;
use devices::block::open::open_disk;
use devices::console::buffer::ConsoleBuffer;
use devices::console::host::ConsoleHost;
use devices::console::size::ConsoleSize;
use devices::net::device::Net;
use devices::net::tap::Tap;
use devices::platform::request::{MachineRequest, RequestSender};
use devices::reactor::ReactorHandle;
use devices::rng::Rng;
use devices::virtio::device::VirtioDevice;
use devices::virtio_console::{Keyboard, VirtioConsole};
use devices::vsock::{HostEnd, Vsock};

use crate::config::{BlockConfig, ConsoleConfig, DeviceConfig, NetConfig, VsockConfig};
use crate::error::{Error, Result};

/// A device and what to call it in messages.
pub(crate) struct NamedDevice {
    pub(crate) name: String,
    pub(crate) device: Box<dyn VirtioDevice>,
}

/// Makes the device that `config` describes, to work on `reactor`. What it
/// wants of the machine goes to `requests`.
pub(crate) fn make(
    config: DeviceConfig,
    reactor: &ReactorHandle,
    requests: &RequestSender,
) -> Result<NamedDevice> {
    match config {
        DeviceConfig::Block(config) => block(config, reactor),
        DeviceConfig::Net(config) => net(config, reactor),
        DeviceConfig::Rng => Ok(NamedDevice {
            name: "rng".into(),
            device: Box::new(Rng::new(reactor.clone())),
        }),
        DeviceConfig::Vsock(config) => vsock(config, reactor),
        DeviceConfig::Console(config) => console(config, reactor, requests),
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
    })
}

fn net(config: NetConfig, reactor: &ReactorHandle) -> Result<NamedDevice> {
    let name = format!("network interface {}", config.options.mac);
    let tap = Tap::from_fd(config.tap).map_err(Error::device(&name))?;
    let device = Net::new(Box::new(tap), config.options, reactor.clone());
    Ok(NamedDevice {
        name,
        device: Box::new(device),
    })
}

fn vsock(config: VsockConfig, reactor: &ReactorHandle) -> Result<NamedDevice> {
    let name = format!("vsock {}", config.cid);
    let host = HostEnd::new(config.listener, config.directory, config.stem);
    let host = host.map_err(Error::device(&name))?;
    let device = Vsock::new(config.cid, host, reactor.clone()).map_err(Error::device(&name))?;
    Ok(NamedDevice {
        name,
        device: Box::new(device),
    })
}

fn console(
    config: ConsoleConfig,
    reactor: &ReactorHandle,
    requests: &RequestSender,
) -> Result<NamedDevice> {
    let name = "virtio console";
    let output = ConsoleBuffer::new().map_err(Error::device(name))?;
    let keyboard = Keyboard::new().map_err(Error::device(name))?;
    let size = ConsoleSize::of(&config.output);
    let requests = requests.clone();
    let quit = move || requests.send(MachineRequest::UserQuit);
    let host = ConsoleHost::attach(config, &output, keyboard.clone(), quit, reactor)
        .map_err(Error::device(name))?;
    let device = VirtioConsole::new(output, keyboard, size, Some(host), reactor.clone());
    Ok(NamedDevice {
        name: name.into(),
        device: Box::new(device),
    })
}
