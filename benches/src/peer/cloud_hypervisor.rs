//! Cloud Hypervisor with a serial port only; its kernel is entered by PVH. It is
//! operated by its REST API (docs/api.md).

use anyhow::Result;
use serde_json::json;

use super::{Control, EVERYTHING, Guest, Launch, Peer, argv};
use crate::probe::Request;

pub(super) const PEER: Peer = Peer {
    name: "cloud-hypervisor",
    monitor: "cloud-hypervisor",
    programs: &["cloud-hypervisor", "cloud-hypervisor-static"],
    aspects: EVERYTHING,
    settings: "--serial tty --console off, no devices else but a disk or a tap where there is one",
    words: "pci=off reboot=k",
    device_words: "reboot=k",
    launch,
    control: Some(Control {
        socket,
        question: || Request::http("GET", "/api/v1/vmm.ping", None),
        attach_disk: Some(|image| {
            let disk = json!({ "path": image, "id": "added-disk" });
            vec![Request::http("PUT", "/api/v1/vm.add-disk", Some(disk))]
        }),
        attach_nic: Some(|nic| {
            let net = json!({ "tap": nic.tap, "mac": nic.mac, "id": "added-nic" });
            vec![Request::http("PUT", "/api/v1/vm.add-net", Some(net))]
        }),
    }),
};

fn socket(guest: &Guest<'_>) -> String {
    format!("{}/control-{}", guest.scratch_inside, guest.number)
}

fn launch(guest: &Guest<'_>) -> Result<Launch> {
    let memory = format!("size={}M", guest.memory_mib);
    let cpus = format!("boot={}", guest.cpus);
    let words = [
        guest.program,
        "--kernel",
        guest.vmlinux,
        "--initramfs",
        guest.initramfs,
        "--cmdline",
        &guest.command_line,
        "--cpus",
        &cpus,
        "--memory",
        &memory,
        "--serial",
        "tty",
        "--console",
        "off",
    ];
    let mut argv = argv(words);
    let disks = guest.disks.iter();
    let disks: Vec<String> = disks.map(|disk| format!("path={}", disk.image)).collect();
    let nics = guest.nics.iter();
    let nics: Vec<String> = nics
        .map(|nic| format!("tap={},mac={}", nic.tap, nic.mac))
        .collect();
    // Each option takes all of its kind.
    for (option, values) in [("--disk", disks), ("--net", nics)] {
        if !values.is_empty() {
            argv.push(option.to_owned());
            argv.extend(values);
        }
    }
    if guest.operated {
        argv.extend(["--api-socket".to_owned(), socket(guest)]);
    }
    let files = Vec::new();
    Ok(Launch { argv, files })
}
