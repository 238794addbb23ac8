//! The machine monitors that can be compared, one file each.
//!
//! A peer's file says how it boots the common guest with the settings that its
//! own documentation gives for a fast start. Adding a peer is adding such a
//! file and a line here. A monitor may be several peers: machines of it that
//! differ in what is measured.

mod cloud_hypervisor;
mod crosvm;
mod firecracker;
mod kvmtool;
mod plinth;
mod plinth_network;
mod qemu;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::probe::Request;

/// Every peer, plinth first.
pub const PEERS: [&Peer; 21] = [
    &plinth::PEER,
    &plinth::VHOST,
    &plinth::MMIO,
    &plinth::BZIMAGE,
    &plinth::VOLUME,
    &plinth::ENCRYPTED,
    &plinth_network::PEER,
    &plinth_network::RULES,
    &qemu::MICROVM,
    &qemu::MICROVM_VHOST,
    &qemu::Q35,
    &qemu::Q35_VHOST,
    &qemu::Q35_IOTHREAD,
    &firecracker::PEER,
    &firecracker::ASYNC,
    &firecracker::PCI,
    &cloud_hypervisor::PEER,
    &crosvm::PEER,
    &crosvm::VHOST,
    &kvmtool::PEER,
    &kvmtool::VHOST,
];

/// The monitors that plinth is compared with unless told otherwise.
pub const MONITORS: [&str; 5] = [
    "qemu",
    "firecracker",
    "cloud-hypervisor",
    "crosvm",
    "kvmtool",
];

/// What is measured, where a monitor's machines may differ in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// Starting.
    Boot,
    /// Idling, growing, being many, being operated.
    Machine,
    /// Its disk.
    Disk,
    /// Its network interface.
    Network,
}

/// All that can be measured.
const EVERYTHING: &[Aspect] = &[Aspect::Boot, Aspect::Machine, Aspect::Disk, Aspect::Network];

/// A machine monitor, as it is set up.
#[derive(Debug)]
pub struct Peer {
    /// What it is called, here and on the command line.
    pub name: &'static str,
    /// The monitor that it is a machine of, as the command line calls all of them.
    pub monitor: &'static str,
    /// Its program's names.
    pub programs: &'static [&'static str],
    /// In what it differs from the monitor's other peers.
    pub aspects: &'static [Aspect],
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
    /// How it is operated while it runs, if there is a way.
    pub(crate) control: Option<Control>,
}

/// How a running monitor is asked for things.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control {
    /// Where its socket is, if not where it is told to have one.
    pub(crate) socket: fn(&Guest<'_>) -> String,
    /// What it is run with for that besides, for people.
    pub(crate) settings: &'static str,
    /// A question that changes nothing.
    pub(crate) question: fn() -> Request,
    /// Gives it a disk, which is at this path.
    pub(crate) attach_disk: Option<fn(&str) -> Vec<Request>>,
    /// Gives it a network interface.
    pub(crate) attach_nic: Option<fn(&Nic) -> Vec<Request>>,
}

/// The guest to boot: files as the machine has them in which monitors run.
#[derive(Clone, Debug)]
pub(crate) struct Guest<'a> {
    /// Which of several at a time, from 0.
    pub(crate) number: u32,
    /// The monitor's program.
    pub(crate) program: &'a str,
    /// The kernel, an uncompressed ELF image.
    pub(crate) vmlinux: &'a str,
    /// The same kernel, compressed, for who cannot load the other.
    pub(crate) bzimage: &'a str,
    /// The initial file system.
    pub(crate) initramfs: &'a str,
    /// The kernel's command line.
    pub(crate) command_line: String,
    /// Virtual CPUs.
    pub(crate) cpus: u32,
    /// Memory in MiB.
    pub(crate) memory_mib: u32,
    /// Its disks, `/dev/vda` first.
    pub(crate) disks: Vec<Disk>,
    /// Its network interfaces, `eth0` first.
    pub(crate) nics: Vec<Nic>,
    /// Who is at the other end of the first one.
    pub(crate) other_end: Option<OtherEnd<'a>>,
    /// Whether it is operated while it runs.
    pub(crate) operated: bool,
    /// A static busybox, for who has to make something first: as the machine has it
    /// in which monitors run, if it is among the files of a [`Launch`].
    pub(crate) busybox: &'a str,
    /// The same on the host.
    pub(crate) busybox_here: &'a Path,
    /// A directory on the host to make files in.
    pub(crate) scratch: &'a Path,
    /// The same directory where monitors run.
    pub(crate) scratch_inside: &'a str,
}

/// A disk for a guest.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// A raw image, as the machine has it in which monitors run.
    pub(crate) image: String,
    /// Its size in MiB.
    pub(crate) mib: u64,
}

/// A network interface for a guest.
#[derive(Clone, Debug)]
pub(crate) struct Nic {
    /// A tap of the machine in which monitors run, which is there and free.
    pub(crate) tap: String,
    /// Its MAC address.
    pub(crate) mac: String,
}

