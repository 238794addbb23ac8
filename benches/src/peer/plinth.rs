//! plinth itself: no settings but the guest's, and the transport.

use anyhow::Result;

use super::{Guest, Launch, Peer, argv};

pub(super) const PEER: Peer = Peer {
    name: "plinth",
    programs: &["plinth"],
    settings: "plinth run --on-reset stop",
    words: "reboot=k",
    launch: |guest| launch(guest, "pci"),
};

pub(super) const MMIO: Peer = Peer {
    name: "plinth-mmio",
    programs: &["plinth"],
    settings: "plinth run --transport mmio --on-reset stop",
    words: "pci=off reboot=k",
    launch: |guest| launch(guest, "mmio"),
};

fn launch(guest: &Guest<'_>, transport: &str) -> Result<Launch> {
    // The program that `plinth run` executes lies beside it.
    let vmm = format!("{}-vmm", guest.program);
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
    Ok(Launch {
        argv: argv(words.into_iter().flatten()),
        files: vec![(vmm.clone(), vmm.into())],
    })
}
