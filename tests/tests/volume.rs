//! Volumes: disks that outlive their machines, and what they were at a moment.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use guest_tests::write_log::{acknowledgement, assert_holds_records, last_acknowledged, records};
use guest_tests::{Guest, Tally, Volumes};
use rustix::process::Signal;

const LOG: &str = "guest disk log /dev/vda";

/// How many machines are killed; `cargo xtask crash` says more.
fn cycles() -> u64 {
    let asked = std::env::var("PLINTH_KILL_CYCLES");
    asked.map_or(2, |number| number.parse().unwrap())
}

/// Which records of the log `said` tells to be durable: their bytes and digest.
fn tally(count: u64) -> String {
    Tally::of(&*records(count)).to_string()
}

#[test]
fn what_was_acknowledged_is_on_the_volume_though_its_machine_was_killed() {
    let volumes = Volumes::new();
    let id = volumes.plinth("volume create data --size 64MiB");
    let (cycles, mut checked) = (cycles(), 0);
    for cycle in 0..cycles {
        let guest = Guest::new().volume(&volumes, "data").command(LOG).start();
        guest.wait_for(&acknowledgement(17 + 23 * (cycle % 97)));
        volumes.refuses("volume delete data", &["'data' is attached to machine"]);
        guest.signal(Signal::KILL);
        let count = last_acknowledged(&guest.end().console);
        assert_holds_records(&volumes.data("data"), count);
        volumes.plinth("volume check data");
        checked += count;
    }
    println!("{cycles} machines killed, {checked} acknowledged records found");
    let serial = id.replace('-', "");
    let reading = "cat /sys/block/vda/serial";
    let guest = Guest::new().volume(&volumes, "data").command(reading);
    guest.run().succeeds().says(&serial);
}

#[test]
fn a_snapshot_is_what_was_there_at_one_moment_and_makes_a_volume_at_once() {
    let volumes = Volumes::new();
    volumes.plinth("volume create data --size 64MiB");
    let guest = Guest::new().volume(&volumes, "data").command(LOG).start();
    guest.wait_for(&acknowledgement(20));
    let before = last_acknowledged(&guest.said());
    let first = volumes.plinth("snapshot create data --wait");
    guest.wait_for(&acknowledgement(before + 150));
    let later = last_acknowledged(&guest.said());
    let second = volumes.plinth("snapshot create data --wait");
    guest.wait_for(&acknowledgement(later + 20));
    guest.signal(Signal::KILL);
    guest.end();
    volumes.plinth(&format!("snapshot verify {first}"));
    volumes.plinth(&format!("snapshot verify {second}"));

    for (name, snapshot, count) in [("old", &first, before), ("new", &second, later)] {
        volumes.plinth(&format!("volume create {name} --from {snapshot}"));
        volumes.refuses(
            &format!("snapshot delete {snapshot}"),
            &["in use", &format!("'{name}'")],
        );
        let reading = format!("guest disk hash /dev/vda {}", count * 4096);
        let guest = Guest::new().volume(&volumes, name).command(&reading);
        let outcome = guest.run().succeeds();
        outcome.says(&format!("disk: holds /dev/vda {}", tally(count)));
    }
    // What was written to the one is in no other.
    let guest = Guest::new().volume(&volumes, "old");
    let outcome = guest.command("guest disk write /dev/vda 1M 7").run();
    outcome.succeeds();
    let reading = format!("guest disk hash /dev/vda {}", later * 4096);
    let guest = Guest::new().volume(&volumes, "new").command(&reading);
    guest.run().succeeds().says(&tally(later));
    for name in ["old", "new", "data"] {
        volumes.plinth(&format!("volume check {name}"));
    }
}

