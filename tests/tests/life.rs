//! A machine's life, as whoever operates it brings it about: it starts anew,
//! shuts down, gains vCPUs; and as the guest does: it hangs, it panics.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs::{self, File};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use guest_images::run_word;
use guest_tests::{BOUND, BareKernel, DiskFile, Guest, Transcript, block, embedded, open_kvm};
use vmm::config::DeviceConfig;
use vmm::{CpuCount, Event, OnReset, StopReason, VmBuilder};

/// A machine with the stock kernel, two vCPUs and `disk`, and its console.
fn machine(words: &str, disk: &DiskFile) -> (VmBuilder, Transcript) {
    let (builder, console) = embedded(words);
    let builder = builder
        .cpus(CpuCount::new(2).unwrap())
        .device(DeviceConfig::Rng)
        .device(block(disk, "data"));
    (builder, console)
}

/// Everything that happens to a machine until its end, which is waited for no
/// longer than it may take.
#[track_caller]
fn until_its_end(events: &Receiver<Event>, console: &Transcript) -> Vec<Event> {
    let mut told = Vec::new();
    loop {
        match events.recv_timeout(BOUND) {
            Ok(event) => told.push(event),
            Err(RecvTimeoutError::Disconnected) => return told,
            Err(RecvTimeoutError::Timeout) => panic!("{told:?}, then nothing: {}", console.text()),
        }
    }
}

/// Writes to the disk the first time, and finds it there the second.
const WRITE_THEN_VERIFY: &str = "if guest disk verify /dev/vda 64K 7; then guest report; \
                                 else guest disk write /dev/vda 64K 7; reboot -f; fi";

#[test]
fn a_guest_that_reboots_finds_its_disk_and_its_console_in_the_same_process() {
    let disk = DiskFile::empty(1 << 20);
    let (builder, console) = machine(&run_word(WRITE_THEN_VERIFY), &disk);
    let paused = builder.build().unwrap();
    let events = paused.events();
    let vm = paused.start().unwrap();
    let told = until_its_end(&events, &console);
    let expected = [
        Event::Started,
        Event::ResetRequested,
        Event::Restarted,
        Event::Stopped(StopReason::PowerOff),
    ];
    assert_eq!(told, expected);
    let said = console.finish();
    assert_eq!(said.matches("plinth-init: up").count(), 2, "{said}");
    assert!(said.contains("disk: wrote /dev/vda"), "{said}");
    assert!(said.contains("report: cpus 2\n"), "{said}");
    let statistics = vm.statistics();
    let (first, again) = (statistics.first_entry_us, statistics.reset_us);
    println!("to the first instruction: {first:?} us, after a reset {again:?} us");
    assert!(first.is_some() && again.is_some() && statistics.exits.is_some());
}

#[test]
fn plinth_run_reboots_unless_it_is_told_to_stop() {
    let disk = DiskFile::empty(1 << 20);
    let guest = Guest::new().that_reboots().disk(&disk);
    let outcome = guest.command(WRITE_THEN_VERIFY).run().succeeds();
    outcome.says("disk: wrote /dev/vda");
    assert_eq!(outcome.after("report: cpus "), "1");
}

/// Counts its runs in memory; resets itself if it is the first to do so, or
/// else crashes.
const COUNTS_IN_MEMORY: [u8; 59] = [
    0x48, 0xa1, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, // mov rax, [0x2000000]
    0x48, 0x85, 0xc0, // test rax, rax
    0x75, 0x12, // jnz to lidt
    0x48, 0xff, 0x04, 0x25, 0x00, 0x00, 0x00, 0x02, // inc qword [0x2000000]
    0xb0, 0x01, // mov al, 1
    0x66, 0xba, 0x04, 0x06, // mov dx, 0x604
    0xee, // out dx, al
    0xf4, // hlt
    0xeb, 0xfd, // jmp to hlt
    0x0f, 0x01, 0x1d, 0x01, 0x00, 0x00, 0x00, // lidt [rip + 1]
    0xcc, // int3
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // limit and base
    0, 0, 0, 0, 0, 0, 0, 0,
];

#[test]
fn memory_holds_nothing_of_the_guest_before() {
    let kernel = BareKernel::of(&COUNTS_IN_MEMORY);
    let builder = VmBuilder::new(open_kvm(), File::open(&kernel).unwrap());
    let paused = builder.build().unwrap();
    let events = paused.events();
    let vm = paused.start().unwrap();
    for _ in 0..5 {
        let restarted = events.iter().find(|event| *event == Event::Restarted);
        assert!(restarted.is_some(), "{}", vm.wait());
    }
    vm.stop().unwrap();
    // It may have had its way once more in between.
    let last = vm.wait();
    assert_eq!(last, StopReason::Stopped, "{last}");
}

#[test]
fn a_reset_that_is_to_end_the_machine_ends_it() {
    let kernel = BareKernel::of(&COUNTS_IN_MEMORY);
    let builder = VmBuilder::new(open_kvm(), File::open(&kernel).unwrap());
    let vm = builder.on_reset(OnReset::Stop).build().unwrap();
    assert_eq!(vm.start().unwrap().wait(), StopReason::Reset);
}

