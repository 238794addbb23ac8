//! A machine's configuration as it crosses an `exec`: JSON with descriptors
//! as numbers.
//!
//! These types are the format; the validated ones of [`config`](crate::config)
//! are made from them and into them, here only.

mod device;

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::fd::RawFd;

use boot::smbios::{Identity, Text};
use boot::{CommandLine, CpuCount, MemoryLayout, Protocol};
use serde::{Deserialize, Serialize};

use self::device::WireDevice;
use super::inheritance::{Inheritance, bequeath};
use super::{Handover, HandoverError, Registration, VERSION};
use crate::config::{BootConfig, ConsoleConfig, OnReset, TransportKind, VmConfig};
use crate::memory::{Backing, MemoryConfig};

/// A machine, and what goes with it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wire {
    version: u32,
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub(super) asked_ns: u64,
    pub(super) report: Option<RawFd>,
    pub(super) api: Option<RawFd>,
    pub(super) console_far: Option<RawFd>,
    pub(super) registration: Option<WireRegistration>,
    kvm: RawFd,
    kernel: RawFd,
    initrd: Option<RawFd>,
    command_line: String,
    protocol: WireProtocol,
    cpus: u8,
    max_cpus: Option<u8>,
    memory: WireMemory,
    identity: WireIdentity,
    console: Option<WireConsole>,
    rtc: bool,
    watchdog: bool,
    generation_id: Option<[u8; 16]>,
    transport: WireTransport,
    on_reset: WireOnReset,
    devices: Vec<WireDevice>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireRegistration {
    lock: RawFd,
    end: RawFd,
    detached: Option<RawFd>,
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
    most: u64,
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
    escapes: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WireTransport {
    Pci,
    Mmio,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WireOnReset {
    Reboot,
    Stop,
}

fn bad<E: Display>(what: &'static str) -> impl Fn(E) -> HandoverError {
    move |error| HandoverError::Value {
        what,
        reason: error.to_string(),
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
    /// Reads what another process wrote.
    pub(super) fn parse(text: &[u8]) -> Result<Self, HandoverError> {
        // The version first: of another one, nothing else is understood.
        if let Some(theirs) = version_of(text).filter(|theirs| *theirs != VERSION) {
            return Err(HandoverError::Version { theirs });
        }
        Ok(serde_json::from_slice(text)?)
    }

    /// Bequeathes all descriptors.
    pub(super) fn from_handover(handover: Handover, asked_ns: u64) -> Result<Self, HandoverError> {
        let config = handover.config;
        let boot = config.boot;
        let memory = config.memory;
        let identity = config.identity;
        let console = config.console.map(WireConsole::from_config);
        let devices = config.devices.into_iter().map(WireDevice::from_config);
        Ok(Self {
            version: VERSION,
            asked_ns,
            report: handover.report.map(bequeath).transpose()?,
            api: handover.api.map(bequeath).transpose()?,
            console_far: handover.console.map(bequeath).transpose()?,
            registration: handover
                .registration
                .map(WireRegistration::bequeath)
                .transpose()?,
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
            max_cpus: config.max_cpus.map(CpuCount::get),
            memory: WireMemory {
                bytes: memory.layout.bytes(),
                most: memory.layout.most(),
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
            watchdog: config.watchdog,
            generation_id: config.generation_id,
            transport: match config.transport {
                TransportKind::Pci => WireTransport::Pci,
                TransportKind::Mmio => WireTransport::Mmio,
            },
            on_reset: match config.on_reset {
                OnReset::Reboot => WireOnReset::Reboot,
                OnReset::Stop => WireOnReset::Stop,
            },
            devices: devices.collect::<io::Result<_>>()?,
        })
    }

    /// Takes all descriptors over.
    pub(super) fn into_config(
        self,
        inheritance: &mut Inheritance,
    ) -> Result<VmConfig, HandoverError> {
        let mut fd = |number| inheritance.adopt(number);
        let kvm = fd(self.kvm)?;
        let kernel = fd(self.kernel)?.into();
        let initrd = self.initrd.map(&mut fd).transpose()?.map(File::from);
        let console = self.console;
        let console = console.map(|console| console.into_config(inheritance));
        let console = console.transpose()?;
        let devices = self.devices.into_iter();
        let devices = devices.map(|device| device.into_config(inheritance));
        let devices = devices.collect::<Result<_, _>>()?;
        Ok(VmConfig {
            kvm,
            boot: BootConfig {
                kernel,
                initrd,
                command_line: CommandLine::new(self.command_line).map_err(bad("command line"))?,
                protocol: match self.protocol {
                    WireProtocol::Auto => Protocol::Auto,
                    WireProtocol::Linux64 => Protocol::Linux64,
                    WireProtocol::Pvh => Protocol::Pvh,
                },
            },
            cpus: CpuCount::new(self.cpus.into()).map_err(bad("number of vCPUs"))?,
            max_cpus: self
                .max_cpus
                .map(|max| CpuCount::new(max.into()))
                .transpose()
                .map_err(bad("largest number of vCPUs"))?,
            memory: MemoryConfig {
                layout: MemoryLayout::new(self.memory.bytes)
                    .and_then(|layout| layout.growing_to(self.memory.most))
                    .map_err(bad("memory size"))?,
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
            console,
            rtc: self.rtc,
            watchdog: self.watchdog,
            generation_id: self.generation_id,
            transport: match self.transport {
                WireTransport::Pci => TransportKind::Pci,
                WireTransport::Mmio => TransportKind::Mmio,
            },
            on_reset: match self.on_reset {
                WireOnReset::Reboot => OnReset::Reboot,
                WireOnReset::Stop => OnReset::Stop,
            },
            devices,
        })
    }
}

impl WireRegistration {
    fn bequeath(registration: Registration) -> io::Result<Self> {
        Ok(Self {
            lock: bequeath(registration.lock)?,
            end: bequeath(registration.end)?,
            detached: registration.detached.map(bequeath).transpose()?,
        })
    }

    pub(super) fn adopt(
        &self,
        inheritance: &mut Inheritance,
    ) -> Result<Registration, HandoverError> {
        let mut fd = |number| inheritance.adopt(number);
        Ok(Registration {
            lock: fd(self.lock)?,
            end: fd(self.end)?,
            detached: self.detached.map(&mut fd).transpose()?,
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

impl WireConsole {
    pub(super) fn from_config(console: ConsoleConfig) -> io::Result<Self> {
        Ok(Self {
            input: console.input.map(bequeath).transpose()?,
            output: bequeath(console.output)?,
            escapes: console.escapes,
        })
    }

    pub(super) fn into_config(
        self,
        inheritance: &mut Inheritance,
    ) -> Result<ConsoleConfig, HandoverError> {
        let mut fd = |number| inheritance.adopt(number);
        Ok(ConsoleConfig {
            input: self.input.map(&mut fd).transpose()?,
            output: fd(self.output)?,
            escapes: self.escapes,
        })
    }
}