/// Who a guest's first network interface leads to.
#[derive(Clone, Debug)]
pub(crate) struct OtherEnd<'a> {
    /// The guest's own address, and that of the other end.
    pub(crate) addresses: [Ipv4Addr; 2],
    /// The kernel's command line of a guest that serves there, for who has a
    /// network of its own instead of the tap.
    pub(crate) server: &'a str,
}

/// A command, and what it needs besides the guest's files, the program and the
/// program's libraries.
#[derive(Debug, Default)]
pub(crate) struct Launch {
    pub(crate) argv: Vec<String>,
    /// Path in the machine, path on the host.
    pub(crate) files: Vec<(String, PathBuf)>,
    /// What it is told by its environment.
    pub(crate) environment: Vec<(String, String)>,
}

/// The socket of a monitor that is told where to have one.
fn socket(guest: &Guest<'_>) -> String {
    format!("{}/control-{}", guest.scratch_inside, guest.number)
}

impl Peer {
    /// The peer called `name`.
    pub fn named(name: &str) -> Option<&'static Self> {
        PEERS.into_iter().find(|peer| peer.name == name)
    }

    /// The peers that `word` means where `aspect` is measured: those machines of
    /// the monitor called so that differ in it, or the one peer called so.
    pub fn meant(word: &str, aspect: Aspect) -> Vec<&'static Self> {
        let of = PEERS.into_iter();
        let of: Vec<_> = of
            .filter(|peer| peer.monitor == word && peer.aspects.contains(&aspect))
            .collect();
        match of.is_empty() {
            true => Self::named(word).into_iter().collect(),
            false => of,
        }
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
pub fn version(program: &Path) -> String {
    let said = |word: &str| {
        let answer = Command::new(program).arg(word).output().ok()?;
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        let line = text.lines().next().filter(|_| answer.status.success())?;
        Some(line.to_owned())
    };
    let version = said("--version").or_else(|| said("version"));
    version.unwrap_or_else(|| "unknown".to_owned())
}

/// Whether `program` speaks of `option` when it is asked for its options.
fn knows(program: &str, option: &str) -> Result<bool> {
    let help = Command::new(program).arg("--help").output();
    let help = help.with_context(|| format!("asking {program} for its options"))?;
    Ok(String::from_utf8_lossy(&help.stdout).contains(option))
}

/// A command from words.
fn argv<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    words.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::testbed::nothing;

    /// How the peer called `name` boots a guest with a disk and a network interface,
    /// twice, if `says` is a shell's words that are its program.
    pub(super) fn launched(name: &str, says: &str, scratch: &Path) -> [Launch; 2] {
        [(); 2].map(|()| tried(name, says, scratch).unwrap())
    }

    /// The same once, where it may refuse to.
    pub(super) fn tried(name: &str, says: &str, scratch: &Path) -> Result<Launch> {
        let program = scratch.join("program");
        fs::write(&program, format!("#!/bin/sh\n{says}\n")).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let peer = Peer::named(name).unwrap();
        let testbed = nothing();
        let guest = Guest {
            command_line: peer.device_command_line("more"),
            disks: vec![Disk {
                image: "/image".to_owned(),
                mib: 1,
            }],
            nics: vec![Nic {
                tap: "tap0".to_owned(),
                mac: "02:00:00:00:00:07".to_owned(),
            }],
            ..testbed.guest(&program, scratch).unwrap()
        };
        peer.launch(&guest)
    }

    fn meant(word: &str, aspect: Aspect) -> Vec<&'static str> {
        let peers = Peer::meant(word, aspect).into_iter();
        peers.map(|peer| peer.name).collect()
    }

    #[test]
    fn a_monitor_s_name_means_its_machines_that_differ_in_what_is_measured() {
        assert_eq!(meant("qemu", Aspect::Machine), ["qemu-microvm", "qemu-q35"]);
        let with_vhost = [
            "qemu-microvm",
            "qemu-microvm-vhost",
            "qemu-q35",
            "qemu-q35-vhost",
        ];
        assert_eq!(meant("qemu", Aspect::Network), with_vhost);
        let disks = ["qemu-microvm", "qemu-q35", "qemu-q35-iothread"];
        assert_eq!(meant("qemu", Aspect::Disk), disks);
        let with_pci = ["firecracker", "firecracker-pci"];
        assert_eq!(meant("firecracker", Aspect::Network), with_pci);
        let boots = ["plinth", "plinth-mmio", "plinth-bzimage"];
        assert_eq!(meant("plinth", Aspect::Boot), boots);
        assert_eq!(meant("plinth", Aspect::Machine), boots[..2]);
        let volumes = ["plinth", "plinth-volume", "plinth-encrypted"];
        assert_eq!(meant("plinth", Aspect::Disk), volumes);
        assert_eq!(meant("qemu-q35", Aspect::Disk), ["qemu-q35"]);
        assert!(meant("qemu-q36", Aspect::Disk).is_empty());
    }

    #[test]
    fn every_monitor_can_be_measured_in_everything_and_no_two_peers_are_called_alike() {
        for aspect in EVERYTHING {
            for monitor in MONITORS {
                assert!(!meant(monitor, *aspect).is_empty(), "{monitor} {aspect:?}");
            }
        }
        let mut names = PEERS.map(|peer| peer.name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
