//! plinth itself: no settings but the guest's, the transport, and what its disk
//! is: a file, a volume, or an encrypted one. Its networks are in `plinth_network`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;

use super::{Aspect, Control, EVERYTHING, Guest, Launch, Peer, argv};
use crate::probe::{Descriptor, Request};
use crate::volume::FASTEST;

pub(super) const PEER: Peer = Peer {
    name: "plinth",
    monitor: "plinth",
    programs: &["plinth"],
    aspects: EVERYTHING,
    settings: "plinth run --on-reset stop; a flush of a disk is one, by io_uring",
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
    socket: |guest| format!("{}/{}/api.sock", machines(guest), name(guest)),
    settings: "--name",
    question: || Request::http("GET", "/v1/vm", None),
    attach_disk: None,
    attach_nic: None,
};

pub(super) const MMIO: Peer = Peer {
    name: "plinth-mmio",
    aspects: &[Aspect::Boot, Aspect::Machine],
    settings: "plinth run --transport mmio --on-reset stop",
    words: "pci=off reboot=k",
    device_words: "pci=off reboot=k",
    launch: |guest| Ok(launch(guest, "mmio", "")),
    // What is attached is on PCI.
    control: Some(QUESTION),
    ..PEER
};

/// Beside monitors that load nothing else.
pub(super) const BZIMAGE: Peer = Peer {
    name: "plinth-bzimage",
    aspects: &[Aspect::Boot],
    settings: "plinth run --transport mmio --on-reset stop; bzImage, which decompresses itself in the guest",
    launch: |guest| {
        let guest = Guest {
            vmlinux: guest.bzimage,
            ..guest.clone()
        };
        Ok(launch(&guest, "mmio", ""))
    },
    ..MMIO
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
    launch: |guest| {
        let key = format!("--encrypted --key-file {}/key", guest.scratch_inside);
        volume(guest, &key)
    },
    ..VOLUME
};

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
    Launch {
        argv,
        files: vec![vmm(guest)],
        environment: environment(guest),
    }
}

fn name(guest: &Guest<'_>) -> String {
    format!("bench-{}", guest.number)
}

/// Makes a volume, with `more` options, and runs the guest with it.
fn volume(guest: &Guest<'_>, more: &str) -> Result<Launch> {
    let disk = guest.disks.first();
    let disk = disk.context("a volume is measured as a disk")?;
    let (program, mib, scratch) = (guest.program, disk.mib, guest.scratch_inside);
    let script = format!(
        "umask 077; head -c 32 /dev/urandom > {scratch}/key; \
         {program} volume create bench --size {mib}MiB {FASTEST} {more} >/dev/null && exec \"$@\""
    );
    let mut argv = argv([guest.busybox, "sh", "-c", &script, "sh"]);
    argv.extend(run(guest, "pci", ["--volume", "bench"]));
    Ok(Launch {
        argv,
        files: vec![vmm(guest), busybox(guest)],
        environment: environment(guest),
    })
}

/// Where the directories of its machines are: with what else a run leaves behind, and
/// never among those of this host's user.
fn machines(guest: &Guest<'_>) -> String {
    format!("{}/machines", guest.scratch_inside)
}

/// Has machines, volumes and networks be the run's own.
pub(super) fn environment(guest: &Guest<'_>) -> Vec<(String, String)> {
    let data = format!("{}/data", guest.scratch_inside);
    let both = [
        ("PLINTH_RUNTIME_DIR", machines(guest)),
        ("PLINTH_DATA_DIR", data),
    ];
    both.map(|(name, value)| (name.to_owned(), value)).into()
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
pub(super) fn busybox(guest: &Guest<'_>) -> (String, PathBuf) {
    (guest.busybox.to_owned(), guest.busybox_here.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::testbed::nothing;

    #[test]
    fn nothing_of_a_run_is_where_this_host_s_user_has_it() {
        let testbed = nothing();
        let guest = testbed.guest(Path::new("/bin/plinth"), Path::new("/tmp/s"));
        let guest = guest.unwrap();
        let launched = PEER.launch(&guest).unwrap().environment;
        for (name, value) in &launched {
            assert!(value.starts_with(guest.scratch_inside), "{name}={value}");
        }
        let socket = (PEER.control.unwrap().socket)(&guest);
        let (_, machines) = &launched[0];
        assert_eq!(socket, format!("{machines}/bench-0/api.sock"));
    }
}
