//! QEMU's microvm machine with the legacy devices off, as its documentation
//! gives it for fast boots (docs/system/i386/microvm.rst).

use anyhow::Result;

use super::{Guest, Launch, Peer, argv};

pub(super) const PEER: Peer = Peer {
    name: "qemu",
    programs: &["qemu-system-x86_64"],
    settings: "-M microvm without option ROMs, PIT and PIC, with RTC (Linux waits long for one that is missing); -cpu host, qboot firmware, \
               kernel entered by PVH; reset by triple fault, which it documents",
    words: "pci=off reboot=t",
    launch,
};

fn launch(guest: &Guest<'_>) -> Result<Launch> {
    let memory = guest.memory_mib.to_string();
    let machine = "microvm,accel=kvm,x-option-roms=off,pit=off,pic=off,rtc=on,isa-serial=on";
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
    let firmware = "/usr/share/qemu/bios-microvm.bin";
    Ok(Launch {
        argv: argv(words.into_iter().flatten()),
        files: vec![(firmware.to_owned(), firmware.into())],
    })
}
