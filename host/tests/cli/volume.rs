//! `plinth volume`, and volumes of machines that answer what a test says.

mod attached;
mod copies;
mod encrypted;
mod images;

use std::fs::File;
use std::path::PathBuf;

use rustix::fs::{FlockOperation, fcntl_lock};
use serde_json::Value;

use crate::machine::{DATA, Machines};
use crate::plinth::{Run, plinth_in};

const CONFIGURATION: i32 = 2;

fn volume(machines: &Machines, arguments: &[&str]) -> Run {
    plinth_in(machines.path(), &[&["volume"], arguments].concat())
}

/// A volume of 2 MiB called `name`; gives its serial number.
fn create(machines: &Machines, name: &str) -> String {
    let run = volume(machines, &["create", name, "--size", "2MiB"]);
    assert_eq!(run.code, 0, "{}", run.err);
    run.out.trim().replace('-', "")
}

fn path(machines: &Machines, name: &str, file: &str) -> PathBuf {
    let volumes = machines.path().join(DATA).join("volumes");
    volumes.join(name).join(file)
}

fn data(machines: &Machines, name: &str) -> File {
    let path = path(machines, name, "data");
    File::options().read(true).write(true).open(path).unwrap()
}

/// Waits until nobody holds the volume's lock: another test's child may have a
/// copy of its descriptor until it is executed.
fn wait_until_free(machines: &Machines, name: &str) {
    let data = data(machines, name);
    fcntl_lock(&data, FlockOperation::LockExclusive).unwrap();
}

fn shown(machines: &Machines, name: &str) -> Value {
    let run = volume(machines, &["show", name, "--output", "json"]);
    serde_json::from_str(&run.out).unwrap()
}

#[test]
fn a_volume_is_made_listed_shown_and_deleted() {
    let machines = Machines::new();
    let none = volume(&machines, &["list"]);
    assert_eq!(
        (none.code, none.err.as_str()),
        (0, "There are no volumes.\n")
    );

    let run = volume(&machines, &["create", "data", "--size", "20GiB"]);
    let id = run.out.trim();
    assert!(id.starts_with("vol-") && id.len() == 21, "{id}");
    let line = format!("data  {id}  20 GiB  0 bytes  standard  3000  125    available");
    assert!(volume(&machines, &["list"]).out.contains(&line));
    for selector in ["data", id] {
        let shown = shown(&machines, selector);
        assert_eq!(shown["id"], id);
        assert_eq!(shown["serial"], id.replace('-', ""));
        assert_eq!(shown["size_bytes"], 20_u64 << 30);
        assert_eq!(shown["state"], "available");
    }
    assert_eq!(volume(&machines, &["delete", id]).code, 0);
    assert_eq!(volume(&machines, &["list", "--output", "json"]).out, "[]\n");
}

#[test]
fn a_name_that_is_taken_unknown_or_none_is_refused() {
    let machines = Machines::new();
    volume(&machines, &["show", "data"]).refused(
        CONFIGURATION,
        &["there is no volume 'data', and no other", "try: making one"],
    );
    create(&machines, "data");
    volume(&machines, &["create", "data", "--size", "1G"])
        .refused(CONFIGURATION, &["there is a volume 'data' already"]);
    for verb in [
        &["show"][..],
        &["delete"],
        &["resize", "1G"],
        &["modify", "--iops", "5000"],
    ] {
        let arguments = [&verb[..1], &["log"], &verb[1..]].concat();
        volume(&machines, &arguments).refused(
            CONFIGURATION,
            &["there is no volume 'log'", "try: one of data"],
        );
        let arguments = [&verb[..1], &["../data"], &verb[1..]].concat();
        volume(&machines, &arguments).refused(CONFIGURATION, &["'../data'", "letters, digits"]);
    }
    volume(&machines, &["show", "vol-0123456789abcdef0"]).refused(
        CONFIGURATION,
        &["there is no volume 'vol-0123456789abcdef0'"],
    );
    for name in ["a/b", "..", ".hidden", "", "vol-0123456789abcdef0"] {
        volume(&machines, &["create", name, "--size", "1G"])
            .refused(CONFIGURATION, &["a volume's name"]);
    }
}

