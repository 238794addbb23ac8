//! A guest's memory: as much as it was given, where it belongs, of what it
//! was asked to be made of.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs;

use guest_tests::{Guest, Outcome, Running};

/// What the kernel counts as memory is what the machine has, less the kernel
/// itself and what it keeps for booting.
#[track_caller]
fn has_memory(outcome: &Outcome, mib: u64) {
    let kib = outcome.after("report: memory ").trim_end_matches(" KiB");
    let kib: u64 = kib.parse().unwrap();
    assert!((mib * 850..mib * 1024).contains(&kib), "{kib} of {mib} MiB");
}

#[test]
fn the_smallest_guest_boots() {
    let guest = Guest::new().memory("96M").command("guest report");
    guest.run().succeeds();
}

#[test]
fn memory_lies_on_both_sides_of_the_hole_below_4_gib() {
    let command = "guest report; grep 'System RAM' /proc/iomem";
    let guest = Guest::new().memory("3584M").command(command);
    let outcome = guest.run().succeeds();
    has_memory(&outcome, 3584);
    outcome.says("-bfffffff : System RAM\n");
    outcome.says("100000000-11fffffff : System RAM\n");
}

#[test]
fn memory_above_4_gib_can_be_used() {
    // All below 4 GiB but the first 256 MiB is taken away, and more than
    // those are needed.
    let guest = Guest::new().memory("3584M").word("memmap=2816M$256M");
    let outcome = guest.command("guest report; guest memory 400M").run();
    outcome.says("memory: touched bytes 419430400\n");
    has_memory(&outcome.succeeds(), 768);
}

/// A guest of 256 MiB that waits for a line, after its kernel has booted.
fn waiting(guest: Guest) -> Running {
    let command = "guest report; echo waiting; read line; echo got $line";
    let guest = guest.memory("256M").command(command).start();
    guest.wait_for("waiting");
    guest
}

/// Lets a waiting guest go on to its end.
fn let_go(mut guest: Running) {
    guest.type_in("this\n");
    let outcome = guest.end().succeeds();
    outcome.says("got this\n");
    has_memory(&outcome, 256);
}

/// A figure of /proc/PID/smaps_rollup, in MiB.
fn rollup(guest: &Running, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", guest.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() / 1024
}

#[test]
fn memory_is_taken_as_it_is_touched() {
    let guest = waiting(Guest::new());
    assert!(rollup(&guest, "Rss:") < 200);
    let_go(guest);
}

#[test]
fn prefaulted_memory_is_taken_at_once() {
    let guest = waiting(Guest::new().flag("--prefault"));
    let taken = rollup(&guest, "Rss:");
    assert!(taken >= 256, "{taken}");
    let_go(guest);
}

#[test]
fn transparent_huge_pages_are_used_unless_refused() {
    let _only = Setting::change("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
    let without = waiting(Guest::new().argument("--huge-pages", "off"));
    assert_eq!(rollup(&without, "AnonHugePages:"), 0);
    drop(without);
    let guest = waiting(Guest::new());
    assert!(rollup(&guest, "AnonHugePages:") >= 32);
    let_go(guest);
}

#[test]
fn shared_memory_is_a_memory_file() {
    let guest = waiting(Guest::new().argument("--memory-backing", "shared"));
    let maps = fs::read_to_string(format!("/proc/{}/maps", guest.pid())).unwrap();
    assert!(
        maps.contains(" rw-s ") && maps.contains("/memfd:"),
        "{maps}"
    );
    let_go(guest);
}

/// A setting of this host's kernel; what it was before comes back.
struct Setting {
    path: &'static str,
    before: String,
}

impl Setting {
    fn change(path: &'static str, value: &str) -> Self {
        let shown = fs::read_to_string(path).unwrap();
        // Of several choices, the present one is in brackets.
        let chosen = shown.split(['[', ']']).nth(1).unwrap_or(&shown);
        let before = chosen.trim().to_owned();
        fs::write(path, value).unwrap();
        Self { path, before }
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = fs::write(self.path, &self.before);
    }
}

const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

#[test]
fn memory_of_huge_pages_needs_them_in_the_pool() {
    let huge = || Guest::new().argument("--memory-backing", "hugetlb-2m");
    {
        let _empty = Setting::change(POOL, "0");
        let outcome = huge().memory("256M").command("true").run().ends_with(3);
        outcome.complains("128 huge pages of 2 MiB, and 0 are free");
        outcome.complains("nr_hugepages");
    }
    let _reserved = Setting::change(POOL, "128");
    let guest = waiting(huge());
    assert!(rollup(&guest, "Private_Hugetlb:") + rollup(&guest, "Shared_Hugetlb:") >= 32);
    let_go(guest);
}
