//! The catalogue: the one file that knows every virtio device.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use devices::balloon::device::Balloon;
use devices::balloon::handle::BalloonHandle;
use devices::block::device::Block;
use devices::block::handle::BlockHandle;
use devices::block::open::{encrypted, open_disk, open_volume};
use devices::console::buffer::ConsoleBuffer;
use devices::console::host::ConsoleHost;
use devices::console::size::ConsoleSize;
use devices::net::device::Net;
use devices::net::handle::NetHandle;
use devices::net::port::Port;
use devices::net::stream::Stream;
use devices::net::tap::Tap;
use devices::net::vhost::VhostTap;
use devices::platform::request::{MachineRequest, RequestSender};
use devices::reactor::ReactorHandle;
use devices::reactor::threads::IoThreads;
use devices::rng::{Rng, RngCounters};
use devices::virtio::device::VirtioDevice;
use devices::virtio::queue_count::QueueCount;
use devices::virtio_console::counters::ConsoleCounters;
use devices::virtio_console::{Keyboard, VirtioConsole};
use devices::virtio_mem::device::Mem;
use devices::virtio_mem::handle::MemHandle;
use devices::vsock::{self, HostEnd, Vsock};

use crate::attach::Place;
use crate::config::{BlockConfig, ConsoleConfig, DeviceConfig, NetConfig, VsockConfig};
use crate::description::DeviceDescription;
use crate::error::{Error, Result};
use crate::memory::MemoryConfig;

/// A device and what to call it in messages.
pub(crate) struct NamedDevice {
    pub(crate) name: String,
    /// For whoever operates the machine.
    pub(crate) description: DeviceDescription,
    pub(crate) device: Box<dyn VirtioDevice>,
    pub(crate) handle: DeviceHandle,
    /// Where it was before the machine was reset, and is to be again: the guest
    /// names devices by their slots. None for one that is new.
    pub(crate) place: Option<Place>,
}

/// The host's side of a device, to operate it while the machine runs.
#[derive(Clone)]
pub(crate) enum DeviceHandle {
    Disk(BlockHandle),
    Net(NetHandle),
    Balloon(BalloonHandle),
    Mem(MemHandle),
    Rng(Arc<RngCounters>),
    Vsock(Arc<vsock::counters::Counters>),
    Console(ConsoleCounters),
}

impl DeviceHandle {
    /// What there is to say of the device as it is now, beside what was said
    /// of it when it was made.
    pub(crate) fn describe(&self, made: &DeviceDescription) -> DeviceDescription {
        let mut description = made.clone();
        match self {
            Self::Disk(disk) => {
                description.capacity_bytes = Some(disk.capacity());
                description.limits = disk.limits().map(Into::into);
                description.waits = disk.waits().reason();
            }
            Self::Net(net) => {
                description.receive = net.receive().limits().map(Into::into);
                description.transmit = net.transmit().limits().map(Into::into);
            }
            _ => {}
        }
        description
    }
}

/// Makes the device that `config` describes, to work on `threads`, for a
/// machine with this `memory`. What it wants of the machine goes to `requests`.
pub(crate) fn make(
    config: DeviceConfig,
    threads: &mut IoThreads,
    memory: &MemoryConfig,
    requests: &RequestSender,
) -> Result<NamedDevice> {
    let reactor = &threads.first();
    let description = config.description();
    let description = description.map_err(|error| Error::Config(error.to_string()))?;
    let (name, device, handle) = match config {
        DeviceConfig::Block(config) => block(config, threads)?,
        DeviceConfig::Net(config) => net(config, threads)?,
        DeviceConfig::Rng => {
            let device = Rng::new(reactor.clone());
            let handle = DeviceHandle::Rng(device.counters());
            ("rng".into(), boxed(device), handle)
        }
        DeviceConfig::Balloon => balloon(reactor, memory)?,
        DeviceConfig::Mem => mem(reactor, memory)?,
        DeviceConfig::Vsock(config) => vsock(config, reactor)?,
        DeviceConfig::Console(config) => console(config, reactor, requests)?,
    };
    Ok(NamedDevice {
        name,
        description,
        device,
        handle,
        place: None,
    })
}

