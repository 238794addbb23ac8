//! Firecracker, configured by a file (its docs/getting-started.md), without its
//! API socket unless it is operated; seccomp filters on, as shipped.

use std::fs;

use anyhow::{Context, Result};
use serde_json::json;

use super::{Control, EVERYTHING, Guest, Launch, Peer, argv};
use crate::probe::Request;

pub(super) const PEER: Peer = Peer {
    name: "firecracker",
    monitor: "firecracker",
    programs: &["firecracker"],
    aspects: EVERYTHING,
    settings: "--no-api --config-file; no devices but the serial port, and a disk or a tap where there is one",
    words: "pci=off reboot=k",
    device_words: "pci=off reboot=k",
    launch,
    control: Some(Control {
        socket,
        question: || Request::http("GET", "/", None),
        // Devices are there before it starts or never.
        attach_disk: None,
        attach_nic: None,
    }),
};

fn socket(guest: &Guest<'_>) -> String {
    format!("{}/control-{}", guest.scratch_inside, guest.number)
}

fn launch(guest: &Guest<'_>) -> Result<Launch> {
    let disks = guest.disks.iter().enumerate();
    let drives: Vec<_> = disks
        .map(|(number, disk)| {
            json!({
                "drive_id": format!("disk{number}"), "path_on_host": disk.image,
                "is_root_device": false, "is_read_only": false,
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
    // The boots of a run differ in their command line.
    let file = tempfile::Builder::new()
        .prefix("firecracker-")
        .suffix(".json")
        .tempfile_in(guest.scratch)?;
    let (_, path) = file.keep()?;
    fs::write(&path, config.to_string()).context("writing Firecracker's configuration")?;
    let name = path.file_name().context("a file has a name")?;
    let inside = format!("{}/{}", guest.scratch_inside, name.to_string_lossy());
    let mut argv = argv([guest.program, "--config-file", &inside]);
    match guest.operated {
        true => argv.extend(["--api-sock".to_owned(), socket(guest)]),
        false => argv.push("--no-api".to_owned()),
    }
    let files = vec![(inside, path)];
    Ok(Launch { argv, files })
}
