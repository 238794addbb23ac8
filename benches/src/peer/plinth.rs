//! plinth itself: no settings but the guest's, the transport, and what its disk
//! is: a file, a volume, or an encrypted one. Its networks are in `plinth_network`.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Guest, Launch, Peer, argv};

pub(super) const PEER: Peer = Peer {
    name: "plinth",
    programs: &["plinth"],
    settings: "plinth run --on-reset stop",
    words: "reboot=k",
    device_words: "reboot=k",
    launch: |guest| Ok(launch(guest, "pci", "")),
};

pub(super) const VHOST: Peer = Peer {
    name: "plinth-vhost",
    programs: &["plinth"],
    settings: "plinth run --net tap=TAP,vhost=on --on-reset stop",
    words: "reboot=k",
    device_words: "reboot=k",
    launch: |guest| Ok(launch(guest, "pci", ",vhost=on")),
};

pub(super) const MMIO: Peer = Peer {
    name: "plinth-mmio",
    programs: &["plinth"],
    settings: "plinth run --transport mmio --on-reset stop",
    words: "pci=off reboot=k",
    device_words: "pci=off reboot=k",
    launch: |guest| Ok(launch(guest, "mmio", "")),
};

pub(super) const VOLUME: Peer = Peer {
    name: "plinth-volume",
    programs: &["plinth"],
    settings: "plinth run --volume --on-reset stop; a volume of the highest speed there is",
    words: "reboot=k",
    device_words: "reboot=k",
    launch: |guest| volume(guest, ""),
};

pub(super) const ENCRYPTED: Peer = Peer {
    name: "plinth-encrypted",
    programs: &["plinth"],
    settings: "plinth run --volume --on-reset stop; the same, encrypted",
    words: "reboot=k",
    device_words: "reboot=k",
    launch: |guest| volume(guest, "--encrypted --key-file /guest/key"),
};

/// Where a volume is made, and how it is: as fast as volumes can be, so that it
/// is not its limits that are measured.
const DATA_DIR: &str = "/guest/volumes";
const SPEED: &str = "--type provisioned --iops 256000 --throughput 4000";
pub(super) const BUSYBOX: &str = "/guest/busybox";

/// `net` is what a network interface has besides its tap and its address.
fn launch(guest: &Guest<'_>, transport: &str, net: &str) -> Launch {
    let disk = guest.disk.map(|disk| ["--disk", disk.image]);
    let net = guest
        .nic
        .map(|nic| format!("tap={},mac={}{net}", nic.tap, nic.mac));
    let net = net.as_deref().map(|net| ["--net", net]);
    let devices = disk.iter().chain(&net).flatten().copied();
    let argv = run(guest, transport, devices);
    let files = vec![vmm(guest)];
    Launch { argv, files }
}

/// Makes a volume, with `more` options, and runs the guest with it.
fn volume(guest: &Guest<'_>, more: &str) -> Result<Launch> {
    let disk = guest.disk.context("a volume is measured as a disk")?;
    let (program, mib) = (guest.program, disk.mib);
    let script = format!(
        "umask 077; head -c 32 /dev/urandom > /guest/key; export PLINTH_DATA_DIR={DATA_DIR}; \
         {program} volume create bench --size {mib}MiB {SPEED} {more} >/dev/null && exec \"$@\""
    );
    let mut argv = argv([BUSYBOX, "sh", "-c", &script, "sh"]);
    argv.extend(run(guest, "pci", ["--volume", "bench"]));
    let busybox = (BUSYBOX.to_owned(), disk.busybox.to_owned());
    let files = vec![vmm(guest), busybox];
    Ok(Launch { argv, files })
}

/// `plinth run` of the guest with these devices.
pub(super) fn run<'a>(
    guest: &Guest<'_>,
    transport: &str,
    devices: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let memory = format!("{}M", guest.memory_mib);
    let words = [
        [guest.program, "run"],
        ["--kernel", guest.vmlinux],
        ["--initrd", guest.initramfs],
        ["--cmdline", &guest.command_line],
        ["--memory", &memory],
        ["--cpus", "1"],
        ["--transport", transport],
        // A reset is the end of a measurement.
        ["--on-reset", "stop"],
    ];
    let mut run = argv(words.into_iter().flatten());
    run.extend(argv(devices));
    run
}

/// The program that `plinth run` executes, which lies beside it.
pub(super) fn vmm(guest: &Guest<'_>) -> (String, PathBuf) {
    let vmm = format!("{}-vmm", guest.program);
    (vmm.clone(), vmm.into())
}
