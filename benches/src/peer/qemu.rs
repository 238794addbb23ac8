//! QEMU: its microvm machine with the legacy devices off, as its documentation
//! gives it for fast boots (docs/system/i386/microvm.rst), and its ordinary
//! machine, q35.

use std::path::Path;

use super::{Guest, Launch, Peer, argv};

pub(super) const PEER: Peer = Peer {
    name: "qemu",
    programs: &["qemu-system-x86_64"],
    settings: "-M microvm without option ROMs, PIT and PIC, with RTC (Linux waits long for one that is missing); -cpu host, qboot firmware, \
               kernel entered by PVH; reset by triple fault, which it documents; a disk by io_uring",
    words: "pci=off reboot=t",
    disk_words: "pci=off reboot=t",
    launch: |guest| {
        Ok(launch(
            guest,
            MICROVM,
            "virtio-blk-device",
            &["bios-microvm.bin"],
        ))
    },
};

pub(super) const Q35: Peer = Peer {
    name: "qemu-q35",
    programs: &["qemu-system-x86_64"],
    settings: "-M q35 -cpu host -nodefaults, SeaBIOS, kernel entered by PVH; a disk by io_uring",
    words: "reboot=k",
    disk_words: "reboot=k",
    launch: |guest| Ok(launch(guest, "q35,accel=kvm", "virtio-blk-pci", &Q35_ROMS)),
};

const MICROVM: &str = "microvm,accel=kvm,x-option-roms=off,pit=off,pic=off,rtc=on,isa-serial=on";

/// What q35 starts with: firmware, and how it is handed a kernel.
const Q35_ROMS: [&str; 4] = [
    "bios-256k.bin",
    "kvmvapic.bin",
    "linuxboot_dma.bin",
    "pvh.bin",
];

/// Where Debian has them; QEMU looks in the first two.
const ROMS: [&str; 2] = ["/usr/share/qemu", "/usr/share/seabios"];

fn launch(guest: &Guest<'_>, machine: &str, disk_device: &str, roms: &[&str]) -> Launch {
    let memory = guest.memory_mib.to_string();
    let words = [
        [guest.program, "-no-reboot"],
        ["-nodefaults", "-no-user-config"],
        ["-M", machine],
        ["-cpu", "host"],
        ["-smp", "1"],
        ["-m", &memory],
        ["-display", "none"],
        ["-serial", "stdio"],
        ["-kernel", guest.vmlinux],
        ["-initrd", guest.initramfs],
        ["-append", &guest.command_line],
    ];
    let drive = guest.disk.map(|disk| {
        let image = disk.image;
        format!("if=none,id=disk,file={image},format=raw,aio=io_uring")
    });
    let device = format!("{disk_device},drive=disk");
    let disk = drive
        .iter()
        .flat_map(|drive| ["-drive", drive, "-device", &device]);
    let places = |rom: &&str| {
        let rom = (*rom).to_owned();
        ROMS.map(move |place| format!("{place}/{rom}"))
    };
    let files = roms.iter().flat_map(places);
    let files = files.filter(|path| Path::new(path).is_file());
    Launch {
        argv: argv(words.into_iter().flatten().chain(disk)),
        files: files.map(|path| (path.clone(), path.into())).collect(),
    }
}
