//! Disks that come and go while an unmodified guest runs, without a rescan.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::Duration;

use guest_images::run_word;
use guest_tests::{DiskFile, Transcript, images};
use vmm::config::{BlockConfig, ConsoleConfig, DeviceConfig};
use vmm::{CommandLine, DeviceName, DiskOptions, ErrorKind, Vm, VmBuilder};

/// How long the guest has to give a disk up.
const PATIENCE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

fn open_kvm() -> OwnedFd {
    let kvm = File::options().read(true).write(true).open("/dev/kvm");
    kvm.expect("no /dev/kvm: run this with cargo xtask test")
        .into()
}

/// A machine with the stock kernel that runs `command`, and its console.
fn start(command: &str) -> (Vm, Transcript) {
    let (console, output) = std::io::pipe().unwrap();
    let kernel = File::open(&images::kernel().vmlinux).unwrap();
    let text = format!("console=ttyS0 quiet panic=-1 {}", run_word(command));
    let builder = VmBuilder::new(open_kvm(), kernel)
        .initrd(File::open(images::initramfs()).unwrap())
        .command_line(CommandLine::new(text).unwrap())
        .console(ConsoleConfig {
            input: None,
            output: output.into(),
            escapes: false,
        });
    let vm = builder.build().and_then(vmm::PausedVm::start).unwrap();
    (vm, Transcript::of(console))
}

fn name(text: &str) -> DeviceName {
    text.parse().unwrap()
}

fn attach(vm: &Vm, disk: &DiskFile, id: &str) {
    let file = File::options().read(true).write(true).open(disk.path());
    let attached = vm.attach(DeviceConfig::Block(BlockConfig {
        file: file.unwrap(),
        id: id.parse().unwrap(),
        options: DiskOptions::default(),
        limits: None,
    }));
    assert_eq!(attached.unwrap().name, name(id));
}

#[test]
fn a_disk_that_is_attached_twice_or_unknown_changes_nothing() {
    let (vm, console) =
        start("while ! [ -b /dev/vda ]; do sleep 0.05; done; echo there; sleep 1000");
    let disk = DiskFile::empty(MIB);
    attach(&vm, &disk, "data");
    let other = File::open(disk.path()).unwrap();
    let twice = vm.attach(DeviceConfig::Block(BlockConfig {
        file: other,
        id: "data".parse().unwrap(),
        options: DiskOptions {
            read_only: true,
            ..DiskOptions::default()
        },
        limits: None,
    }));
    let twice = twice.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Configuration);
    assert!(twice.to_string().contains("'data'"), "{twice}");
    let unknown = vm.detach(name("dta"), PATIENCE).unwrap_err();
    assert!(unknown.to_string().contains("there are data"), "{unknown}");
    assert!(console.shows("there"), "{}", console.text());
    assert_eq!(vm.describe().unwrap().devices.len(), 1);
}
