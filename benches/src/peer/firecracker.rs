//! Firecracker, configured by a file (its docs/getting-started.md), without its
//! API socket unless it is operated; seccomp filters on, as shipped.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Aspect, Control, EVERYTHING, Guest, Launch, Peer, argv, knows, socket};
use crate::probe::Request;

pub(super) const PEER: Peer = Peer {
    name: "firecracker",
    monitor: "firecracker",
    programs: &["firecracker"],
    aspects: EVERYTHING,
    settings: "--no-api --config-file; no devices but the serial port, and a disk or a tap where there is one; \
               of its default command line what saves boot time; a disk has cache_type Writeback, \
               without which it answers flushes and does none, and its default engine, Sync; its system \
               call filters are on, as by default, and plinth has none",
    words: WORDS,
    device_words: WORDS,
    launch: |guest| launch(guest, "Sync"),
    control: Some(Control {
        socket,
        settings: "--api-sock in place of --no-api",
        question: || Request::http("GET", "/", None),
        // Without PCI, devices are there before it starts or never. With it, newer
        // versions take more by the same PUT as a developer preview, of which the guest
        // is told nothing: it has to look for them (/sys/bus/pci/rescan). That is not
        // measured here.
        attach_disk: None,
        attach_nic: None,
    }),
};

pub(super) const ASYNC: Peer = Peer {
    name: "firecracker-async",
    aspects: &[Aspect::Disk],
    settings: "the same; its disk has the engine Async, io_uring, which it offers as a developer preview",
    launch: |guest| launch(guest, "Async"),
    ..PEER
};

pub(super) const PCI: Peer = Peer {
    name: "firecracker-pci",
    aspects: &[Aspect::Disk, Aspect::Network],
    settings: "the same with --enable-pci, which is new in 1.13: its devices are virtio-pci with MSI-X",
    device_words: PCI_WORDS,
    launch: with_pci,
    ..PEER
};

/// Of its default command line (DEFAULT_KERNEL_CMDLINE in its boot_source.rs), which
/// one that is given replaces, the words that are said to save boot time. The others
/// would take away the console and the guest's modules.
const WORDS: &str = "pci=off reboot=k i8042.noaux i8042.nomux i8042.nopnp i8042.dumbkbd";

/// The same where there is PCI.
const PCI_WORDS: &str = "reboot=k i8042.noaux i8042.nomux i8042.nopnp i8042.dumbkbd";

const ENABLE_PCI: &str = "--enable-pci";

/// Its devices on PCI, which versions before 1.13 do not have.
fn with_pci(guest: &Guest<'_>) -> Result<Launch> {
    ensure!(
        knows(guest.program, ENABLE_PCI)?,
        "{} knows no {ENABLE_PCI}, which is new in Firecracker 1.13",
        guest.program
    );
    let mut launch = launch(guest, "Sync")?;
    launch.argv.push(ENABLE_PCI.to_owned());
    Ok(launch)
}

/// `engine` is what serves a disk (its docs/api_requests/block-io-engine.md).
fn launch(guest: &Guest<'_>, engine: &str) -> Result<Launch> {
    let disks = guest.disks.iter().enumerate();
    let drives: Vec<_> = disks
        .map(|(number, disk)| {
            json!({
                "drive_id": format!("disk{number}"), "path_on_host": disk.image,
                "is_root_device": false, "is_read_only": false,
                // Its docs/api_requests/block-caching.md.
                "cache_type": "Writeback", "io_engine": engine,
            })
        })
        .collect();
    let nics = guest.nics.iter().enumerate();
    let nics: Vec<_> = nics
        .map(|(number, nic)| {
            json!({
                "iface_id": format!("net{number}"), "host_dev_name": nic.tap,
                "guest_mac": nic.mac,
            })
        })
        .collect();
    let config = json!({
        "boot-source": {
            "kernel_image_path": guest.vmlinux,
            "initrd_path": guest.initramfs,
            "boot_args": guest.command_line,
        },
        "drives": drives,
        "network-interfaces": nics,
        "machine-config": { "vcpu_count": guest.cpus, "mem_size_mib": guest.memory_mib },
    });
    let (name, path) = written(guest.scratch, &config.to_string())?;
    let inside = format!("{}/{name}", guest.scratch_inside);
    let mut argv = argv([guest.program, "--config-file", &inside]);
    match guest.operated {
        true => argv.extend(["--api-sock".to_owned(), socket(guest)]),
        false => argv.push("--no-api".to_owned()),
    }
    Ok(Launch {
        argv,
        files: vec![(inside, path)],
        ..Launch::default()
    })
}

/// Writes a configuration into `scratch`, under the first name that is free: the boots
/// of a run differ, and what they are called is the same in each run.
fn written(scratch: &Path, config: &str) -> Result<(String, PathBuf)> {
    let mut number = 0;
    loop {
        let name = format!("firecracker-{number}.json");
        let path = scratch.join(&name);
        match File::create_new(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            file => {
                let written = file.and_then(|mut file| file.write_all(config.as_bytes()));
                written.context("writing Firecracker's configuration")?;
                return Ok((name, path));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::super::tests::{launched, tried};
    use super::*;

    #[test]
    fn pci_is_where_the_version_has_it_and_otherwise_that_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let help = "echo '  --enable-pci  Enables PCIe support.'";
        let [launch, _] = launched("firecracker-pci", help, directory.path());
        assert!(launch.argv.contains(&ENABLE_PCI.to_owned()));
        let config = fs::read_to_string(&launch.files[0].1).unwrap();
        assert!(!config.contains("pci=off"), "{config}");
        let older = "echo '  --no-api  Optional parameter'";
        let error = tried("firecracker-pci", older, directory.path()).unwrap_err();
        assert!(
            error.to_string().contains("new in Firecracker 1.13"),
            "{error}"
        );
    }

    #[test]
    fn devices_are_on_pci_only_where_it_is_told_so() {
        let words = WORDS.split(' ').filter(|word| *word != "pci=off");
        assert_eq!(words.collect::<Vec<_>>().join(" "), PCI_WORDS);
        let directory = tempfile::tempdir().unwrap();
        let [launch, _] = launched("firecracker", "", directory.path());
        assert!(!launch.argv.contains(&ENABLE_PCI.to_owned()));
    }

    #[test]
    fn flushes_are_real_the_engine_is_said_and_names_are_the_same_in_each_run() {
        for (name, engine) in [("firecracker", "Sync"), ("firecracker-async", "Async")] {
            let directory = tempfile::tempdir().unwrap();
            let launches = launched(name, "", directory.path());
            for (number, launch) in launches.iter().enumerate() {
                let (inside, here) = &launch.files[0];
                assert_eq!(inside, &format!("/guest/firecracker-{number}.json"));
                let config: Value = serde_json::from_slice(&fs::read(here).unwrap()).unwrap();
                let drive = &config["drives"][0];
                assert_eq!(drive["cache_type"], "Writeback");
                assert_eq!(drive["io_engine"], engine);
                let words = config["boot-source"]["boot_args"].as_str().unwrap();
                assert!(words.contains(" i8042.noaux i8042.nomux "), "{words}");
                assert!(launch.argv.ends_with(&["--no-api".to_owned()]));
            }
        }
    }
}
