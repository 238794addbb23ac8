//! plinth itself: no settings but the guest's.

use anyhow::Result;

use super::{Guest, Launch, Peer, argv};

pub(super) const PEER: Peer = Peer {
    name: "plinth",
    programs: &["plinth"],
    settings: "plinth run, defaults",
    reset: "reboot=k",
    launch,
};

fn launch(guest: &Guest<'_>) -> Result<Launch> {
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
    ];
    Ok(Launch {
        argv: argv(words.into_iter().flatten()),
        files: vec![(vmm.clone(), vmm.into())],
    })
}
