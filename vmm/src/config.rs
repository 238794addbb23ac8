//! What a machine is to be: a plain value, valid by construction.
//!
//! It holds open descriptors and parsed types, never paths or text: whoever
//! runs the machine opened and vetted everything, and the machine opens
//! nothing.

use std::fs::File;
use std::os::fd::OwnedFd;

use boot::smbios::Identity;
use boot::{CommandLine, CpuCount, MmioDevice, Protocol};
use devices::block::id::DiskId;
use devices::block::mapped_disk::Mapping;
use devices::block::open::DiskOptions;
use devices::net::device::NetOptions;
use devices::pci::SLOTS;
use devices::rate_limit::Limits;
use devices::vsock::{GuestCid, SocketStem};
use volume::cipher::key::Key;

use crate::description::{DeviceDescription, DeviceKind};
use crate::device_name::{BadDeviceName, DeviceName};
use crate::memory::MemoryConfig;

/// The host's side of a console.
pub use devices::console::host::ConsoleEnds as ConsoleConfig;

/// A machine to be built.
#[derive(Debug)]
pub struct VmConfig {
    /// The open KVM device.
    pub kvm: OwnedFd,
    /// What it boots.
    pub boot: BootConfig,
    /// Its vCPUs when it is switched on.
    pub cpus: CpuCount,
    /// How many it may have in the end, if some are to be added while it runs.
    pub max_cpus: Option<CpuCount>,
    /// Its memory.
    pub memory: MemoryConfig,
    /// What it says of itself.
    pub identity: Identity,
    /// Its serial port, if it has one.
    pub console: Option<ConsoleConfig>,
    /// Whether it has a CMOS clock, of whole seconds. Linux guests have the time from
    /// KVM's clock: most of those that find a CMOS clock as well set themselves by
    /// that, up to half a second off (the kernel's `RTC_HCTOSYS`).
    pub rtc: bool,
    /// Whether it has a watchdog, for a guest that is to be reset when it
    /// stops answering; see [`OnReset`]. A guest that does not start it is
    /// left alone.
    pub watchdog: bool,
    /// Its VM generation id, if it has one: a random number, another one for
    /// each machine that goes on from the same saved state, so that no two
    /// guests draw the same random numbers. Resets keep it.
    pub generation_id: Option<[u8; 16]>,
    /// How the guest reaches its virtio devices.
    pub transport: TransportKind,
    /// What becomes of it when its guest resets itself.
    pub on_reset: OnReset,
    /// Its virtio devices, in the order in which the guest finds them.
    pub devices: Vec<DeviceConfig>,
}

/// What becomes of a machine whose guest resets itself, or is reset by its
/// watchdog. A crash ends it in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnReset {
    /// The guest starts anew in the same process.
    #[default]
    Reboot,
    /// The machine stops.
    Stop,
}

/// What a machine boots.
#[derive(Debug)]
pub struct BootConfig {
    /// The kernel, readable. Not to be written to while the machine runs.
    pub kernel: File,
    /// The initial RAM disk, readable, with the same condition.
    pub initrd: Option<File>,
    /// What the kernel is told.
    pub command_line: CommandLine,
    /// How the kernel is entered.
    pub protocol: Protocol,
}

/// How a guest reaches virtio devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransportKind {
    /// As PCI functions, which come and go while the guest runs.
    #[default]
    Pci,
    /// At fixed addresses, for guests without PCI.
    Mmio,
}

impl TransportKind {
    /// How many devices a machine has room for.
    pub fn room(self) -> usize {
        match self {
            // All slots but the host bridge's.
            Self::Pci => usize::from(SLOTS - 1),
            // One interrupt each.
            Self::Mmio => usize::try_from(MmioDevice::MAX).unwrap_or(0),
        }
    }
}

/// A virtio device.
#[derive(Debug)]
pub enum DeviceConfig {
    /// A disk.
    Block(BlockConfig),
    /// A network interface.
    Net(NetConfig),
    /// A source of random numbers.
    Rng,
    /// Streams between programs of the guest and of the host.
    Vsock(VsockConfig),
    /// A console that is no serial port.
    Console(ConsoleConfig),
    /// A balloon, through which the guest hands memory back; at most one.
    Balloon,
    /// Memory that grows. Comes by itself with a
    /// [layout](MemoryConfig::layout) that has room for it.
    Mem,
}

impl DeviceConfig {
    /// What the device is, and what it is called.
    ///
    /// # Errors
    /// A disk without a name.
    pub fn description(&self) -> Result<DeviceDescription, BadDeviceName> {
        let (name, kind) = match self {
            Self::Block(block) => (block.id.try_into()?, DeviceKind::Disk),
            Self::Net(net) => (net.name.clone(), DeviceKind::Net),
            Self::Rng => ("rng".parse()?, DeviceKind::Rng),
            Self::Vsock(_) => ("vsock".parse()?, DeviceKind::Vsock),
            Self::Console(_) => ("console".parse()?, DeviceKind::Console),
            Self::Balloon => ("balloon".parse()?, DeviceKind::Balloon),
            Self::Mem => ("mem".parse()?, DeviceKind::Mem),
        };
        let read_only = match self {
            Self::Block(block) => Some(block.options.read_only),
            _ => None,
        };
        let on_error = match self {
            Self::Block(block) => Some(block.options.on_error.into()),
            _ => None,
        };
        let queues = match self {
            Self::Block(block) => Some(block.options.queues.get()),
            Self::Net(net) => u16::try_from(net.cable.len()).ok(),
            _ => None,
        };
        let vhost = match self {
            Self::Net(net) => Some(!net.vhost.is_empty()),
            _ => None,
        };
        Ok(DeviceDescription {
            read_only,
            on_error,
            queues,
            vhost,
            ..DeviceDescription::new(name, kind)
        })
    }
}

/// A disk.
#[derive(Debug)]
pub struct BlockConfig {
    /// What is on it, locked by whoever opened it.
    pub file: File,
    /// Its serial number, which is also its name: unique in its machine.
    pub id: DiskId,
    /// How the file is used.
    pub options: DiskOptions,
    /// What the file's contents are encrypted under, if they are.
    pub key: Option<Key>,
    /// How much it may do to begin with.
    pub limits: Option<Limits>,
    /// If it is a volume: the other files that make it one.
    pub volume: Option<Mapping>,
}

/// A network interface.
#[derive(Debug)]
pub struct NetConfig {
    /// What it is called, unique in its machine.
    pub name: DeviceName,
    /// Where its cable leads. The queues of a tap, one for each queue pair, open as
    /// [`open_tap`](devices::net::tap_open::open_tap) opens them; or one
    /// [stream](devices::net::stream) to another process's network stack.
    pub cable: Vec<OwnedFd>,
    /// Where the host's kernel is to carry the packets by itself
    /// ([`vhost`](devices::net::vhost)): for each queue of a tap a descriptor of
    /// /dev/vhost-net. Limits do not reach packets that go so.
    pub vhost: Vec<OwnedFd>,
    /// What the guest sees of it.
    pub options: NetOptions,
    /// How much may come to the guest to begin with.
    pub receive: Option<Limits>,
    /// How much the guest may send to begin with.
    pub transmit: Option<Limits>,
}

/// Streams between programs of the guest and of the host.
#[derive(Debug)]
pub struct VsockConfig {
    /// The guest's address.
    pub cid: GuestCid,
    /// The listening Unix socket that host programs connect to.
    pub listener: OwnedFd,
    /// The directory that it is in, and that services of the host are in.
    pub directory: OwnedFd,
    /// What it is called there; a service's name is this, `_` and the port.
    pub stem: SocketStem,
}
