//! Copies that are not filled yet, and who fills them.

use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use host::volume::copy::copy;
use host::volume::directory::Volumes;

use super::*;

const BLOCK: u64 = 512 * 1024;

/// A volume of 4 MiB whose blocks are each full of one byte, from 1 on.
fn source(machines: &Machines) {
    let made = volume(machines, &["create", "root", "--size", "4MiB"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let path = path(machines, "root", "map");
    let map = File::options().read(true).write(true).open(path).unwrap();
    let mut map = ::volume::map::BlockMap::open(map).unwrap();
    for block in 0..8u8 {
        let bytes = vec![block + 1; usize::try_from(BLOCK).unwrap()];
        let at = u64::from(block) * BLOCK;
        data(machines, "root").write_all_at(&bytes, at).unwrap();
        map.touch(block.into()).unwrap();
    }
    map.close().unwrap();
}

/// A copy of it that nobody fills. None where the file system shares extents.
fn lacking_copy(machines: &Machines) -> bool {
    let volumes = Volumes::at(&machines.path().join(DATA));
    let mut root = volumes.find(&"root".parse().unwrap()).unwrap();
    let copied = copy(&volumes, &mut root, "copy".parse().unwrap()).unwrap();
    copied.volume.record().copy_of.is_some()
}

fn assert_copied(machines: &Machines) {
    let mut block = vec![0; usize::try_from(BLOCK).unwrap()];
    for index in 0..8u8 {
        let at = u64::from(index) * BLOCK;
        data(machines, "copy")
            .read_exact_at(&mut block, at)
            .unwrap();
        assert!(block.iter().all(|byte| *byte == index + 1), "block {index}");
    }
}

/// A process that fills the copy, at a block in some seconds; it has begun when
/// this returns.
fn slow_loader(machines: &Machines) -> Child {
    data(machines, "copy").write_all_at(&[0xee], 0).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_plinth"))
        .args(["volume", "load", "copy", "--rate", "100000"])
        .env("PLINTH_DATA_DIR", machines.path().join(DATA))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut byte = [0xee];
    while byte != [1] {
        std::thread::sleep(Duration::from_millis(10));
        data(machines, "copy").read_exact_at(&mut byte, 0).unwrap();
    }
    child
}

#[test]
fn a_copy_is_filled_and_needs_its_source_no_more() {
    let machines = Machines::new();
    source(&machines);
    let copied = volume(&machines, &["copy", "root", "copy"]);
    assert_eq!(copied.code, 0, "{}", copied.err);
    assert_eq!(shown(&machines, "copy")["id"], copied.out.trim());
    let loaded = volume(&machines, &["load", "copy"]);
    assert_eq!(loaded.code, 0, "{}", loaded.err);
    assert_copied(&machines);
    assert!(shown(&machines, "copy").get("loaded_percent").is_none());
    assert_eq!(shown(&machines, "root")["copies"], serde_json::json!([]));
    let deleted = volume(&machines, &["delete", "root"]);
    assert_eq!(deleted.code, 0, "{}", deleted.err);
    let checked = volume(&machines, &["check", "copy"]);
    assert_eq!(checked.code, 0, "{}", checked.out);
}

#[test]
fn who_fills_a_copy_makes_way_for_who_wants_it() {
    let machines = Machines::new();
    source(&machines);
    if !lacking_copy(&machines) {
        return;
    }
    let loader = slow_loader(&machines);
    let list = volume(&machines, &["list"]).out;
    assert!(list.contains("% loaded"), "{list}");
    assert_eq!(shown(&machines, "copy")["state"], "available");
    volume(&machines, &["delete", "root"]).refused(
        CONFIGURATION,
        &[
            "needed until its copies are filled: 'copy'",
            "plinth volume load copy",
        ],
    );
    volume(
        &machines,
        &["export", "copy", "/nowhere", "--format", "raw"],
    )
    .refused(
        CONFIGURATION,
        &["'copy' is a copy of 'root' that is not filled yet"],
    );
    let grown = volume(&machines, &["resize", "copy", "5MiB"]);
    assert_eq!(grown.code, 0, "{}", grown.err);
    let ended = loader.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("somebody wants the volume"), "{said}");
    let loaded = volume(&machines, &["load", "copy"]);
    assert_eq!(loaded.code, 0, "{}", loaded.err);
    assert_copied(&machines);
}

#[test]
fn who_fills_a_copy_can_be_killed() {
    let machines = Machines::new();
    source(&machines);
    if !lacking_copy(&machines) {
        return;
    }
    for _ in 0..2 {
        let mut loader = slow_loader(&machines);
        loader.kill().unwrap();
        loader.wait().unwrap();
        // What it had written counts for nothing, and is not in the way.
        let bytes = [0xee; 64];
        data(&machines, "copy").write_all_at(&bytes, BLOCK).unwrap();
    }
    let loaded = volume(&machines, &["load", "copy"]);
    assert_eq!(loaded.code, 0, "{}", loaded.err);
    assert_copied(&machines);
}

#[test]
fn a_snapshot_or_a_copy_of_a_copy_waits_until_it_is_filled() {
    let machines = Machines::new();
    source(&machines);
    if !lacking_copy(&machines) {
        return;
    }
    let why = "'copy' is a copy of 'root' that is not filled yet: 0 % of it is there";
    let remedy = "plinth volume load copy, and then the same again";
    volume(&machines, &["copy", "copy", "next"]).refused(CONFIGURATION, &[why, remedy]);
    let snapshot = plinth_in(machines.path(), &["snapshot", "create", "copy"]);
    snapshot.refused(CONFIGURATION, &[why, remedy]);
    assert_eq!(volume(&machines, &["load", "copy"]).code, 0);
    let snapshot = plinth_in(machines.path(), &["snapshot", "create", "copy", "--wait"]);
    assert_eq!(snapshot.code, 0, "{}", snapshot.err);
    assert_eq!(volume(&machines, &["copy", "copy", "next"]).code, 0);
}

#[test]
fn a_copy_without_its_source_is_damaged() {
    let machines = Machines::new();
    source(&machines);
    if !lacking_copy(&machines) {
        return;
    }
    std::fs::remove_dir_all(path(&machines, "root", "")).unwrap();
    let checked = volume(&machines, &["check", "copy"]);
    assert!(
        checked.out.contains("it lacks blocks of the volume"),
        "{}",
        checked.out
    );
    assert_ne!(checked.code, 0);
    let attached = volume(&machines, &["load", "copy"]);
    attached.refused(CONFIGURATION, &["'copy' is damaged", "which is not there"]);
    assert_eq!(volume(&machines, &["delete", "copy"]).code, 0);
}