/// A device, what to call it in messages, and the host's side of it.
type Made = (String, Box<dyn VirtioDevice>, DeviceHandle);

fn boxed(device: impl VirtioDevice + 'static) -> Box<dyn VirtioDevice> {
    Box::new(device)
}

fn block(config: BlockConfig, threads: &mut IoThreads) -> Result<Made> {
    let name = format!("disk {}", config.id);
    let reactors = threads.for_queues(config.options.queues.get());
    let reactors = reactors.map_err(Error::device(&name))?;
    let opened = match config.volume {
        Some(mapping) => open_volume(config.file, mapping, config.options),
        None => open_disk(config.file, config.options),
    };
    let (mut disks, engine) = opened.map_err(Error::device(&name))?;
    log::info!("{name} uses {engine}");
    if let Some(key) = &config.key {
        disks = encrypted(disks, key).map_err(Error::device(&name))?;
    }
    let on_error = config.options.on_error;
    let device = Block::new(disks, config.id, on_error, reactors);
    let device = device.map_err(Error::device(&name))?;
    let handle = device.handle();
    handle.set_limits(config.limits);
    Ok((name, boxed(device), DeviceHandle::Disk(handle)))
}

fn net(config: NetConfig, threads: &mut IoThreads) -> Result<Made> {
    let name = format!("network interface {}", config.options.mac);
    let queues = QueueCount::new(config.cable.len() as u64).map_err(Error::device(&name))?;
    let reactors = threads.for_queues(queues.get());
    let reactors = reactors.map_err(Error::device(&name))?;
    let limited = config.receive.is_some() || config.transmit.is_some();
    if limited && !config.vhost.is_empty() {
        return Err(limits_with_vhost(&name));
    }
    let ports = ports(config.cable, config.vhost, &name)?;
    let device = Net::new(ports, config.options, reactors);
    let device = device.map_err(Error::device(&name))?;
    let handle = device.handle();
    handle.set_limits(config.receive, config.transmit);
    Ok((name, boxed(device), DeviceHandle::Net(handle)))
}

/// What the cable of the interface `name` leads to, served by `vhost` if that is there.
fn ports(mut cable: Vec<OwnedFd>, vhost: Vec<OwnedFd>, name: &str) -> Result<Vec<Box<dyn Port>>> {
    if let Some(socket) = cable.pop_if(|end| Stream::is_one(end)) {
        if !cable.is_empty() {
            return Err(Error::Config(format!("the stream of {name} has one queue")));
        }
        if !vhost.is_empty() {
            return Err(Error::Config(format!(
                "{name} is a stream, which vhost-net does not serve; leave that out"
            )));
        }
        let stream = Stream::new(socket).map_err(Error::device(name))?;
        return Ok(vec![Box::new(stream)]);
    }
    let taps = Tap::from_fds(cable).map_err(Error::device(name))?;
    if vhost.is_empty() {
        let ports = taps.into_iter().map(|tap| Box::new(tap) as _);
        return Ok(ports.collect());
    }
    if vhost.len() != taps.len() {
        return Err(Error::Config(format!(
            "{name} has {} queues and {} descriptors of vhost-net; pass one for each",
            taps.len(),
            vhost.len()
        )));
    }
    let served = taps.into_iter().zip(vhost).map(|(tap, vhost)| {
        let served = VhostTap::new(tap, vhost).map_err(Error::device(name))?;
        Ok(Box::new(served) as _)
    });
    served.collect()
}

/// Refuses limits of the interface `name`.
pub(crate) fn limits_with_vhost(name: &str) -> Error {
    Error::Config(format!(
        "limits do not reach the packets of {name}, which the host's kernel carries by \
         itself (vhost); leave out one or the other"
    ))
}

/// Neither inflating nor reporting is offered where pages cannot go back.
fn balloon(reactor: &ReactorHandle, memory: &MemoryConfig) -> Result<Made> {
    let name = "balloon";
    memory.check_can_go_back()?;
    let device =
        Balloon::new(memory.layout.bytes(), reactor.clone()).map_err(Error::device(name))?;
    let handle = DeviceHandle::Balloon(device.handle());
    Ok((name.into(), boxed(device), handle))
}

