//! Launching a virtual machine: everything that can be wrong is found here,
//! before anything runs.
//!
//! `plinth run` hands over a [`Specification`]; [`prepare`] opens every file
//! and device that it names and answers with a [`Launch`], which holds
//! descriptors; [`process`] is or starts the machine's own process with it.
//! Only what leaves no trace happens on the way: a refusal leaves nothing half
//! done. A port of a switch goes with its tap's descriptors.

pub mod cidata;
pub mod console;
pub mod descriptors;
pub mod disk;
pub mod image;
pub mod instance;
pub mod kernel;
pub mod kvm;
pub mod loader;
pub mod memory;
pub mod net;
pub mod outputs;
pub mod passt;
pub mod process;
pub mod seed;
mod vhost;
pub mod volume;
pub mod vsock;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{self, Path, PathBuf};

use rustix::io::retry_on_intr;
use rustix::rand::{GetRandomFlags, getrandom};
use vmm::config::{BlockConfig, BootConfig, DeviceConfig, NetConfig, TransportKind};
use vmm::{CommandLine, CpuCount, Identity, MemoryConfig, OnReset, Protocol, VmConfig};

use crate::error::Error;
use crate::option::console::{ConsoleDevice, ConsoleOption};
use crate::option::disk::DiskOption;
use crate::option::net::NetOption;
use crate::option::seed::SeedOption;
use crate::option::smbios::default_identity;
use crate::option::volume::VolumeOption;
use crate::option::vsock::VsockOption;

use outputs::Output;

/// A virtual machine as the user asked for it: valid values, names of files.
#[derive(Clone, Debug)]
pub struct Specification {
    /// The kernel's file.
    pub kernel: PathBuf,
    /// The initial file system's file.
    pub initrd: Option<PathBuf>,
    /// What the kernel is told.
    pub command_line: CommandLine,
    /// How the kernel is entered.
    pub protocol: Protocol,
    /// How many vCPUs when it starts.
    pub cpus: CpuCount,
    /// How many in the end, if some are to be added.
    pub max_cpus: Option<CpuCount>,
    /// How much memory, and of what.
    pub memory: MemoryConfig,
    /// Whether it has a balloon.
    pub balloon: bool,
    /// How the guest reaches its devices.
    pub transport: TransportKind,
    /// Disks in the order in which the guest finds them.
    pub disks: Vec<DiskOption>,
    /// Volumes, which the guest finds after the disks.
    pub volumes: Vec<VolumeOption>,
    /// Network interfaces in the order in which the guest finds them.
    pub nets: Vec<NetOption>,
    /// What the machine is called where it is plugged in.
    pub owner: String,
    /// What cloud-init in the guest is told.
    pub seed: SeedOption,
    /// How a metadata service tells it.
    pub metadata: metadata::Options,
    /// Streams between programs of the guest and of the host.
    pub vsock: Option<VsockOption>,
    /// Where the console goes.
    pub console: ConsoleOption,
    /// Whether it has a CMOS clock.
    pub rtc: bool,
    /// Whether it has a watchdog.
    pub watchdog: bool,
    /// What becomes of it when its guest resets itself.
    pub on_reset: OnReset,
    /// What the guest reads about its machine, if the user said so.
    pub identity: Option<Identity>,
    /// Where figures about the run are written.
    pub report: Option<PathBuf>,
}

/// A virtual machine that can be launched, open descriptors and valid values.
#[derive(Debug)]
pub struct Launch {
    /// The machine.
    pub config: VmConfig,
    /// Where figures about the run are written.
    pub report: Option<File>,
    /// The far end of its console, if the control socket is to serve it.
    pub console: Option<OwnedFd>,
    /// The files of its disks, by the disks' names.
    pub disks: BTreeMap<String, PathBuf>,
    outputs: Vec<Output>,
}

impl Launch {
    /// A machine with neither disks' files nor files that it writes to.
    #[cfg(test)]
    pub(crate) fn new(config: VmConfig) -> Self {
        Self {
            config,
            report: None,
            console: None,
            disks: BTreeMap::new(),
            outputs: Vec::new(),
        }
    }

    /// Empties the files that the machine writes to, as the last thing that
    /// happens before it runs.
    ///
    /// # Errors
    /// One cannot be emptied.
    pub fn begin_outputs(&mut self) -> Result<(), Error> {
        for output in self.outputs.drain(..) {
            output.begin().map_err(|error| {
                Error::configuration("the console's or the report's file cannot be emptied")
                    .because(error)
                    .remedy("another file")
            })?;
        }
        Ok(())
    }
}

/// Each device has a place of its own, and so have the source of random numbers
/// that every machine gets, and what changes its memory.
fn check_count(specification: &Specification) -> Result<(), Error> {
    let grows = specification.memory.layout.growth().is_some();
    let console = specification.console.device == ConsoleDevice::Virtio;
    let others = [
        true,
        specification.balloon,
        grows,
        console,
        specification.vsock.is_some(),
        !specification.seed.is_empty(),
    ];
    let others = others.iter().filter(|there| **there).count();
    let room = specification.transport.room() - others;
    let disks = specification.disks.len() + specification.volumes.len();
    let asked = disks + specification.nets.len();
    if asked > room {
        return Err(Error::configuration(format!(
            "{asked} disks and network interfaces are too many: a machine has room for {room}"
        ))
        .remedy("fewer of --disk, --volume and --net"));
    }
    Ok(())
}

