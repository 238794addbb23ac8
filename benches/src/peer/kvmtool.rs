//! kvmtool. It loads no ELF kernel on x86, so it boots the bzImage of the same
//! kernel, which decompresses itself in the guest.

use super::{Guest, Launch, Peer, argv};

pub(super) const PEER: Peer = Peer {
    name: "kvmtool",
    programs: &["lkvm", "kvmtool"],
    settings: "bzImage (it loads no ELF kernel); no network but a tap where there is one, serial console",
    words: "pci=off reboot=k",
    device_words: "reboot=k",
    launch: |guest| Ok(launch(guest, false)),
};

pub(super) const VHOST: Peer = Peer {
    name: "kvmtool-vhost",
    programs: &["lkvm", "kvmtool"],
    settings: "the same; its tap served by vhost-net, in the host's kernel",
    words: "pci=off reboot=k",
    device_words: "reboot=k",
    launch: |guest| Ok(launch(guest, true)),
};

fn launch(guest: &Guest<'_>, vhost: bool) -> Launch {
    let memory = guest.memory_mib.to_string();
    let network = guest.nic.map_or("mode=none".to_owned(), |nic| {
        let vhost = u8::from(vhost);
        format!(
            "mode=tap,tapif={},guest_mac={},vhost={vhost}",
            nic.tap, nic.mac
        )
    });
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
        &network,
        "--console",
        "serial",
    ];
    let disk = guest.disk.into_iter().flat_map(|disk| ["-d", disk.image]);
    Launch {
        argv: argv(words.into_iter().chain(disk)),
        files: Vec::new(),
    }
}
