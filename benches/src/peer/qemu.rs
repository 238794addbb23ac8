//! QEMU: its microvm machine with the legacy devices off, as its documentation
//! gives it for fast boots (docs/system/i386/microvm.rst), and its ordinary
//! machine, q35. It is operated by QMP.

use std::path::{Component, Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::{Aspect, Control, EVERYTHING, Guest, Launch, Nic, Peer, argv, socket};
use crate::probe::Request;

pub(super) const MICROVM: Peer = Peer {
    name: "qemu-microvm",
    monitor: "qemu",
    programs: &["qemu-system-x86_64"],
    aspects: EVERYTHING,
    settings: "-M microvm without option ROMs, PIT and PIC, with RTC (Linux waits long for one that is missing); -cpu host, -bios qboot.rom, \
               kernel entered by PVH; reset by triple fault, which it documents; a disk by io_uring with cache=writeback, \
               where a flush is one, and like a tap by its main loop, as by default; it has no system call filters, as by default, \
               nor has plinth",
    words: "pci=off reboot=t",
    device_words: "pci=off reboot=t",
    launch: |guest| Ok(launch(guest, &BARE)),
    control: Some(Control {
        socket,
        settings: "-qmp",
        question: || Request::qmp("query-status", None),
        // Its virtio-mmio devices are there from the start.
        attach_disk: None,
        attach_nic: None,
    }),
};

pub(super) const MICROVM_VHOST: Peer = Peer {
    name: "qemu-microvm-vhost",
    aspects: &[Aspect::Network],
    settings: "the same -M microvm; its tap served by vhost-net, in the host's kernel",
    launch: |guest| {
        let machine = Machine {
            vhost: true,
            ..BARE
        };
        Ok(launch(guest, &machine))
    },
    ..MICROVM
};

pub(super) const Q35: Peer = Peer {
    name: "qemu-q35",
    settings: "-M q35 -cpu host -nodefaults, SeaBIOS, kernel entered by PVH; a disk by io_uring with cache=writeback, \
               where a flush is one, and like a tap by its main loop, as by default, which an I/O thread relieves of disks in \
               qemu-q35-iothread; it has no system call filters, as by default, nor has plinth",
    words: "reboot=k",
    device_words: "reboot=k",
    launch: |guest| Ok(launch(guest, &PC)),
    control: Some(Control {
        socket,
        settings: "-qmp, and two pcie-root-port, without which nothing can be attached",
        question: || Request::qmp("query-status", None),
        attach_disk: Some(attach_disk),
        attach_nic: Some(attach_nic),
    }),
    ..MICROVM
};

pub(super) const Q35_VHOST: Peer = Peer {
    name: "qemu-q35-vhost",
    aspects: &[Aspect::Network],
    settings: "the same -M q35; its tap served by vhost-net, in the host's kernel",
    launch: |guest| Ok(launch(guest, &Machine { vhost: true, ..PC })),
    ..Q35
};

pub(super) const Q35_IOTHREAD: Peer = Peer {
    name: "qemu-q35-iothread",
    aspects: &[Aspect::Disk],
    settings: "the same -M q35; its disk served by an I/O thread of its own (-object iothread), \
               and not by its main loop",
    launch: |guest| {
        let machine = Machine {
            iothread: true,
            ..PC
        };
        Ok(launch(guest, &machine))
    },
    ..Q35
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
    /// Whether an I/O thread serves its disks.
    iothread: bool,
    /// Where devices can be attached later.
    ports: &'static [&'static str],
    /// Its firmware, if not the usual one.
    firmware: &'static [&'static str],
    /// What it starts with: firmware, and how it is handed a kernel.
    roms: &'static [&'static str],
}

const BARE: Machine = Machine {
    machine: "microvm,accel=kvm,x-option-roms=off,pit=off,pic=off,rtc=on,isa-serial=on",
    transport: "device",
    nic: "",
    vhost: false,
    iothread: false,
    ports: &[],
    // Where it is not Debian's, its own choice is SeaBIOS.
    firmware: &["-bios", "qboot.rom"],
    roms: &["qboot.rom"],
};

const PC: Machine = Machine {
    machine: "q35,accel=kvm",
    transport: "pci",
    // Nobody boots from it.
    nic: ",romfile=",
    vhost: false,
    iothread: false,
    ports: &[DISK_PORT, NIC_PORT],
    firmware: &[],
    roms: &[
        "bios-256k.bin",
        "kvmvapic.bin",
        "linuxboot_dma.bin",
        "pvh.bin",
    ],
};

/// Root ports of q35, without which nothing can be attached to it.
const DISK_PORT: &str = "port1";
const NIC_PORT: &str = "port2";

fn attach_disk(image: &str) -> Vec<Request> {
    let file = json!({ "driver": "file", "filename": image, "aio": "io_uring" });
    let drive = json!({ "driver": "raw", "node-name": "added-disk", "file": file });
    let device = json!({
        "driver": "virtio-blk-pci", "drive": "added-disk", "bus": DISK_PORT, "id": "added-disk",
    });
    vec![
        Request::qmp("blockdev-add", Some(drive)),
        Request::qmp("device_add", Some(device)),
    ]
}

fn attach_nic(nic: &Nic) -> Vec<Request> {
    let tap = json!({
        "type": "tap", "id": "added-tap", "ifname": nic.tap, "script": "no",
        "downscript": "no", "vhost": false,
    });
    let device = json!({
        "driver": "virtio-net-pci", "netdev": "added-tap", "mac": nic.mac, "bus": NIC_PORT,
        "id": "added-nic", "romfile": "",
    });
    vec![
        Request::qmp("netdev_add", Some(tap)),
        Request::qmp("device_add", Some(device)),
    ]
}

