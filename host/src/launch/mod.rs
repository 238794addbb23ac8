//! Launching a virtual machine: everything that can be wrong is found here,
//! before anything runs.
//!
//! `plinth run` hands over a [`Specification`]; [`prepare`] opens every file
//! and device that it names and answers with a [`LaunchRequest`], which holds
//! descriptors. Only what leaves no trace happens on the way, and the console
//! file, which may be made, comes last: a refusal leaves nothing half done.

pub mod console;
pub mod disk;
pub mod holder;
pub mod image;
pub mod kvm;
pub mod lock;
pub mod memory;
pub mod net;
pub mod tap;

use std::fs::File;
use std::path::PathBuf;

use crate::error::Error;
use crate::option::backing::BackingOption;
use crate::option::boot::BootOption;
use crate::option::cmdline::Cmdline;
use crate::option::console::ConsoleOption;
use crate::option::cpus::CpuCount;
use crate::option::disk::DiskOption;
use crate::option::net::NetOption;
use crate::option::size::MemorySize;
use crate::option::smbios::SmbiosOption;

use console::Console;
use disk::Disk;
use image::Image;
use net::Interface;

/// A virtual machine as the user asked for it: valid values, names of files.
#[derive(Clone, Debug)]
pub struct Specification {
    /// The kernel's file.
    pub kernel: PathBuf,
    /// The initial file system's file.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub cmdline: Cmdline,
    /// How the kernel is entered.
    pub boot: BootOption,
    /// How many vCPUs.
    pub cpus: CpuCount,
    /// How much memory, and of what.
    pub memory: MemorySpecification,
    /// Disks in the order in which the guest finds them.
    pub disks: Vec<DiskOption>,
    /// Network interfaces in the order in which the guest finds them.
    pub nets: Vec<NetOption>,
    /// Where the console goes.
    pub console: ConsoleOption,
    /// What the guest reads about its machine.
    pub smbios: SmbiosOption,
}

/// A guest's memory.
#[derive(Clone, Copy, Debug)]
pub struct MemorySpecification {
    /// How much.
    pub size: MemorySize,
    /// Where the host takes it from.
    pub backing: BackingOption,
    /// Ask for transparent huge pages.
    pub huge_pages: bool,
    /// Take all of it before the guest starts.
    pub prefault: bool,
}

/// A virtual machine that can be started: valid values, open descriptors.
#[derive(Debug)]
pub struct LaunchRequest {
    /// The KVM device.
    pub kvm: File,
    /// The kernel.
    pub kernel: Image,
    /// The initial file system.
    pub initrd: Option<Image>,
    /// The kernel's command line.
    pub cmdline: Cmdline,
    /// How the kernel is entered.
    pub boot: BootOption,
    /// How many vCPUs.
    pub cpus: CpuCount,
    /// How much memory, and of what.
    pub memory: MemorySpecification,
    /// Disks, locked.
    pub disks: Vec<Disk>,
    /// Network interfaces, attached to their taps.
    pub nets: Vec<Interface>,
    /// The host's end of the console.
    pub console: Console,
    /// What the guest reads about its machine.
    pub smbios: SmbiosOption,
}

/// Opens everything that `specification` names.
///
/// # Errors
/// Something is not there, not permitted, in use or of the wrong kind, or
/// this host has no usable KVM. Nothing has been changed then.
pub fn prepare(specification: Specification) -> Result<LaunchRequest, Error> {
    let kernel = image::open("kernel", &specification.kernel)?;
    let initrd = match &specification.initrd {
        Some(path) => Some(image::open("initrd", path)?),
        None => None,
    };
    memory::check(&specification.memory)?;
    let disks = disk::open_all(specification.disks)?;
    let nets = net::open_all(specification.nets)?;
    let kvm = kvm::open()?;
    let console = console::open(&specification.console)?;
    Ok(LaunchRequest {
        kvm,
        kernel,
        initrd,
        cmdline: specification.cmdline,
        boot: specification.boot,
        cpus: specification.cpus,
        memory: specification.memory,
        disks,
        nets,
        console,
        smbios: specification.smbios,
    })
}
