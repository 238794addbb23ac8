//! Machines of the library, in the process of the test.

use std::fs::File;
use std::os::fd::OwnedFd;

use vmm::config::{BlockConfig, ConsoleConfig, DeviceConfig};
use vmm::{CommandLine, DiskOptions, VmBuilder};

use crate::{DiskFile, Transcript, images};

/// The KVM device.
pub fn open_kvm() -> OwnedFd {
    let kvm = File::options().read(true).write(true).open("/dev/kvm");
    kvm.expect("no /dev/kvm: run this with cargo xtask test")
        .into()
}

/// A machine that boots the stock kernel with the small initramfs and these
/// words on its command line, and its console.
pub fn embedded(words: &str) -> (VmBuilder, Transcript) {
    let (console, output) = std::io::pipe().unwrap();
    let kernel = File::open(&images::kernel().vmlinux).unwrap();
    let text = format!("console=ttyS0 quiet panic=-1 {words}");
    let builder = VmBuilder::new(open_kvm(), kernel)
        .initrd(File::open(images::initramfs()).unwrap())
        .command_line(CommandLine::new(text).unwrap())
        .console(ConsoleConfig {
            input: None,
            output: output.into(),
            escapes: false,
        });
    (builder, Transcript::of(console))
}

/// This disk, called `id`, for a machine.
pub fn block(disk: &DiskFile, id: &str) -> DeviceConfig {
    let file = File::options().read(true).write(true).open(disk.path());
    DeviceConfig::Block(BlockConfig {
        file: file.unwrap(),
        id: id.parse().unwrap(),
        options: DiskOptions::default(),
        key: None,
        limits: None,
        volume: None,
    })
}
