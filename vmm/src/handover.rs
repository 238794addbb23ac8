#![allow(unsafe_code)] // Adopts inherited descriptors by number.
//! Handing a machine over to the per-VM process: a configuration and its open
//! descriptors cross an `exec`.
//!
//! The sender writes the configuration as JSON into a memfd, with each
//! descriptor as its number, lets all of them be inherited, and executes the
//! `plinth-vmm` binary with the memfd's number. The receiver parses it back
//! into the same validated types. Both ends are built together; a version
//! number catches an installation that mixes two.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use boot::smbios::{Identity, Text};
use boot::{CommandLine, CpuCount, MemoryLayout, Protocol};
use devices::block::open::{DiskOptions, EngineChoice};
use devices::net::device::NetOptions;
use devices::net::mtu::Mtu;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::config::{BlockConfig, BootConfig, ConsoleConfig, DeviceConfig, NetConfig, VmConfig};
use crate::memory::{Backing, MemoryConfig};

/// Changes with the format below.
const VERSION: u32 = 1;

/// Configurations longer than this are not ours.
const MAX_LEN: u64 = 1 << 20;

/// What is handed over.
#[derive(Debug)]
pub struct Handover {
    /// The machine.
    pub config: VmConfig,
    /// When it was asked for.
    pub asked: Instant,
    /// Where the machine's [`Statistics`](crate::Statistics) are to be
    /// written, as JSON, when it has stopped.
    pub report: Option<OwnedFd>,
}

