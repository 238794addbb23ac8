//! Cloud Hypervisor with a serial port only; its kernel is entered by PVH.

use anyhow::Result;

use super::{Guest, Launch, Peer, argv};

pub(super) const PEER: Peer = Peer {
    name: "cloud-hypervisor",
    programs: &["cloud-hypervisor", "cloud-hypervisor-static"],
    settings: "--serial tty --console off, no devices else but a disk or a tap where there is one",
    words: "pci=off reboot=k",
    device_words: "reboot=k",
    launch,
};

fn launch(guest: &Guest<'_>) -> Result<Launch> {
    let memory = format!("size={}M", guest.memory_mib);
    let disk = guest.disk.map(|disk| format!("path={}", disk.image));
    let net = guest
        .nic
        .map(|nic| format!("tap={},mac={}", nic.tap, nic.mac));
    let words = [
        guest.program,
        "--kernel",
        guest.vmlinux,
        "--initramfs",
        guest.initramfs,
        "--cmdline",
        &guest.command_line,
        "--cpus",
        "boot=1",
        "--memory",
        &memory,
        "--serial",
        "tty",
        "--console",
        "off",
    ];
    let disk = disk.iter().flat_map(|disk| ["--disk", disk]);
    let net = net.iter().flat_map(|net| ["--net", net]);
    Ok(Launch {
        argv: argv(words.into_iter().chain(disk).chain(net)),
        files: Vec::new(),
    })
}
