//! kvmtool. It loads no ELF kernel on x86, so it boots the bzImage of the same
//! kernel, which decompresses itself in the guest.

use super::{Aspect, EVERYTHING, Guest, Launch, Peer, argv};

pub(super) const PEER: Peer = Peer {
    name: "kvmtool",
    monitor: "kvmtool",
    programs: &["lkvm", "kvmtool"],
    aspects: EVERYTHING,
    settings: "bzImage (it loads no ELF kernel); no network but a tap where there is one, serial console; \
               a flush of a disk is one; it puts before the command line: noapic noacpi pci=conf1 reboot=k \
               panic=1 i8042.direct=1 i8042.dumbkbd=1 i8042.nopnp=1 earlyprintk=serial i8042.noaux=1 \
               console=ttyS0",
    words: "pci=off reboot=k",
    device_words: "reboot=k",
    launch: |guest| Ok(launch(guest, false)),
    // Its socket speaks a format of its own.
    control: None,
};

pub(super) const VHOST: Peer = Peer {
    name: "kvmtool-vhost",
    aspects: &[Aspect::Network],
    settings: "the same; its tap served by vhost-net, in the host's kernel",
    launch: |guest| Ok(launch(guest, true)),
    ..PEER
};

fn launch(guest: &Guest<'_>, vhost: bool) -> Launch {
    let memory = guest.memory_mib.to_string();
    let cpus = guest.cpus.to_string();
    let name = format!("bench-{}", guest.number);
    let words = [
        guest.program,
        "run",
        "--name",
        &name,
        "-k",
        guest.bzimage,
        "-i",
        guest.initramfs,
        "-p",
        &guest.command_line,
        "-m",
        &memory,
        "-c",
        &cpus,
        "--console",
        "serial",
    ];
    let mut argv = argv(words);
    for disk in &guest.disks {
        argv.extend(["-d".to_owned(), disk.image.clone()]);
    }
    let vhost = u8::from(vhost);
    let mut networks: Vec<String> = guest
        .nics
        .iter()
        .map(|nic| {
            format!(
                "mode=tap,tapif={},guest_mac={},vhost={vhost}",
                nic.tap, nic.mac
            )
        })
        .collect();
    if networks.is_empty() {
        networks.push("mode=none".to_owned());
    }
    for network in networks {
        argv.extend(["--network".to_owned(), network]);
    }
    Launch {
        argv,
        // Its socket is in .lkvm there, and stays.
        environment: vec![("HOME".to_owned(), guest.scratch_inside.to_owned())],
        ..Launch::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::launched;

    #[test]
    fn what_it_leaves_in_its_home_goes_with_the_measurement() {
        for name in ["kvmtool", "kvmtool-vhost"] {
            let directory = tempfile::tempdir().unwrap();
            let [launch, _] = launched(name, "", directory.path());
            let home = ("HOME".to_owned(), "/guest".to_owned());
            assert_eq!(launch.environment, [home]);
        }
    }
}
