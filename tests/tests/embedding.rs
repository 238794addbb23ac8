//! The library in a process that is not plinth's: machines that are paused,
//! that live side by side, and that leave nothing behind.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs::{self, File};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use guest_images::run_word;
use guest_tests::write_log::{acknowledgement, assert_holds_records, last_acknowledged};
use guest_tests::{BOUND, BareKernel, DiskFile, Transcript, block, embedded, images, open_kvm};
use vmm::config::DeviceConfig;
use vmm::{CpuCount, Crash, CrashCause, Event, OnReset, StopReason, Vm, VmBuilder};

/// A machine with two vCPUs, a disk and a source of random numbers that runs
/// `command`, and its console.
fn start(command: &str) -> (Vm, Transcript) {
    let disk = DiskFile::empty(1 << 20);
    let (builder, console) = embedded(&run_word(command));
    let vm = builder
        .on_reset(OnReset::Stop)
        .cpus(CpuCount::new(2).unwrap())
        .device(DeviceConfig::Rng)
        .device(block(&disk, "data"))
        .build()
        .and_then(vmm::PausedVm::start)
        .unwrap();
    (vm, console)
}

/// Counts on the console, one line for each number.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo at $i; guest disk hash /dev/vda 64K; done";

#[test]
fn a_paused_machine_stands_still_and_then_goes_on() {
    let (vm, console) = start(COUNT);
    assert!(console.shows("at 3\n"));
    let events = vm.events();
    vm.pause().unwrap();
    vm.pause().unwrap();
    let paused = settled(&console);
    thread::sleep(Duration::from_secs(2));
    assert_eq!(console.text(), paused);

    let last = paused.matches("at ").count();
    vm.resume().unwrap();
    assert!(console.shows(&format!("at {}\n", last + 3)));
    vm.stop().unwrap();
    let heard: Vec<Event> = events.iter().collect();
    let expected = [
        Event::Paused,
        Event::Resumed,
        Event::Stopped(StopReason::Stopped),
    ];
    assert_eq!(heard, expected);
}

#[test]
fn a_machine_paused_under_writes_leaves_its_disk_alone_and_loses_none() {
    let disk = DiskFile::empty(8 << 20);
    let (builder, console) = embedded(&run_word("guest disk log /dev/vda"));
    let builder = builder.device(block(&disk, "data"));
    let vm = builder.build().and_then(vmm::PausedVm::start).unwrap();
    for pause in 1..=10 {
        let busy = acknowledgement(7 * pause);
        assert!(console.shows(&busy), "{}", console.text());
        vm.pause().unwrap();
        let held = disk.tally();
        thread::sleep(Duration::from_millis(100));
        assert_eq!(disk.tally().to_string(), held.to_string());
        vm.resume().unwrap();
    }
    assert!(console.shows(&acknowledgement(80)), "{}", console.text());
    vm.stop().unwrap();
    assert_holds_records(disk.path(), last_acknowledged(&console.finish()));
}

/// What the console shows once what was said before a pause has arrived.
fn settled(console: &Transcript) -> String {
    let deadline = Instant::now() + BOUND;
    let mut text = console.text();
    loop {
        thread::sleep(Duration::from_secs(1));
        let later = console.text();
        if later == text {
            return text;
        }
        assert!(Instant::now() < deadline, "the console does not settle");
        text = later;
    }
}

#[test]
fn two_machines_live_in_one_process() {
    let (first, first_console) = start("guest report; guest disk write /dev/vda 1M 1");
    let (second, second_console) = start("guest report; guest disk write /dev/vda 1M 2");
    assert_eq!(first.wait(), StopReason::PowerOff);
    assert_eq!(second.wait(), StopReason::PowerOff);
    for console in [first_console.finish(), second_console.finish()] {
        assert!(console.contains("report: cpus 2\n"), "{console}");
        assert!(console.contains("disk: wrote /dev/vda"), "{console}");
    }
    assert!(first.statistics().first_entry_us.is_some());
}

#[test]
fn a_crash_is_told_to_whoever_waits() {
    // An interrupt table without entries, then an interrupt.
    let kernel = BareKernel::of(&[
        0x0f, 0x01, 0x1d, 0x01, 0x00, 0x00, 0x00, // lidt [rip + 1]
        0xcc, // int3
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // limit and base
    ]);
    let builder = VmBuilder::new(open_kvm(), File::open(&kernel).unwrap());
    let paused = builder.build().unwrap();
    let events = paused.events();
    let vm = paused.start().unwrap();
    let reason = vm.wait();
    let StopReason::Crashed(Crash { vcpu: 0, cause, .. }) = &reason else {
        panic!("{reason}");
    };
    assert_eq!(*cause, CrashCause::TripleFault);
    assert_eq!(events.iter().last(), Some(Event::Stopped(reason)));
    assert!(vm.pause().is_err());
}

/// The number of entries in a directory of this process.
fn count(directory: &str) -> usize {
    fs::read_dir(format!("/proc/self/{directory}"))
        .unwrap()
        .count()
}

/// The mappings that only a machine has: KVM's, and any that is
/// as large as its memory. (An allocator's are 64 MiB and less.)
fn machine_mappings() -> Vec<String> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let is_large = |line: &str| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let address = |text| u64::from_str_radix(text, 16).unwrap();
        address(end) - address(start) >= 128 << 20
    };
    maps.lines()
        .filter(|line| line.contains("kvm") || is_large(line))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_dropped_machine_leaves_no_thread_descriptor_or_mapping() {
    let (threads, descriptors) = (count("task"), count("fd"));
    for _ in 0..2 {
        let (vm, console) = start(COUNT);
        assert!(console.shows("at 3\n"));
        assert!(count("task") > threads + 3 && count("fd") > descriptors + 10);
        // Two vCPUs' and the memory.
        assert!(machine_mappings().len() >= 3);
        drop(vm);
        drop(console.finish());
        // The kernel takes a joined thread out of its lists a little later.
        let deadline = Instant::now() + BOUND;
        while count("task") > threads && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!((count("task"), count("fd")), (threads, descriptors));
        assert_eq!(machine_mappings(), Vec::<String>::new());
    }
}

#[test]
fn a_machine_that_was_never_started_leaves_nothing_either() {
    let descriptors = count("fd");
    let kernel = File::open(&images::kernel().vmlinux).unwrap();
    drop(VmBuilder::new(open_kvm(), kernel).build().unwrap());
    assert_eq!(count("fd"), descriptors);
    assert_eq!(machine_mappings(), Vec::<String>::new());
}

#[test]
fn the_example_boots_a_kernel() {
    let output = Command::new(images::example("boot"))
        .arg(&images::kernel().vmlinux)
        .arg(images::initramfs())
        .arg(format!("console=ttyS0 quiet {}", run_word("guest report")))
        .output()
        .unwrap();
    let console = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(console.contains("report: cpus 2\r\n"), "{console}");
}