/// Devices are told apart by name, whatever they are.
fn check_names(disks: &[BlockConfig], nets: &[NetConfig]) -> Result<(), Error> {
    let taken = |net: &&NetConfig| {
        disks
            .iter()
            .any(|d| d.id.to_string() == net.name.to_string())
    };
    let twice = |net: &&NetConfig| nets.iter().filter(|other| other.name == net.name).count() > 1;
    match nets.iter().find(|net| taken(net) || twice(net)) {
        Some(net) => Err(
            Error::configuration(format!("two devices are called '{}'", net.name))
                .remedy("another id=NAME for one of them"),
        ),
        None => Ok(()),
    }
}

/// Opens everything that `specification` names.
///
/// # Errors
/// Something is not there, not permitted, in use or of the wrong kind, or
/// this host has no usable KVM. Nothing has been changed then.
pub fn prepare(mut specification: Specification) -> Result<Launch, Error> {
    memory::check(&specification.memory)?;
    if specification.balloon {
        memory::check_balloon(&specification.memory)?;
    }
    let layout = &specification.memory.layout;
    specification.command_line = memory::command_line(specification.command_line, layout)?;
    check_count(&specification)?;
    descriptors::raise_limit();
    let kernel = image::open("kernel", &specification.kernel)?;
    let initrd = match &specification.initrd {
        Some(path) => Some(image::open("initrd", path)?),
        None => None,
    };
    let told = seed::read(&specification.seed)?;
    let (instance, cidata) = match net::have_metadata(&specification.nets)? {
        true => (Some(instance::instance(&specification, told)?), None),
        false => (None, cidata::open(&told)?),
    };
    let identity = match (specification.identity.take(), &instance) {
        (Some(identity), _) => identity,
        (None, Some(instance)) => instance::identity(instance),
        (None, None) => default_identity(),
    };
    kernel::check(&specification, &identity, &kernel, initrd.as_ref())?;
    let mut paths: Vec<PathBuf> = specification
        .disks
        .iter()
        .map(|disk| path::absolute(&disk.path).unwrap_or_else(|_| disk.path.clone()))
        .collect();
    let mut disks = disk::open_all(specification.disks)?;
    for volume in volume::open_all(specification.volumes, &disks)? {
        disks.push(volume.disk);
        paths.push(volume.path);
    }
    let nets = net::open_all(specification.nets, &specification.owner, instance)?;
    check_names(&disks, &nets)?;
    if cidata.is_some() {
        cidata::check_name(&disks, &nets)?;
    }
    let kvm = kvm::open()?;
    let vsock = specification.vsock.as_ref().map(vsock::open).transpose()?;
    let console = console::open(&specification.console.end)
        .inspect_err(|_| vsock.iter().for_each(vsock::remove))?;
    let report = specification.report.as_deref();
    let report = report
        .map(open_report)
        .transpose()
        .inspect_err(|_| vsock.iter().for_each(vsock::remove))?;
    let names = disks.iter().map(|disk| disk.id.to_string());
    let names_and_paths = names.zip(paths).collect();
    let mut devices: Vec<_> = disks
        .into_iter()
        .map(DeviceConfig::Block)
        .chain(nets.into_iter().map(DeviceConfig::Net))
        .chain([DeviceConfig::Rng])
        .chain(specification.balloon.then_some(DeviceConfig::Balloon))
        .collect();
    devices.extend(vsock.map(DeviceConfig::Vsock));
    // After everything else, so that nothing else is called otherwise for it.
    let last = cidata.map(DeviceConfig::Block);
    let serial = match specification.console.device {
        ConsoleDevice::Serial => console.config,
        ConsoleDevice::Virtio => {
            devices.extend(console.config.map(DeviceConfig::Console));
            None
        }
    };
    devices.extend(last);
    let config = VmConfig {
        kvm: kvm.into(),
        boot: BootConfig {
            kernel,
            initrd,
            command_line: specification.command_line,
            protocol: specification.protocol,
        },
        cpus: specification.cpus,
        max_cpus: specification.max_cpus,
        memory: specification.memory,
        identity,
        console: serial,
        rtc: specification.rtc,
        watchdog: specification.watchdog,
        generation_id: Some(generation_id()?),
        on_reset: specification.on_reset,
        transport: specification.transport,
        devices,
    };
    let (report, report_file) = report.unzip();
    Ok(Launch {
        config,
        report,
        console: console.far,
        disks: names_and_paths,
        outputs: console.file.into_iter().chain(report_file).collect(),
    })
}

/// A VM generation id: no other machine has had it.
fn generation_id() -> Result<[u8; 16], Error> {
    let mut id = [0; 16];
    let drawn = retry_on_intr(|| getrandom(&mut id, GetRandomFlags::empty()));
    drawn.map_err(|error| {
        Error::unexpected("this host gives no random numbers").because(io::Error::from(error))
    })?;
    Ok(id)
}

fn open_report(path: &Path) -> Result<(File, Output), Error> {
    let output = Output::open(path).and_then(|output| Ok((output.file()?, output)));
    output.map_err(|error| {
        Error::configuration(format!(
            "report file '{}' cannot be written to",
            path.display()
        ))
        .because(error)
        .remedy("another path with --report")
    })
}