#[test]
fn snapshots_of_all_volumes_of_a_machine_are_of_one_moment() {
    let volumes = Volumes::new();
    let key = volumes.key();
    volumes.plinth("volume create plain --size 64MiB");
    volumes.plinth(&format!(
        "volume create secret --size 64MiB --encrypted --key-file {}",
        key.display()
    ));
    let web = Guest::new().volume(&volumes, "plain").detach();
    let mut console = web.console();
    console.wait_for("plinth-init: shell");
    web.vm("attach --volume secret");
    console.type_in(
        "until [ -b /dev/vdb ]; do sleep 0.1; done; guest disk log-both /dev/vda /dev/vdb\n",
    );
    console.wait_for(&acknowledgement(20));
    let before = last_acknowledged(&console.said());
    let snapshots = web.host("snapshot create --vm web --wait");
    let told: Vec<&str> = snapshots.lines().collect();
    assert_eq!(told.len(), 2, "{snapshots}");
    console.wait_for(&acknowledgement(before + 10));
    web.vm("kill");

    let of = |name: &str| {
        let list = volumes.plinth("snapshot list --output json");
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let mut list = list.as_array().unwrap().iter();
        let one = list.find(|one| one["volume_name"] == name).unwrap();
        one["id"].as_str().unwrap().to_owned()
    };
    let shown = volumes.plinth(&format!("snapshot show {}", of("secret")));
    assert!(shown.contains(&*key.to_string_lossy()), "{shown}");
    volumes.plinth(&format!("volume create old --from {}", of("plain")));
    volumes.plinth(&format!("volume create older --from {}", of("secret")));
    let outcome = Guest::new()
        .volume(&volumes, "old")
        .volume(&volumes, "older")
        .command("guest disk count /dev/vda; guest disk count /dev/vdb")
        .run()
        .succeeds();
    let counted = |device: &str| {
        let said = outcome.console.lines().map(str::trim_end);
        let mut counts = said.filter_map(|line| {
            let (count, of) = line.strip_prefix("disk: counted ")?.split_once(" of ")?;
            (of == device).then(|| count.parse::<u64>().unwrap())
        });
        counts.next().unwrap()
    };
    let (plain, secret) = (counted("/dev/vda"), counted("/dev/vdb"));
    // Each record was durable on the one before it was written to the other.
    assert!(
        plain == secret || plain == secret + 1,
        "{plain} and {secret}"
    );
    assert!(secret + 1 >= before, "{secret} of {before}");
    // What is encrypted is nowhere to be read, and nothing is without its key.
    let data = std::fs::read(volumes.data("secret")).unwrap();
    let record = &records(7)[6 * 4096..];
    assert!(!data.chunks(record.len()).any(|bytes| bytes == record));
    std::fs::write(&key, [7; 32]).unwrap();
    for name in ["secret", "older"] {
        let guest = Guest::new().volume(&volumes, name);
        let refused = guest.run().ends_with(2);
        refused.complains("key");
        assert_eq!(refused.console, "", "the guest has not started");
    }
}

#[test]
fn a_copy_is_what_was_there_at_one_moment_and_a_machine_has_it_at_once() {
    let volumes = Volumes::new();
    volumes.plinth("volume create data --size 64MiB");
    let guest = Guest::new().volume(&volumes, "data").command(LOG).start();
    guest.wait_for(&acknowledgement(150));
    let before = last_acknowledged(&guest.said());
    volumes.plinth("volume copy data copy");
    let reading = format!("guest disk hash /dev/vda {}", before * 4096);
    let reader = Guest::new().volume(&volumes, "copy").command(&reading);
    let outcome = reader.run().succeeds();
    outcome.says(&format!("disk: holds /dev/vda {}", tally(before)));
    // Its source has gone on meanwhile.
    guest.wait_for(&acknowledgement(before + 50));
    guest.signal(Signal::KILL);
    let last = last_acknowledged(&guest.end().console);
    volumes.plinth("volume load copy");
    volumes.plinth("volume check data");
    assert_holds_records(&volumes.data("data"), last);
    volumes.plinth("volume delete data");
    volumes.plinth("volume check copy");
    assert_holds_records(&volumes.data("copy"), before);
}
