//! Firecracker, configured by a file and without its API socket
//! (its docs/getting-started.md); seccomp filters on, as shipped.

use std::fs;

use anyhow::{Context, Result};
use serde_json::json;

use super::{Guest, Launch, Peer, argv};

pub(super) const PEER: Peer = Peer {
    name: "firecracker",
    programs: &["firecracker"],
    settings: "--no-api --config-file; no devices but the serial port, and a disk or a tap where there is one",
    words: "pci=off reboot=k",
    device_words: "pci=off reboot=k",
    launch,
};

fn launch(guest: &Guest<'_>) -> Result<Launch> {
    let drives: Vec<_> = guest
        .disk
        .iter()
        .map(|disk| {
            json!({
                "drive_id": "disk", "path_on_host": disk.image,
                "is_root_device": false, "is_read_only": false,
            })
        })
        .collect();
    let nics: Vec<_> = guest
        .nic
        .iter()
        .map(|nic| json!({ "iface_id": "net", "host_dev_name": nic.tap, "guest_mac": nic.mac }))
        .collect();
    let config = json!({
        "boot-source": {
            "kernel_image_path": guest.vmlinux,
            "initrd_path": guest.initramfs,
            "boot_args": guest.command_line,
        },
        "drives": drives,
        "network-interfaces": nics,
        "machine-config": { "vcpu_count": 1, "mem_size_mib": guest.memory_mib },
    });
    // The boots of a run differ in their command line.
    let file = tempfile::Builder::new()
        .prefix("firecracker-")
        .suffix(".json")
        .tempfile_in(guest.scratch)?;
    let (_, path) = file.keep()?;
    fs::write(&path, config.to_string()).context("writing Firecracker's configuration")?;
    let name = path.file_name().context("a file has a name")?;
    let inside = format!("/guest/{}", name.to_string_lossy());
    let words = [guest.program, "--no-api", "--config-file", &inside];
    Ok(Launch {
        argv: argv(words),
        files: vec![(inside.clone(), path)],
    })
}
