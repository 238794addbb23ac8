//! kvmtool. It loads no ELF kernel on x86, so it boots the bzImage of the same
//! kernel, which decompresses itself in the guest.

use anyhow::Result;

use super::{Guest, Launch, Peer, argv};

pub(super) const PEER: Peer = Peer {
    name: "kvmtool",
    programs: &["lkvm", "kvmtool"],
    settings: "bzImage (it loads no ELF kernel); no network, serial console",
    words: "pci=off reboot=k",
    disk_words: "reboot=k",
    launch,
};

fn launch(guest: &Guest<'_>) -> Result<Launch> {
    let memory = guest.memory_mib.to_string();
    let words = [
        guest.program,
        "run",
        "--name",
        "bench",
        "-k",
        guest.bzimage,
        "-i",
        guest.initramfs,
        "-p",
        &guest.command_line,
        "-m",
        &memory,
        "-c",
        "1",
        "--network",
        "mode=none",
        "--console",
        "serial",
    ];
    let disk = guest.disk.into_iter().flat_map(|disk| ["-d", disk.image]);
    Ok(Launch {
        argv: argv(words.into_iter().chain(disk)),
        files: Vec::new(),
    })
}
