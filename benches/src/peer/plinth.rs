//! plinth itself: no settings but the guest's, the transport, and what its disk
//! is: a file, a volume, or an encrypted one. Its networks are in `plinth_network`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;

use super::{Aspect, Control, EVERYTHING, Guest, Launch, Peer, argv};
use crate::probe::{Descriptor, Request};

pub(super) const PEER: Peer = Peer {
    name: "plinth",
    monitor: "plinth",
    programs: &["plinth"],
    aspects: EVERYTHING,
    settings: "plinth run --on-reset stop",
    words: "reboot=k",
    device_words: "reboot=k",
    launch: |guest| Ok(launch(guest, "pci", "")),
    control: Some(Control {
        attach_disk: Some(|image| {
            let disk = json!({ "kind": "disk", "name": "added-disk" });
            let disk = Request::http("POST", "/v1/devices", Some(disk));
            vec![disk.with(Descriptor::File(image.to_owned()))]
        }),
        attach_nic: Some(|nic| {
            let net = json!({ "kind": "net", "name": "added-net", "mac": nic.mac });
            let net = Request::http("POST", "/v1/devices", Some(net));
            vec![net.with(Descriptor::Tap(nic.tap.clone()))]
        }),
        ..QUESTION
    }),
};

/// The control socket, by which nothing is attached.
const QUESTION: Control = Control {
    socket: |guest| format!("/run/plinth/{}/api.sock", name(guest)),
    question: || Request::http("GET", "/v1/vm", None),
    attach_disk: None,
    attach_nic: None,
};

pub(super) const MMIO: Peer = Peer {
    name: "plinth-mmio",
    aspects: &[Aspect::Machine],
    settings: "plinth run --transport mmio --on-reset stop",
    words: "pci=off reboot=k",
    device_words: "pci=off reboot=k",
    launch: |guest| Ok(launch(guest, "mmio", "")),
    // What is attached is on PCI.
    control: Some(QUESTION),
    ..PEER
};

pub(super) const VHOST: Peer = Peer {
    name: "plinth-vhost",
    aspects: &[Aspect::Network],
    settings: "plinth run --net tap=TAP,vhost=on --on-reset stop",
    launch: |guest| Ok(launch(guest, "pci", ",vhost=on")),
    ..PEER
};

pub(super) const VOLUME: Peer = Peer {
    name: "plinth-volume",
    aspects: &[Aspect::Disk],
    settings: "plinth run --volume --on-reset stop; a volume of the highest speed there is",
    launch: |guest| volume(guest, ""),
    ..PEER
};

pub(super) const ENCRYPTED: Peer = Peer {
    name: "plinth-encrypted",
    settings: "plinth run --volume --on-reset stop; the same, encrypted",
    launch: |guest| volume(guest, "--encrypted --key-file /guest/key"),
    ..VOLUME
};

/// Where a volume is made, and how it is: as fast as volumes can be, so that it
/// is not its limits that are measured.
const DATA_DIR: &str = "/guest/volumes";
const SPEED: &str = "--type provisioned --iops 256000 --throughput 4000";
pub(super) const BUSYBOX: &str = "/guest/busybox";

/// `more` is what a network interface has besides its tap and its address.
fn launch(guest: &Guest<'_>, transport: &str, more: &str) -> Launch {
    let disks = guest.disks.iter();
    let disks = disks.map(|disk| ["--disk".to_owned(), disk.image.clone()]);
    let nics = guest.nics.iter();
    let nics = nics.map(|nic| {
        let net = format!("tap={},mac={}{more}", nic.tap, nic.mac);
        ["--net".to_owned(), net]
    });
    let mut argv = run(guest, transport, []);
    argv.extend(disks.chain(nics).flatten());
    if guest.operated {
        argv.extend(["--name".to_owned(), name(guest)]);
    }
    let files = vec![vmm(guest)];
    Launch { argv, files }
}

fn name(guest: &Guest<'_>) -> String {
    format!("bench-{}", guest.number)
}

/// Makes a volume, with `more` options, and runs the guest with it.
fn volume(guest: &Guest<'_>, more: &str) -> Result<Launch> {
    let disk = guest.disks.first();
    let disk = disk.context("a volume is measured as a disk")?;
    let (program, mib) = (guest.program, disk.mib);
    let script = format!(
        "umask 077; head -c 32 /dev/urandom > /guest/key; export PLINTH_DATA_DIR={DATA_DIR}; \
         {program} volume create bench --size {mib}MiB {SPEED} {more} >/dev/null && exec \"$@\""
    );
    let mut argv = argv([BUSYBOX, "sh", "-c", &script, "sh"]);
    argv.extend(run(guest, "pci", ["--volume", "bench"]));
    let files = vec![vmm(guest), busybox(guest)?];
    Ok(Launch { argv, files })
}

/// `plinth run` of the guest with these devices.
pub(super) fn run<'a>(
    guest: &Guest<'_>,
    transport: &str,
    devices: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let memory = format!("{}M", guest.memory_mib);
    let cpus = guest.cpus.to_string();
    let words = [
        [guest.program, "run"],
        ["--kernel", guest.vmlinux],
        ["--initrd", guest.initramfs],
        ["--cmdline", &guest.command_line],
        ["--memory", &memory],
        ["--cpus", &cpus],
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

/// A shell, for what has to be made first.
pub(super) fn busybox(guest: &Guest<'_>) -> Result<(String, PathBuf)> {
    let busybox = guest.busybox.context("making it takes a busybox")?;
    Ok((BUSYBOX.to_owned(), busybox.to_owned()))
}
