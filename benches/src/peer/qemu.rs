//! QEMU: its microvm machine with the legacy devices off, as its documentation
//! gives it for fast boots (docs/system/i386/microvm.rst), and its ordinary
//! machine, q35.

use std::path::Path;

use super::{Guest, Launch, Peer, argv};

pub(super) const PEER: Peer = Peer {
    name: "qemu",
    programs: &["qemu-system-x86_64"],
    settings: "-M microvm without option ROMs, PIT and PIC, with RTC (Linux waits long for one that is missing); -cpu host, qboot firmware, \
               kernel entered by PVH; reset by triple fault, which it documents; a disk by io_uring, a tap by its main loop",
    words: "pci=off reboot=t",
    device_words: "pci=off reboot=t",
    launch: |guest| Ok(launch(guest, &MICROVM)),
};

pub(super) const VHOST: Peer = Peer {
    name: "qemu-vhost",
    programs: &["qemu-system-x86_64"],
    settings: "the same -M microvm; its tap served by vhost-net, in the host's kernel",
    words: "pci=off reboot=t",
    device_words: "pci=off reboot=t",
    launch: |guest| {
        Ok(launch(
            guest,
            &Machine {
                vhost: true,
                ..MICROVM
            },
        ))
    },
};

pub(super) const Q35: Peer = Peer {
    name: "qemu-q35",
    programs: &["qemu-system-x86_64"],
    settings: "-M q35 -cpu host -nodefaults, SeaBIOS, kernel entered by PVH; a disk by io_uring, a tap by its main loop",
    words: "reboot=k",
    device_words: "reboot=k",
    launch: |guest| Ok(launch(guest, &PC)),
};

pub(super) const Q35_VHOST: Peer = Peer {
    name: "qemu-q35-vhost",
    programs: &["qemu-system-x86_64"],
    settings: "the same -M q35; its tap served by vhost-net, in the host's kernel",
    words: "reboot=k",
    device_words: "reboot=k",
    launch: |guest| Ok(launch(guest, &Machine { vhost: true, ..PC })),
};

/// What is peculiar to a machine.
struct Machine {
    /// Its name and properties.
    machine: &'static str,
    /// How its virtio devices are called behind their kind's name.
    transport: &'static str,
    /// What a network interface has besides.
    nic: &'static str,
    vhost: bool,
    /// What it starts with: firmware, and how it is handed a kernel.
    roms: &'static [&'static str],
}

const MICROVM: Machine = Machine {
    machine: "microvm,accel=kvm,x-option-roms=off,pit=off,pic=off,rtc=on,isa-serial=on",
    transport: "device",
    nic: "",
    vhost: false,
    roms: &["bios-microvm.bin"],
};

const PC: Machine = Machine {
    machine: "q35,accel=kvm",
    transport: "pci",
    // Nobody boots from it.
    nic: ",romfile=",
    vhost: false,
    roms: &[
        "bios-256k.bin",
        "kvmvapic.bin",
        "linuxboot_dma.bin",
        "pvh.bin",
    ],
};

/// Where Debian has them; QEMU looks in the first two.
const ROMS: [&str; 2] = ["/usr/share/qemu", "/usr/share/seabios"];

fn launch(guest: &Guest<'_>, machine: &Machine) -> Launch {
    let transport = machine.transport;
    let memory = guest.memory_mib.to_string();
    let words = [
        [guest.program, "-no-reboot"],
        ["-nodefaults", "-no-user-config"],
        ["-M", machine.machine],
        ["-cpu", "host"],
        ["-smp", "1"],
        ["-m", &memory],
        ["-display", "none"],
        ["-serial", "stdio"],
        ["-kernel", guest.vmlinux],
        ["-initrd", guest.initramfs],
        ["-append", &guest.command_line],
    ];
    let nic = guest.nic.map(|nic| {
        let vhost = if machine.vhost { "on" } else { "off" };
        let tap = nic.tap;
        [
            "-netdev".to_owned(),
            format!("tap,id=net,ifname={tap},script=no,downscript=no,vhost={vhost}"),
            "-device".to_owned(),
            format!(
                "virtio-net-{transport},netdev=net,mac={}{}",
                nic.mac, machine.nic
            ),
        ]
    });
    let drive = guest.disk.map(|disk| {
        let image = disk.image;
        format!("if=none,id=disk,file={image},format=raw,aio=io_uring")
    });
    let device = format!("virtio-blk-{transport},drive=disk");
    let disk = drive
        .iter()
        .flat_map(|drive| ["-drive", drive, "-device", &device]);
    let places = |rom: &&str| {
        let rom = (*rom).to_owned();
        ROMS.map(move |place| format!("{place}/{rom}"))
    };
    let files = machine.roms.iter().flat_map(places);
    let files = files.filter(|path| Path::new(path).is_file());
    Launch {
        argv: argv(
            words
                .into_iter()
                .flatten()
                .chain(disk)
                .chain(nic.iter().flatten().map(String::as_str)),
        ),
        files: files.map(|path| (path.clone(), path.into())).collect(),
    }
}