/// The number of entries in a directory of this process.
fn count(directory: &str) -> usize {
    let entries = fs::read_dir(format!("/proc/self/{directory}"));
    entries.unwrap().count()
}

/// Reads its disk, for ever.
const READ: &str = "while :; do guest disk hash /dev/vda 1M; done";

#[test]
fn resets_in_the_midst_of_work_leave_nothing_behind() {
    let disk = DiskFile::empty(1 << 20);
    let (builder, console) = machine(&run_word(READ), &disk);
    let vm = builder.build().unwrap().start().unwrap();
    let mut before = None;
    for run in 1..=3 {
        let holds = "disk: holds /dev/vda";
        let deadline = Instant::now() + BOUND;
        // One run's console shows this before the next says that it is up.
        while said_since_up(&console, run, holds) == 0 {
            assert!(Instant::now() < deadline, "{}", console.text());
            thread::sleep(Duration::from_millis(100));
        }
        let now = (count("task"), count("fd"));
        assert_eq!(*before.get_or_insert(now), now, "run {run}");
        vm.reset().unwrap();
    }
    vm.stop().unwrap();
}

/// How often `text` was said since init said for the `run`th time that it is
/// up.
fn said_since_up(console: &Transcript, run: usize, text: &str) -> usize {
    let said = console.text();
    let since = said.split("plinth-init: up").nth(run);
    since.map_or(0, |since| since.matches(text).count())
}

#[test]
fn a_guest_that_ignores_its_power_button_is_ended_at_the_deadline() {
    let disk = DiskFile::empty(1 << 20);
    let (builder, console) = machine(&run_word(READ), &disk);
    let vm = builder.build().unwrap().start().unwrap();
    assert!(console.shows("disk: holds /dev/vda"));
    let patience = Duration::from_millis(500);
    vm.shutdown(patience).unwrap();
    assert_eq!(vm.wait(), StopReason::PowerCut { patience });
}

/// Waits for a third vCPU, uses it, and tells how many there are.
const USE_THIRD: &str = "cpu=/sys/devices/system/cpu/cpu2; echo waiting; \
                         until [ -e $cpu/online ]; do sleep 0.1; done; \
                         echo 1 > $cpu/online; guest report; \
                         cat /sys/devices/system/cpu/possible";

#[test]
fn a_guest_uses_a_vcpu_that_was_added() {
    let disk = DiskFile::empty(1 << 20);
    let (builder, console) = machine(&run_word(USE_THIRD), &disk);
    let builder = builder.max_cpus(CpuCount::new(4).unwrap());
    let vm = builder.build().unwrap().start().unwrap();
    assert!(console.shows("waiting\n"), "{}", console.text());
    let described = vm.describe().unwrap();
    assert_eq!((described.cpus, described.max_cpus), (2, 4));
    let events = vm.events();
    vm.set_cpus(CpuCount::new(3).unwrap()).unwrap();
    let told = until_its_end(&events, &console);
    assert_eq!(told, [Event::Stopped(StopReason::PowerOff)]);
    let said = console.finish();
    for line in ["report: cpus 3\n", "\n0-3\n"] {
        assert!(said.contains(line), "{said}");
    }
}

/// Answers its watchdog for longer than that waits, and hangs. The next run
/// finds that it did.
const HANG: &str = "if grep -q 32 /sys/class/watchdog/watchdog0/bootstatus; \
                    then echo reset by the watchdog; \
                    else watchdog -F -T 10 -t 1 /dev/watchdog & sleep 15; \
                    echo answered; kill -9 $!; sleep 600; fi";

#[test]
fn a_guest_that_hangs_is_reset_by_its_watchdog_and_finds_that_it_was() {
    let disk = DiskFile::empty(1 << 20);
    let (builder, console) = machine(&run_word(HANG), &disk);
    let paused = builder.watchdog().build().unwrap();
    let events = paused.events();
    let _vm = paused.start().unwrap();
    let told = until_its_end(&events, &console);
    let expected = [
        Event::Started,
        Event::Watchdog,
        Event::Restarted,
        Event::Stopped(StopReason::PowerOff),
    ];
    assert_eq!(told, expected, "{}", console.text());
    let said = console.finish();
    assert!(said.contains("\nanswered\n"), "{said}");
    assert!(said.contains("\nreset by the watchdog\n"), "{said}");
}

#[test]
fn a_guest_that_panics_says_so_before_it_resets_itself() {
    let disk = DiskFile::empty(1 << 20);
    let words = run_word("echo c > /proc/sysrq-trigger");
    let (builder, console) = machine(&words, &disk);
    let paused = builder.on_reset(OnReset::Stop).build().unwrap();
    let events = paused.events();
    let _vm = paused.start().unwrap();
    let expected = [
        Event::Started,
        Event::GuestPanicked,
        Event::ResetRequested,
        Event::Stopped(StopReason::Reset),
    ];
    let told = until_its_end(&events, &console);
    assert_eq!(told, expected, "{}", console.text());
}
