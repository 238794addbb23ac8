//! Memory that changes while the guest runs: what it frees goes back to the
//! host, a balloon takes it and gives it back, and there can be more of it.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs;

use guest_images::run_word;
use guest_tests::{Guest, Running, Transcript, embedded, wait};
use vmm::config::DeviceConfig;
use vmm::{Backing, MemoryConfig, MemoryLayout, MemoryStatus, Vm};

const MIB: u64 = 1 << 20;

/// A figure of /proc/PID/status, in MiB.
fn status(guest: &Running, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", guest.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() / 1024
}

#[test]
fn what_a_guest_frees_goes_back_to_the_host() {
    let command = "guest memory 300M; echo waiting; read line; guest memory 300M; guest report";
    let guest = Guest::new().memory("512M").flag("--balloon");
    let mut guest = guest.command(command).start();
    guest.wait_for("waiting");
    let most = status(&guest, "VmHWM:");
    assert!(most >= 300, "{most}");
    wait(|| status(&guest, "VmRSS:"), |now| now + 200 <= most);
    // It can be used again.
    guest.type_in("this\n");
    let outcome = guest.end().succeeds();
    assert_eq!(outcome.console.matches("memory: touched bytes").count(), 2);
}

#[test]
fn a_kernel_uses_memory_that_comes_later_without_being_asked() {
    let command = "cat /sys/devices/system/memory/auto_online_blocks";
    let outcome = |memory| {
        Guest::new()
            .memory(memory)
            .command(command)
            .run()
            .succeeds()
    };
    outcome("256M,max=1G").says("online\n");
    outcome("256M").says("offline\n");
}

/// A machine with 256 MiB and a balloon that can grow to 512 MiB; it tells
/// once a second how much memory it has.
fn start() -> (Vm, Transcript) {
    let command = "while :; do grep MemTotal /proc/meminfo; sleep 1; done";
    let (builder, console) = embedded(&format!(
        "memhp_default_state=online memory_hotplug.online_policy=auto-movable {}",
        run_word(command)
    ));
    let layout = MemoryLayout::new(256 * MIB).unwrap();
    let vm = builder
        .memory(MemoryConfig {
            layout: layout.growing_to(512 * MIB).unwrap(),
            backing: Backing::Anonymous,
            transparent_huge_pages: Some(true),
            prefault: false,
        })
        .device(DeviceConfig::Balloon)
        .build()
        .and_then(vmm::PausedVm::start)
        .unwrap();
    (vm, console)
}

/// What the guest says last of all memory that it has, in MiB.
fn total(console: &Transcript) -> u64 {
    let text = console.text();
    let last = text.lines().rev().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.strip_suffix(" kB")?;
        kib.trim().parse::<u64>().ok()
    });
    last.unwrap_or(0) / 1024
}

#[test]
fn a_balloon_takes_memory_and_gives_it_back() {
    let (vm, console) = start();
    assert!(console.shows("MemTotal:"));
    let balloon = |status: &MemoryStatus| status.balloon.clone().unwrap();
    let look = || vm.memory().unwrap();
    let free = |status: &MemoryStatus| balloon(status).statistics.and_then(|said| said.free);
    let before = free(&wait(look, |status| free(status).is_some())).unwrap();

    vm.set_balloon(64 * MIB).unwrap();
    let status = wait(look, |status| balloon(status).actual_bytes == 64 * MIB);
    assert!(balloon(&status).inflated_bytes >= 64 * MIB, "{status:?}");
    wait(look, |status| free(status).unwrap() + 32 * MIB < before);

    vm.set_balloon(0).unwrap();
    let status = wait(look, |status| balloon(status).actual_bytes == 0);
    assert!(balloon(&status).deflated_bytes >= 64 * MIB, "{status:?}");
    wait(look, |status| free(status).unwrap() + 32 * MIB > before);
    vm.set_balloon(256 * MIB).unwrap_err();
}

#[test]
fn memory_grows_and_shrinks_while_the_guest_runs() {
    let (vm, console) = start();
    // A whole line of it.
    wait(|| total(&console), |total| *total > 0);
    let before = total(&console);
    assert!((200..=256).contains(&before), "{before}");
    let look = || vm.memory().unwrap().plugged_bytes;
    for _ in 0..2 {
        vm.set_memory(512 * MIB).unwrap();
        wait(look, |plugged| *plugged == 512 * MIB);
        wait(|| total(&console), |total| *total == before + 256);
        vm.set_memory(256 * MIB).unwrap();
        wait(look, |plugged| *plugged == 256 * MIB);
        wait(|| total(&console), |total| *total == before);
    }
    vm.set_memory(513 * MIB).unwrap_err();
}
