//! The machine monitors that can be compared, one file each.
//!
//! A peer's file says how it boots the common guest with the settings that its
//! own documentation gives for a fast start. Adding a peer is adding such a
//! file and a line here.

mod cloud_hypervisor;
mod firecracker;
mod kvmtool;
mod plinth;
mod plinth_network;
mod qemu;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

/// Every peer, plinth first.
pub const PEERS: [&Peer; 15] = [
    &plinth::PEER,
    &plinth::VHOST,
    &plinth::MMIO,
    &plinth::VOLUME,
    &plinth::ENCRYPTED,
    &plinth_network::PEER,
    &plinth_network::RULES,
    &qemu::PEER,
    &qemu::VHOST,
    &qemu::Q35,
    &qemu::Q35_VHOST,
    &firecracker::PEER,
    &cloud_hypervisor::PEER,
    &kvmtool::PEER,
    &kvmtool::VHOST,
];

/// A machine monitor.
#[derive(Debug)]
pub struct Peer {
    /// What it is called, here and on the command line.
    pub name: &'static str,
    /// Its program's names.
    pub programs: &'static [&'static str],
    /// What its settings are and why, for people.
    pub settings: &'static str,
    /// The kernel's words in which peers' command lines differ: how to reset the
    /// machine, which is how a boot ends, and that there is no PCI where no
    /// guest here needs it; told so, Linux neither probes for it nor complains.
    words: &'static str,
    /// The same for a guest with a disk or a network interface: it may be where
    /// PCI is.
    device_words: &'static str,
    /// How it is started.
    launch: fn(&Guest<'_>) -> Result<Launch>,
}

/// The guest to boot: files as the deterministic machine has them.
#[derive(Clone, Debug)]
pub struct Guest<'a> {
    /// The monitor's program.
    pub program: &'a str,
    /// The kernel, an uncompressed ELF image.
    pub vmlinux: &'a str,
    /// The same kernel, compressed, for who cannot load the other.
    pub bzimage: &'a str,
    /// The initial file system.
    pub initramfs: &'a str,
    /// The kernel's command line.
    pub command_line: String,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// What it has for `/dev/vda`, if anything.
    pub disk: Option<Disk<'a>>,
    /// Its `eth0`, if it has one.
    pub nic: Option<Nic<'a>>,
    /// A directory on the host to make files in.
    pub scratch: &'a Path,
}

/// A disk for a guest.
#[derive(Clone, Copy, Debug)]
pub struct Disk<'a> {
    /// A raw image, as the deterministic machine has it.
    pub image: &'a str,
    /// Its size in MiB.
    pub mib: u64,
    /// A static busybox of the host, for who has to make a disk first.
    pub busybox: &'a Path,
}

/// A network interface for a guest.
#[derive(Clone, Copy, Debug)]
pub struct Nic<'a> {
    /// A tap of the deterministic machine, which is there and free.
    pub tap: &'a str,
    /// Its MAC address.
    pub mac: &'a str,
    /// The guest's own address, and that of the other end.
    pub addresses: [Ipv4Addr; 2],
    /// The kernel's command line of a guest that serves at the other end, for who
    /// has a network of its own instead of the tap.
    pub server: &'a str,
    /// A static busybox of the host, for who has to make that network first.
    pub busybox: &'a Path,
}

/// A command, and the files that it needs besides the guest's, the program
/// and the program's libraries: path in the machine, path on the host.
#[derive(Debug, Default)]
pub struct Launch {
    pub(crate) argv: Vec<String>,
    pub(crate) files: Vec<(String, PathBuf)>,
}

impl Peer {
    /// The peer called `name`.
    pub fn named(name: &str) -> Option<&'static Self> {
        PEERS.into_iter().find(|peer| peer.name == name)
    }

    /// Its program, if it is on PATH.
    pub fn find(&self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .flat_map(|dir| self.programs.iter().map(move |name| dir.join(name)))
            .find(|program| program.is_file())
    }

    /// How it boots `guest`, with `words` for the guest's init.
    pub(crate) fn launch(&self, guest: &Guest<'_>) -> Result<Launch> {
        (self.launch)(guest)
    }

    /// The kernel's command line with `words` for the guest's init.
    pub(crate) fn command_line(&self, words: &str) -> String {
        format!("console=ttyS0 quiet panic=-1 {} {words}", self.words)
    }

    /// The same for a guest with a disk or a network interface.
    pub(crate) fn device_command_line(&self, words: &str) -> String {
        format!("console=ttyS0 quiet panic=-1 {} {words}", self.device_words)
    }
}

/// The first line of what `program` says of its version.
pub(crate) fn version(program: &Path) -> String {
    let answer = Command::new(program).arg("--version").output();
    let text = answer.map(|answer| answer.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or("unknown").to_owned()
}

/// A command from words.
fn argv<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    words.into_iter().map(str::to_owned).collect()
}
