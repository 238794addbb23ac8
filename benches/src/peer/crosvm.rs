//! crosvm (its book, "Example usage"), with what it has for a serial port alone
//! and without its sandbox, which needs directories of its own installation.

use anyhow::Result;

use super::{EVERYTHING, Guest, Launch, Peer, argv};

pub(super) const PEER: Peer = Peer {
    name: "crosvm",
    monitor: "crosvm",
    programs: &["crosvm"],
    aspects: EVERYTHING,
    settings: "crosvm run --disable-sandbox, serial console, no balloon, RNG or USB; \
               a disk or a tap where there is one",
    words: "pci=off reboot=k",
    device_words: "reboot=k",
    launch,
    // Its socket speaks a format of its own.
    control: None,
};

fn launch(guest: &Guest<'_>) -> Result<Launch> {
    let memory = format!("size={}", guest.memory_mib);
    let cpus = format!("num-cores={}", guest.cpus);
    let words = [
        [guest.program, "run"],
        ["--disable-sandbox", "--no-balloon"],
        ["--no-rng", "--no-usb"],
        ["--cpus", &cpus],
        ["--mem", &memory],
        ["--serial", "type=stdout,hardware=serial,num=1,console"],
        ["--initrd", guest.initramfs],
        ["--params", &guest.command_line],
    ];
    let mut argv = argv(words.into_iter().flatten());
    for disk in &guest.disks {
        argv.extend(["--block".to_owned(), format!("path={}", disk.image)]);
    }
    for nic in &guest.nics {
        let net = format!("tap-name={},mac={}", nic.tap, nic.mac);
        argv.extend(["--net".to_owned(), net]);
    }
    argv.push(guest.vmlinux.to_owned());
    let files = Vec::new();
    Ok(Launch { argv, files })
}
