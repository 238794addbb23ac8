//! Disks and volumes on a host that fails for a while: for want of room, or
//! because the device behind them does.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use guest_tests::write_log::{assert_holds_records_from, last_acknowledged_of};
use guest_tests::{Guest, Running, SmallHost, Stream, Tally, Volumes, wait};
use outer::Dice;
use rustix::process::Signal;
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// Bytes of the stream that a volume holds before its log.
const CONTENT: u64 = 4 * MIB;

/// The number of the first record behind it.
const FIRST: u64 = CONTENT / 4096 + 1;

/// What one of the guest's disks is, and does when its host fails.
struct Disk {
    device: &'static str,
    /// The log goes on by itself.
    waits: bool,
    first: u64,
    /// The last record that was durable before the cycle.
    last: u64,
}

/// A number that `cargo xtask crash` may give.
fn given(variable: &str, otherwise: u64) -> u64 {
    let given = std::env::var(variable);
    given.map_or(otherwise, |number| number.parse().unwrap())
}

/// Why the disk called `name` waits, if it does.
fn reason(volumes: &Volumes, name: &str) -> Option<String> {
    let show = volumes.plinth("vm show faulty --output json");
    let show: Value = serde_json::from_str(&show).unwrap();
    let devices = show["devices"].as_array().unwrap();
    let device = devices.iter().find(|device| device["name"] == name);
    Some(device?["waits"].as_str()?.to_owned())
}

/// Waits until each log has `more` records than before.
fn until_written(guest: &Running, disks: &[Disk], more: u64) {
    for disk in disks {
        let look = || last_acknowledged_of(disk.device, &guest.said());
        wait(look, |last| *last >= disk.last + more);
    }
}

/// A host is filled up again and again while guests write: to a block device
/// that fails then, with its page cache and without, and to volumes. Whoever is
/// to hear of it does, the others wait and go on; what was acknowledged is
/// there, and everything works again when there is room.
#[test]
fn nothing_is_lost_on_a_host_that_fails_and_everything_works_again() {
    let cycles = given("PLINTH_FAULT_CYCLES", 2);
    let mut host = SmallHost::new((48 + cycles) * MIB);
    let volumes = Volumes::in_directory(host.path());
    let serial = |id: String| id.replace('-', "");
    let _report = volumes.plinth("volume create report --size 64MiB");
    let patient = serial(volumes.plinth("volume create patient --size 64MiB"));
    let (failing, direct) = (host.block_device(64 * MIB), host.block_device(64 * MIB));
    let mut guest = Guest::new()
        .argument("--name", "faulty")
        .disk(format!("{failing},id=failing"))
        .disk(format!("{direct},direct,on-error=wait,id=direct"))
        .volume(&volumes, "report")
        .volume(&volumes, "patient,on-error=wait")
        .start();
    guest.wait_for("plinth-init: shell");
    let events = volumes.follow("vm events faulty");
    guest.type_in(&format!("guest disk write /dev/vdc {CONTENT} 7\n"));
    guest.wait_for("disk: wrote /dev/vdc");
    let snapshot = volumes.plinth("snapshot create report --wait");

    let disk = |device, waits, first| Disk {
        device,
        waits,
        first,
        last: first - 1,
    };
    let mut disks = [
        disk("/dev/vda", false, 1),
        disk("/dev/vdb", true, 1),
        disk("/dev/vdc", false, FIRST),
        disk("/dev/vdd", true, 1),
    ];
    for disk in disks.iter().filter(|disk| disk.waits) {
        guest.type_in(&format!(
            "guest disk log {} {} &\n",
            disk.device, disk.first
        ));
    }
    let mut dice = Dice::new(given("PLINTH_FAULT_SEED", 1));
    for _ in 0..cycles {
        for disk in disks.iter().filter(|disk| !disk.waits) {
            let (device, first) = (disk.device, disk.last + 1);
            guest.type_in(&format!(
                "(guest disk log {device} {first}; echo it ended {device} $?) &\n"
            ));
        }
        until_written(&guest, &disks, 1 + dice.below(20));
        let ended = |said: &str, device| said.matches(&format!("\nit ended {device}")).count();
        let before = guest.said();
        host.fill_up(dice.below(16));
        for disk in disks.iter().filter(|disk| !disk.waits) {
            let count = ended(&before, disk.device) + 1;
            wait(|| ended(&guest.said(), disk.device), |now| *now == count);
        }
        let full = wait(|| reason(&volumes, &patient), Option::is_some).unwrap();
        assert!(full.contains("No space left"), "{full}");
        let fails = wait(|| reason(&volumes, "direct"), Option::is_some).unwrap();
        assert!(fails.contains("os error"), "{fails}");
        let said = guest.said();
        for disk in &mut disks {
            disk.last = last_acknowledged_of(disk.device, &said);
        }
        host.give_room();
        let waiting: Vec<&Disk> = disks.iter().filter(|disk| disk.waits).collect();
        for disk in waiting {
            let look = || last_acknowledged_of(disk.device, &guest.said());
            wait(look, |last| *last > disk.last + 1);
        }
        wait(|| reason(&volumes, &patient), Option::is_none);
        for disk in &mut disks {
            disk.last = last_acknowledged_of(disk.device, &guest.said());
        }
    }

    // Blocks of a snapshot find no room, either, until there is some.
    let lazy = serial(volumes.plinth(&format!("volume create lazy --from {snapshot}")));
    host.fill_up(CONTENT / 4096 / 2);
    volumes.plinth("vm attach faulty --volume lazy,on-error=wait");
    guest.type_in(&format!(
        "until [ -b /dev/vde ]; do sleep 0.1; done; guest disk hash /dev/vde {CONTENT}\n"
    ));
    wait(|| reason(&volumes, &lazy), Option::is_some);
    host.give_room();
    let content = Stream::new(7, usize::try_from(CONTENT).unwrap());
    let tally = Tally::of(content);
    guest.wait_for(&format!("disk: holds /dev/vde {tally}"));

    let later = volumes.plinth("snapshot create patient --wait");
    volumes.plinth(&format!("snapshot verify {later}"));
    guest.signal(Signal::KILL);
    let said = guest.end().console;
    let events = events.end().console;
    for event in ["device-waits", "device-goes-on"] {
        let told = format!("\"event\":\"{event}\"");
        let mut lines = events.lines();
        let found = lines.any(|line| line.contains(&told) && line.contains(&patient));
        assert!(found, "no {event} of {patient} in:\n{events}");
    }
    let mut checked = 0;
    let files = [
        failing.into(),
        direct.into(),
        volumes.data("report"),
        volumes.data("patient"),
    ];
    for (disk, file) in disks.iter().zip(&files) {
        let last = last_acknowledged_of(disk.device, &said);
        assert_holds_records_from(file, disk.first, last);
        checked += last + 1 - disk.first;
    }
    for volume in ["report", "patient", "lazy"] {
        volumes.plinth(&format!("volume check {volume}"));
    }
    println!("{cycles} times the host failed, {checked} acknowledged records found");
}