#[test]
fn a_size_or_speed_that_no_volume_has_is_refused() {
    let machines = Machines::new();
    for (size, why) in [
        ("0", "at least 1 MiB"),
        ("-1G", "a size is a whole number"),
        ("65TiB", "at most 64 TiB"),
        ("1048577", "not a multiple of 512"),
        ("20GB", "'GB' is not a unit"),
    ] {
        volume(&machines, &["create", "data", "--size", size]).refused(CONFIGURATION, &[why]);
    }
    let create = ["create", "data", "--size", "1G"];
    for (speed, why) in [
        (&["--iops", "100"][..], "100 IOPS are not to be had"),
        (&["--throughput", "9999"], "9999 MiB/s are not to be had"),
        (&["--type", "provisioned"], "--iops N is missing"),
        (
            &["--type", "magnetic"],
            "[possible values: standard, provisioned]",
        ),
    ] {
        volume(&machines, &[&create, speed].concat()).refused(CONFIGURATION, &[why]);
    }
    assert_eq!(volume(&machines, &["list", "--output", "json"]).out, "[]\n");
}

#[test]
fn a_detached_volume_grows_and_never_shrinks() {
    let machines = Machines::new();
    create(&machines, "data");
    let run = volume(&machines, &["resize", "data", "3GiB"]);
    assert_eq!((run.code, run.out.as_str()), (0, "3 GiB\n"), "{}", run.err);
    assert_eq!(data(&machines, "data").metadata().unwrap().len(), 3 << 30);
    volume(&machines, &["resize", "data", "1GiB"]).refused(
        CONFIGURATION,
        &[
            "volume 'data' has 3 GiB",
            "never shrinks",
            "try: 3221225472 or more",
        ],
    );
    volume(&machines, &["resize", "data", "3221226496"])
        .refused(CONFIGURATION, &["a multiple of 4096 bytes"]);
    assert_eq!(shown(&machines, "data")["size_bytes"], 3_u64 << 30);
}

#[test]
fn a_speed_is_changed_within_its_kind_s_bounds() {
    let machines = Machines::new();
    create(&machines, "data");
    assert_eq!(
        volume(&machines, &["modify", "data", "--iops", "6000"]).code,
        0
    );
    let changed = shown(&machines, "data");
    assert_eq!(
        (&changed["iops"], &changed["throughput_mib"]),
        (&6000.into(), &125.into())
    );
    volume(&machines, &["modify", "data", "--iops", "1"])
        .refused(CONFIGURATION, &["a standard volume has 3000 to 80000"]);
    volume(&machines, &["modify", "data"]).refused(CONFIGURATION, &["--iops"]);
    let kind = ["modify", "data", "--type", "provisioned", "--iops", "400"];
    assert_eq!(volume(&machines, &kind).code, 0);
    assert_eq!(shown(&machines, "data")["throughput_mib"], 100);
}

#[test]
fn a_volume_edited_behind_our_back_is_refused_and_harms_no_other() {
    let machines = Machines::new();
    for name in ["cut", "good", "torn"] {
        create(&machines, name);
    }
    data(&machines, "cut").set_len(1 << 20).unwrap();
    std::fs::write(path(&machines, "torn", "volume.json"), "{\"format\":1").unwrap();

    let list = volume(&machines, &["list"]);
    assert_eq!(list.code, 0);
    assert!(
        list.out
            .lines()
            .any(|line| line.starts_with("torn") && line.ends_with("damaged"))
    );
    volume(&machines, &["show", "torn"]).refused(
        3,
        &["volume 'torn' is damaged: volume.json is not understood"],
    );
    volume(&machines, &["resize", "cut", "1G"]).refused(
        CONFIGURATION,
        &["has been cut behind plinth's back: of 2 MiB, 1 MiB are left"],
    );
    for name in ["cut", "good", "torn"] {
        assert_eq!(volume(&machines, &["delete", name]).code, 0);
    }
}

#[test]
fn a_check_tells_clean_from_repairable_from_damaged() {
    let machines = Machines::new();
    create(&machines, "data");
    let check = |arguments: &[&str]| {
        let run = volume(&machines, &[&["check", "data"], arguments].concat());
        (run.code, run.out)
    };
    let clean = "data: clean; 0 blocks with data, 4 of zeroes, 0 to be loaded\n";
    assert_eq!(check(&[]), (0, clean.into()));
    data(&machines, "data").set_len(3 << 20).unwrap();
    let (code, out) = check(&[]);
    assert!(
        code == 1 && out.contains("growing the volume was interrupted"),
        "{out}"
    );
    assert!(out.contains("plinth volume check data --repair"), "{out}");
    let (code, out) = check(&["--repair"]);
    assert!(code == 0 && out.contains("data: repaired; "), "{out}");
    data(&machines, "data").set_len(1 << 20).unwrap();
    let (code, out) = check(&["--repair"]);
    assert!(code == 1 && out.contains("cut short"), "{out}");
    assert!(
        out.ends_with("data: damaged: some of it is lost\n"),
        "{out}"
    );
}
