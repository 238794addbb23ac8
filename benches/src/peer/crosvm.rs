//! crosvm (its book, "Example usage"), with what it has for a serial port alone
//! and without its sandbox, which needs directories of its own installation.

use super::{Aspect, EVERYTHING, Guest, Launch, Peer, argv};

pub(super) const PEER: Peer = Peer {
    name: "crosvm",
    monitor: "crosvm",
    programs: &["crosvm"],
    aspects: EVERYTHING,
    settings: "crosvm run --disable-sandbox, serial console, no balloon, RNG or USB; \
               a disk or a tap where there is one, and a flush of a disk is one",
    words: "pci=off reboot=k",
    device_words: "reboot=k",
    launch: |guest| Ok(launch(guest, "")),
    // Its socket speaks a format of its own.
    control: None,
};

pub(super) const VHOST: Peer = Peer {
    name: "crosvm-vhost",
    aspects: &[Aspect::Network],
    settings: "the same; its tap served by vhost-net, in the host's kernel",
    launch: |guest| Ok(launch(guest, ",vhost-net=true")),
    ..PEER
};

/// `more` is what a network interface has besides its tap and its address.
fn launch(guest: &Guest<'_>, more: &str) -> Launch {
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
        let net = format!("tap-name={},mac={}{more}", nic.tap, nic.mac);
        argv.extend(["--net".to_owned(), net]);
    }
    argv.push(guest.vmlinux.to_owned());
    Launch {
        argv,
        ..Launch::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::launched;

    #[test]
    fn a_tap_is_served_by_vhost_where_that_is_what_is_measured() {
        let net = |name| {
            let directory = tempfile::tempdir().unwrap();
            let [launch, _] = launched(name, "", directory.path());
            let words = launch.argv.windows(2);
            let mut nets = words.filter(|pair| pair[0] == "--net");
            nets.next().unwrap()[1].clone()
        };
        let plain = "tap-name=tap0,mac=02:00:00:00:00:07";
        assert_eq!(net("crosvm"), plain);
        assert_eq!(net("crosvm-vhost"), format!("{plain},vhost-net=true"));
    }
}