fn launch(guest: &Guest<'_>, machine: &Machine) -> Launch {
    let memory = guest.memory_mib.to_string();
    let cpus = guest.cpus.to_string();
    let words = [
        [guest.program, "-no-reboot"],
        ["-nodefaults", "-no-user-config"],
        ["-M", machine.machine],
        ["-cpu", "host"],
        ["-smp", &cpus],
        ["-m", &memory],
        ["-display", "none"],
        ["-serial", "stdio"],
        ["-kernel", guest.vmlinux],
        ["-initrd", guest.initramfs],
        ["-append", &guest.command_line],
    ];
    let mut argv = argv(words.into_iter().flatten());
    argv.extend(machine.firmware.iter().map(|word| (*word).to_owned()));
    argv.extend(devices(guest, machine));
    if guest.operated {
        let socket = format!("unix:{},server=on,wait=off", socket(guest));
        argv.extend(["-qmp".to_owned(), socket]);
        let ports = machine.ports.iter().enumerate();
        let ports = ports.flat_map(|(slot, port)| {
            let port = format!("pcie-root-port,id={port},chassis={}", slot + 1);
            ["-device".to_owned(), port]
        });
        argv.extend(ports);
    }
    Launch {
        argv,
        files: roms(&directories(guest.program), machine.roms),
        ..Launch::default()
    }
}

/// Where `program` looks for what it starts a machine with, as it says itself.
fn directories(program: &str) -> Vec<PathBuf> {
    let told = Command::new(program).args(["-L", "help"]).output();
    let told = told.map(|told| told.stdout).unwrap_or_default();
    let told = String::from_utf8_lossy(&told);
    told.lines().map(|line| direct(Path::new(line))).collect()
}

/// The same path without what leads back: a file of a machine is where it is called.
fn direct(path: &Path) -> PathBuf {
    let mut direct = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(direct.pop()),
            other => direct.push(other),
        }
    }
    direct
}

/// Those of `names` that there are, wherever.
fn roms(directories: &[PathBuf], names: &[&str]) -> Vec<(String, PathBuf)> {
    let places = names.iter().flat_map(|name| {
        directories
            .iter()
            .map(move |directory| directory.join(name))
    });
    places
        .filter(|path| path.is_file())
        .map(|path| (path.display().to_string(), path))
        .collect()
}

/// The guest's disks and network interfaces.
fn devices(guest: &Guest<'_>, machine: &Machine) -> Vec<String> {
    let transport = machine.transport;
    let mut words = Vec::new();
    let thread = match machine.iothread {
        true => {
            words.extend(argv(["-object", "iothread,id=io0"]));
            ",iothread=io0"
        }
        false => "",
    };
    for (number, disk) in guest.disks.iter().enumerate() {
        let image = &disk.image;
        words.extend([
            "-drive".to_owned(),
            format!("if=none,id=disk{number},file={image},format=raw,aio=io_uring,cache=writeback"),
            "-device".to_owned(),
            format!("virtio-blk-{transport},drive=disk{number}{thread}"),
        ]);
    }
    let vhost = if machine.vhost { "on" } else { "off" };
    for (number, nic) in guest.nics.iter().enumerate() {
        let (tap, mac) = (&nic.tap, &nic.mac);
        words.extend([
            "-netdev".to_owned(),
            format!("tap,id=net{number},ifname={tap},script=no,downscript=no,vhost={vhost}"),
            "-device".to_owned(),
            format!(
                "virtio-net-{transport},netdev=net{number},mac={mac}{}",
                machine.nic
            ),
        ]);
    }
    words
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::launched;
    use super::*;

    #[test]
    fn firmware_is_taken_from_where_the_program_looks() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for file in [
            "share/qemu/qboot.rom",
            "share/qemu/pvh.bin",
            "bios/bios-256k.bin",
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "code").unwrap();
        }
        let says = format!(
            "[ \"$*\" = '-L help' ] && echo {0}/bin/../share/qemu && echo {0}/bios",
            root.display()
        );
        let files = |name| {
            let [launch, _] = launched(name, &says, root);
            let found = launch.files.into_iter().map(|(inside, here)| {
                assert_eq!(Path::new(&inside), here);
                here.strip_prefix(root).unwrap().to_owned()
            });
            found.collect::<Vec<_>>()
        };
        assert_eq!(files("qemu-microvm"), [Path::new("share/qemu/qboot.rom")]);
        let expected = ["bios/bios-256k.bin", "share/qemu/pvh.bin"].map(PathBuf::from);
        assert_eq!(files("qemu-q35"), expected);
    }

    #[test]
    fn only_microvm_is_told_its_firmware_and_a_flush_is_one_for_both() {
        for (name, told) in [("qemu-microvm", true), ("qemu-q35", false)] {
            let directory = tempfile::tempdir().unwrap();
            let [launch, _] = launched(name, "", directory.path());
            let words = launch.argv.join(" ");
            assert_eq!(words.contains(" -bios qboot.rom "), told, "{words}");
            assert!(words.contains(",cache=writeback "), "{words}");
        }
    }

    #[test]
    fn an_i_o_thread_serves_the_disk_of_the_machine_that_is_called_so() {
        for (name, told) in [("qemu-q35", false), ("qemu-q35-iothread", true)] {
            let directory = tempfile::tempdir().unwrap();
            let [launch, _] = launched(name, "", directory.path());
            let words = launch.argv.join(" ");
            assert_eq!(words.contains(" -object iothread,id=io0 "), told, "{words}");
            let disk = " -device virtio-blk-pci,drive=disk0,iothread=io0 ";
            assert_eq!(words.contains(disk), told, "{words}");
        }
    }
}