/// Why a handover failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandoverError {
    /// The configuration cannot be written or read.
    #[error("the configuration cannot be handed over")]
    Io(#[from] io::Error),
    /// It is not a configuration.
    #[error("the configuration handed over is not valid JSON of this version")]
    Syntax(#[from] serde_json::Error),
    /// It comes from another version of this program.
    #[error(
        "plinth and plinth-vmm are of different versions ({theirs} and {VERSION}); install both from one release"
    )]
    Version {
        /// The sender's version.
        theirs: u32,
    },
    /// A value in it cannot be.
    #[error("the configuration handed over has a bad {what}: {reason}")]
    Value {
        /// Which value.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

fn bad<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> HandoverError {
    move |error| HandoverError::Value {
        what,
        reason: error.to_string(),
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    version: u32,
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    asked_ns: u64,
    report: Option<RawFd>,
    kvm: RawFd,
    kernel: RawFd,
    initrd: Option<RawFd>,
    command_line: String,
    protocol: WireProtocol,
    cpus: u8,
    memory: WireMemory,
    identity: WireIdentity,
    console: Option<WireConsole>,
    rtc: bool,
    devices: Vec<WireDevice>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WireProtocol {
    Auto,
    Linux64,
    Pvh,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireMemory {
    bytes: u64,
    backing: WireBacking,
    transparent_huge_pages: Option<bool>,
    prefault: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WireBacking {
    Anonymous,
    Shared,
    Huge2M,
    Huge1G,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireIdentity {
    manufacturer: String,
    product: String,
    version: String,
    serial: String,
    uuid: [u8; 16],
    asset_tag: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireConsole {
    input: Option<RawFd>,
    output: RawFd,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum WireDevice {
    Block {
        file: RawFd,
        id: String,
        engine: WireEngine,
        direct: bool,
        read_only: bool,
    },
    Net {
        tap: RawFd,
        mac: String,
        mtu: Option<u16>,
    },
    Rng,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WireEngine {
    Auto,
    IoUring,
    Sync,
}

impl Handover {
    /// Writes the handover into a memfd and lets all its descriptors survive
    /// an `exec`, which is to follow: they stay open in this process.
    ///
    /// # Errors
    /// The host has no memory or descriptor left.
    pub fn send(self) -> Result<OwnedFd, HandoverError> {
        let asked_ns = monotonic_ns().saturating_sub(nanoseconds(self.asked.elapsed()));
        let wire = Wire::from_config(self.config, asked_ns, self.report)?;
        let mut memfd =
            File::from(memfd_create("plinth-vm", MemfdFlags::empty()).map_err(io::Error::from)?);
        memfd.write_all(&serde_json::to_vec(&wire)?)?;
        memfd.rewind()?;
        Ok(memfd.into())
    }

    /// Reads a handover back from the memfd that [`send`](Self::send) made.
    ///
    /// # Safety
    /// This process has just been executed by the sender, and nothing in it
    /// uses the descriptors yet that the handover names.
    ///
    /// # Errors
    /// It is not one, or not of this version.
    pub unsafe fn receive(memfd: OwnedFd) -> Result<Self, HandoverError> {
        let mut text = Vec::new();
        File::from(memfd).take(MAX_LEN).read_to_end(&mut text)?;
        let wire: Wire = serde_json::from_slice(&text).map_err(|error| {
            version_of(&text)
                .filter(|theirs| *theirs != VERSION)
                .map_or(error.into(), |theirs| HandoverError::Version { theirs })
        })?;
        if wire.version != VERSION {
            return Err(HandoverError::Version {
                theirs: wire.version,
            });
        }
        let since = Duration::from_nanos(monotonic_ns().saturating_sub(wire.asked_ns));
        let now = Instant::now();
        let asked = now.checked_sub(since).unwrap_or(now);
        // SAFETY: by this function's contract the descriptors are nobody's.
        let report = wire.report.map(|fd| unsafe { adopt(fd) }).transpose()?;
        // SAFETY: as above.
        let config = unsafe { wire.into_config() }?;
        Ok(Self {
            config,
            asked,
            report,
        })
    }
}

/// The version in a text whose other fields are not understood.
fn version_of(text: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let versioned: Versioned = serde_json::from_slice(text).ok()?;
    Some(versioned.version)
}

impl Wire {
    fn from_config(
        config: VmConfig,
        asked_ns: u64,
        report: Option<OwnedFd>,
    ) -> Result<Self, HandoverError> {
        let boot = config.boot;
        let memory = config.memory;
        let identity = config.identity;
        let console = config.console.map(|console| {
            Ok::<_, io::Error>(WireConsole {
                input: console.input.map(bequeath).transpose()?,
                output: bequeath(console.output)?,
            })
        });
        let devices = config.devices.into_iter().map(WireDevice::from_config);
        Ok(Self {
            version: VERSION,
            asked_ns,
            report: report.map(bequeath).transpose()?,
            kvm: bequeath(config.kvm)?,
            kernel: bequeath(boot.kernel)?,
            initrd: boot.initrd.map(bequeath).transpose()?,
            command_line: boot.command_line.as_str().to_owned(),
            protocol: match boot.protocol {
                Protocol::Auto => WireProtocol::Auto,
                Protocol::Linux64 => WireProtocol::Linux64,
                Protocol::Pvh => WireProtocol::Pvh,
            },
            cpus: config.cpus.get(),
            memory: WireMemory {
                bytes: memory.layout.bytes(),
                backing: match memory.backing {
                    Backing::Anonymous => WireBacking::Anonymous,
                    Backing::Shared => WireBacking::Shared,
                    Backing::Huge2M => WireBacking::Huge2M,
                    Backing::Huge1G => WireBacking::Huge1G,
                },
                transparent_huge_pages: memory.transparent_huge_pages,
                prefault: memory.prefault,
            },
            identity: WireIdentity {
                manufacturer: identity.manufacturer.to_string(),
                product: identity.product.to_string(),
                version: identity.version.to_string(),
                serial: identity.serial.to_string(),
                uuid: identity.uuid,
                asset_tag: identity.asset_tag.map(|tag| tag.to_string()),
            },
            console: console.transpose()?,
            rtc: config.rtc,
            devices: devices.collect::<io::Result<_>>()?,
        })
    }

    /// # Safety
    /// As for [`Handover::receive`].
    unsafe fn into_config(self) -> Result<VmConfig, HandoverError> {
        // SAFETY: by this function's contract.
        let fd = |number| unsafe { adopt(number) };
        let console = self.console.map(|console| {
            Ok::<_, io::Error>(ConsoleConfig {
                input: console.input.map(fd).transpose()?,
                output: fd(console.output)?,
            })
        });
        // SAFETY: by this function's contract.
        let devices = self.devices.into_iter().map(|d| unsafe { d.into_config() });
        Ok(VmConfig {
            kvm: fd(self.kvm)?,
            boot: BootConfig {
                kernel: fd(self.kernel)?.into(),
                initrd: self.initrd.map(fd).transpose()?.map(File::from),
                command_line: CommandLine::new(self.command_line).map_err(bad("command line"))?,
                protocol: match self.protocol {
                    WireProtocol::Auto => Protocol::Auto,
                    WireProtocol::Linux64 => Protocol::Linux64,
                    WireProtocol::Pvh => Protocol::Pvh,
                },
            },
            cpus: CpuCount::new(self.cpus.into()).map_err(bad("number of vCPUs"))?,
            memory: MemoryConfig {
                layout: MemoryLayout::new(self.memory.bytes).map_err(bad("memory size"))?,
                backing: match self.memory.backing {
                    WireBacking::Anonymous => Backing::Anonymous,
                    WireBacking::Shared => Backing::Shared,
                    WireBacking::Huge2M => Backing::Huge2M,
                    WireBacking::Huge1G => Backing::Huge1G,
                },
                transparent_huge_pages: self.memory.transparent_huge_pages,
                prefault: self.memory.prefault,
            },
            identity: self.identity.into_identity()?,
            console: console.transpose()?,
            rtc: self.rtc,
            devices: devices.collect::<Result<_, _>>()?,
        })
    }
}

impl WireIdentity {
    fn into_identity(self) -> Result<Identity, HandoverError> {
        let text = |text: String| Text::new(text).map_err(bad("SMBIOS text"));
        Ok(Identity {
            manufacturer: text(self.manufacturer)?,
            product: text(self.product)?,
            version: text(self.version)?,
            serial: text(self.serial)?,
            uuid: self.uuid,
            asset_tag: self.asset_tag.map(text).transpose()?,
        })
    }
}

impl WireDevice {
    fn from_config(config: DeviceConfig) -> io::Result<Self> {
        Ok(match config {
            DeviceConfig::Block(block) => Self::Block {
                file: bequeath(block.file)?,
                id: block.id.to_string(),
                engine: match block.options.engine {
                    EngineChoice::Auto => WireEngine::Auto,
                    EngineChoice::IoUring => WireEngine::IoUring,
                    EngineChoice::Sync => WireEngine::Sync,
                },
                direct: block.options.direct,
                read_only: block.options.read_only,
            },
            DeviceConfig::Net(net) => Self::Net {
                tap: bequeath(net.tap)?,
                mac: net.options.mac.to_string(),
                mtu: net.options.mtu.map(Mtu::get),
            },
            DeviceConfig::Rng => Self::Rng,
        })
    }

    /// # Safety
    /// As for [`Handover::receive`].
    unsafe fn into_config(self) -> Result<DeviceConfig, HandoverError> {
        // SAFETY: by this function's contract.
        let fd = |number| unsafe { adopt(number) };
        Ok(match self {
            Self::Block {
                file,
                id,
                engine,
                direct,
                read_only,
            } => DeviceConfig::Block(BlockConfig {
                file: fd(file)?.into(),
                id: id.parse().map_err(bad("disk id"))?,
                options: DiskOptions {
                    engine: match engine {
                        WireEngine::Auto => EngineChoice::Auto,
                        WireEngine::IoUring => EngineChoice::IoUring,
                        WireEngine::Sync => EngineChoice::Sync,
                    },
                    direct,
                    read_only,
                },
            }),
            Self::Net { tap, mac, mtu } => DeviceConfig::Net(NetConfig {
                tap: fd(tap)?,
                options: NetOptions {
                    mac: mac.parse().map_err(bad("MAC address"))?,
                    mtu: mtu.map(Mtu::new).transpose().map_err(bad("MTU"))?,
                },
            }),
            Self::Rng => DeviceConfig::Rng,
        })
    }
}

/// Leaves a descriptor open across `exec`, and gives its number.
fn bequeath(fd: impl Into<OwnedFd>) -> io::Result<RawFd> {
    let fd = fd.into();
    fcntl_setfd(&fd, FdFlags::empty())?;
    Ok(fd.into_raw_fd())
}

/// Takes over an inherited descriptor.
///
/// # Safety
/// Nothing else in this process owns descriptor `number`.
unsafe fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: by this function's contract; that it is open is seen next.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    if let Err(error) = fcntl_getfd(fd.as_fd()) {
        // It is not open: there is nothing to close.
        let _ = fd.into_raw_fd();
        return Err(error.into());
    }
    fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
    debug_assert!(fd.as_raw_fd() == number);
    Ok(fd)
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