fn mem(reactor: &ReactorHandle, memory: &MemoryConfig) -> Result<Made> {
    let name = "mem";
    memory.check_can_go_back()?;
    let region = memory.layout.growth().ok_or_else(|| {
        Error::Config("a machine whose memory cannot grow has no device for that".into())
    })?;
    let device = Mem::new(region, reactor.clone()).map_err(Error::device(name))?;
    let handle = DeviceHandle::Mem(device.handle());
    Ok((name.into(), boxed(device), handle))
}

fn vsock(config: VsockConfig, reactor: &ReactorHandle) -> Result<Made> {
    let name = format!("vsock {}", config.cid);
    let host = HostEnd::new(config.listener, config.directory, config.stem);
    let host = host.map_err(Error::device(&name))?;
    let device = Vsock::new(config.cid, host, reactor.clone()).map_err(Error::device(&name))?;
    let handle = DeviceHandle::Vsock(device.counters());
    Ok((name, boxed(device), handle))
}

fn console(
    config: ConsoleConfig,
    reactor: &ReactorHandle,
    requests: &RequestSender,
) -> Result<Made> {
    let name = "virtio console";
    let output = ConsoleBuffer::new().map_err(Error::device(name))?;
    let keyboard = Keyboard::new().map_err(Error::device(name))?;
    let size = ConsoleSize::of(&config.output);
    let requests = requests.clone();
    let quit = move || requests.send(MachineRequest::UserQuit);
    let host = ConsoleHost::attach(config, &output, keyboard.clone(), quit, reactor)
        .map_err(Error::device(name))?;
    let device = VirtioConsole::new(output, keyboard, size, Some(host), reactor.clone());
    let handle = DeviceHandle::Console(device.counters());
    Ok((name.into(), boxed(device), handle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::memory::Backing;
    use boot::MemoryLayout;
    use boot::layout::GIB;
    use devices::rate_limit::{Limit, Limits};

    fn memory(backing: Backing) -> MemoryConfig {
        MemoryConfig {
            layout: MemoryLayout::new(GIB).unwrap().growing_to(2 * GIB).unwrap(),
            backing,
            transparent_huge_pages: None,
            prefault: false,
        }
    }

    #[test]
    fn no_device_gives_back_what_the_pool_of_huge_pages_lent() {
        let mut threads = IoThreads::start(1).unwrap();
        for (backing, possible) in [
            (Backing::Anonymous, true),
            (Backing::Shared, true),
            (Backing::Huge2M, false),
            (Backing::Huge1G, false),
        ] {
            for device in [DeviceConfig::Balloon, DeviceConfig::Mem] {
                let requests = RequestSender::new(drop);
                let made = make(device, &mut threads, &memory(backing), &requests);
                let refused = made.err().map(|error| error.kind());
                let expected = (!possible).then_some(ErrorKind::Configuration);
                assert_eq!(refused, expected, "{backing}");
            }
        }
    }

    #[test]
    fn a_disk_is_described_with_its_size_and_limits_as_they_are_now() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        let grown = file.try_clone().unwrap();
        let config = DeviceConfig::Block(BlockConfig {
            file,
            id: "data".parse().unwrap(),
            options: crate::DiskOptions {
                engine: crate::EngineChoice::Sync,
                ..crate::DiskOptions::default()
            },
            key: None,
            limits: Limits::new(None, Limit::per_second(4096).ok()),
            volume: None,
        });
        let mut threads = IoThreads::start(1).unwrap();
        let memory = memory(Backing::Anonymous);
        let made = make(config, &mut threads, &memory, &RequestSender::new(drop)).unwrap();
        let described = || made.handle.describe(&made.description);
        assert_eq!(described().capacity_bytes, Some(1 << 20));
        assert_eq!(described().read_only, Some(false));
        assert_eq!(described().queues, Some(1));
        assert_eq!(described().limits.unwrap().bytes_per_second, Some(4096));
        let DeviceHandle::Disk(disk) = &made.handle else {
            panic!("it is a disk");
        };
        disk.set_limits(None);
        grown.set_len(2 << 20).unwrap();
        disk.resize(None).unwrap();
        assert_eq!(described().limits, None);
        assert_eq!(described().capacity_bytes, Some(2 << 20));
    }
}
