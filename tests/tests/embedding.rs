//! The library in a process that is not plinth's: machines that are paused,
//! that live side by side, and that leave nothing behind.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs::{self, File};
use std::io::{PipeReader, Read};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use guest_images::run_word;
use guest_tests::{DiskFile, images};
use vmm::config::{BlockConfig, ConsoleConfig, DeviceConfig};
use vmm::{CommandLine, CpuCount, DiskId, DiskOptions, Event, StopReason, Vm, VmBuilder};

/// A machine with two vCPUs and a disk that runs `command`, and its console.
fn machine(command: &str) -> (Vm, PipeReader) {
    let (console, output) = std::io::pipe().unwrap();
    let kvm = File::options().read(true).write(true).open("/dev/kvm");
    let text = format!("console=ttyS0 quiet {}", run_word(command));
    let disk = DiskFile::empty(1 << 20);
    let open = File::options().read(true).write(true).open(disk.path());
    let vm = VmBuilder::new(
        kvm.unwrap().into(),
        File::open(&images::kernel().vmlinux).unwrap(),
    )
    .initrd(File::open(images::initramfs()).unwrap())
    .command_line(CommandLine::new(text).unwrap())
    .cpus(CpuCount::new(2).unwrap())
    .console(ConsoleConfig {
        input: None,
        output: output.into(),
    })
    .device(DeviceConfig::Rng)
    .device(DeviceConfig::Block(BlockConfig {
        file: open.unwrap(),
        id: "data".parse::<DiskId>().unwrap(),
        options: DiskOptions::default(),
    }))
    .build()
    .unwrap()
    .start()
    .unwrap();
    (vm, console)
}
