//! `plinth run`: starts a virtual machine and becomes its process.

use std::path::PathBuf;

use clap::Args;

use crate::error::Error;
use crate::exit;
use crate::launch::{self, MemorySpecification, Specification};
use crate::option::backing::BackingOption;
use crate::option::boot::BootOption;
use crate::option::cmdline::Cmdline;
use crate::option::console::ConsoleOption;
use crate::option::cpus::CpuCount;
use crate::option::disk::DiskOption;
use crate::option::net::NetOption;
use crate::option::size::MemorySize;
use crate::option::smbios::SmbiosOption;

use super::Outcome;

/// Run a virtual machine in the foreground
///
/// On the console, Ctrl-A x ends the machine, Ctrl-A c sends a break, and
/// Ctrl-A h lists these keys.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(super) struct Run {
    /// Kernel: an uncompressed ELF (vmlinux) or a bzImage (vmlinuz)
    #[arg(long, value_name = "FILE")]
    kernel: PathBuf,

    /// Initial file system for the kernel to unpack
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,

    /// Kernel command line
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "console=ttyS0",
        allow_hyphen_values = true
    )]
    cmdline: Cmdline,

    /// How the kernel is entered
    #[arg(long, value_name = "PROTOCOL", default_value = "auto")]
    boot: BootOption,

    /// Number of virtual CPUs, 1 to 64
    #[arg(long, value_name = "N", default_value = "1")]
    cpus: CpuCount,

    /// Memory, such as 512M or 2G (powers of 1024; a number alone is bytes)
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    memory: MemorySize,

    /// What the memory is made of
    #[arg(long, value_name = "KIND", default_value = "anonymous")]
    memory_backing: BackingOption,

    /// Ask for transparent huge pages
    #[arg(long)]
    huge_pages: bool,

    /// Take all memory before the guest starts
    #[arg(long)]
    prefault: bool,

    /// Disk, a raw image or a block device:
    /// PATH[,readonly][,direct][,engine=io-uring|sync][,id=ID]
    ///
    /// May be repeated; the guest finds disks in this order. `direct` bypasses
    /// the page cache; `id` is the serial number that the guest reads, 20
    /// characters at most. A comma in PATH is written as two.
    #[arg(long = "disk", value_name = "DISK")]
    disks: Vec<DiskOption>,

    /// Network interface on an existing tap: tap=NAME[,mac=MAC][,mtu=N]
    ///
    /// May be repeated. Without `mac` the address is derived from this host
    /// and the tap, the same at every start.
    #[arg(long = "net", value_name = "NET")]
    nets: Vec<NetOption>,

    /// Where the guest's console goes: stdio, file=PATH or none
    #[arg(long, value_name = "CONSOLE", default_value = "stdio")]
    console: ConsoleOption,

    /// What the guest reads about its machine:
    /// manufacturer=…,product=…,serial=…,uuid=…
    #[arg(long, value_name = "FIELDS")]
    smbios: Option<SmbiosOption>,
}

impl Run {
    pub(super) fn execute(self) -> Outcome {
        let request = launch::prepare(self.specification())?;
        drop(request);
        Err(Error::unexpected("this build has no VM process yet"))
    }

    fn specification(self) -> Specification {
        Specification {
            kernel: self.kernel,
            initrd: self.initrd,
            cmdline: self.cmdline,
            boot: self.boot,
            cpus: self.cpus,
            memory: MemorySpecification {
                size: self.memory,
                backing: self.memory_backing,
                huge_pages: self.huge_pages,
                prefault: self.prefault,
            },
            disks: self.disks,
            nets: self.nets,
            console: self.console,
            smbios: self.smbios.unwrap_or_default(),
        }
    }
}
