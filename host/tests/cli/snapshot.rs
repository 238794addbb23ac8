//! `plinth snapshot`, with snapshots that a test has stored.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use host::boot_id;
use host::snapshot::chunk::{BLOCK, Block};
use host::snapshot::digest::Digest;
use host::snapshot::lock::Adding;
use host::snapshot::manifest::Header;
use host::snapshot::record::About;
use host::snapshot::store::{Directory, Name};
use host::snapshot::upload::{BlockSource, Upload, upload};
use host::volume::directory::{Volume, Volumes};
use host::volume::freezing::freeze_at_rest;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use serde_json::Value;
use volume::entry::Generation;
use volume::fetch::{self, Answer, Request, Wish};
use volume::freeze::{Plan, Share};
use volume::id::SnapshotId;
use volume::map::BlockMap;
use volume::size::VolumeSize;

use crate::machine::{DATA, Machines};
use crate::plinth::{Run, plinth_in};

const CONFIGURATION: i32 = 2;
const HOST: i32 = 3;
const BLOCKS: u32 = 8;

/// A volume whose blocks are each full of one byte; 0 for zeroes.
struct Bytes([u8; BLOCKS as usize]);

impl BlockSource for Bytes {
    fn share(&mut self, _: u32) -> io::Result<Share> {
        Ok(Share::Data)
    }

    fn read(&mut self, index: u32, block: &mut Block) -> io::Result<()> {
        block.fill(self.0[index as usize]);
        Ok(())
    }

    fn taken(&self, _: u32) -> io::Result<Option<Digest>> {
        Ok(None)
    }

    fn take(&self, _: u32, _: &Digest) -> io::Result<()> {
        Ok(())
    }
}

fn id(number: u32) -> SnapshotId {
    format!("snap-{number:017x}").parse().unwrap()
}

fn take(machines: &Machines, number: u32, bytes: [u8; BLOCKS as usize]) {
    let data = machines.path().join(DATA);
    let to_store = Upload {
        header: Header {
            snapshot: id(number),
            volume: "vol-00000000000000001".parse().unwrap(),
            size: VolumeSize::new(u64::from(BLOCKS) * BLOCK as u64).unwrap(),
            created: u64::from(number),
            generation: Generation::FIRST,
            parent: None,
        },
        about: About {
            volume_name: "web".into(),
            description: "before the \x1b[31mupgrade".into(),
            encryption: None,
        },
        origin: None,
        source: &mut Bytes(bytes),
    };
    // Not that of the commands: children of other tests would have it, too, until
    // they are executed.
    let elsewhere = tempfile::tempdir().unwrap();
    let lock = Adding::wait(elsewhere.path()).unwrap();
    let store = Directory::new(data.join("snapshots"));
    upload(to_store, &store, &lock, &mut |_| {}).unwrap();
}

fn snapshot(machines: &Machines, arguments: &[&str]) -> Run {
    plinth_in(machines.path(), &[&["snapshot"], arguments].concat())
}

fn json(machines: &Machines, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--output", "json"]].concat();
    serde_json::from_str(&snapshot(machines, &arguments).out).unwrap()
}

fn chunk(machines: &Machines, byte: u8) -> PathBuf {
    let name = Name::Chunk(Digest::of(&[byte; BLOCK]));
    let store = machines.path().join(DATA).join("snapshots");
    store.join(name.to_string())
}

#[test]
fn snapshots_are_listed_shown_compared_and_deleted() {
    let machines = Machines::new();
    let none = snapshot(&machines, &["list"]);
    assert_eq!(
        (none.code, none.err.as_str()),
        (0, "There are no snapshots.\n")
    );
    take(&machines, 1, [1, 2, 3, 3, 0, 0, 0, 0]);
    take(&machines, 2, [1, 9, 9, 3, 4, 0, 0, 0]);
    let (first, second) = (id(1).to_string(), id(2).to_string());

    let list = snapshot(&machines, &["list"]);
    let lines: Vec<&str> = list.out.lines().collect();
    assert!(lines[0].starts_with("ID "), "{}", list.out);
    assert!(
        lines[1].starts_with(&format!("{first}  web     4.00 MiB  2.00 MiB")),
        "{}",
        list.out
    );
    assert!(
        lines[1].ends_with("completed  before the [31mupgrade"),
        "{}",
        list.out
    );
    assert!(lines[2].starts_with(&second), "{}", list.out);
    let elsewhere = ["list", "--volume", "vol-00000000000000002"];
    assert_eq!(json(&machines, &elsewhere), serde_json::json!([]));

    let shown = json(&machines, &["show", &first]);
    assert_eq!(shown["data_bytes"], 4 * BLOCK);
    assert_eq!(shown["volume_name"], "web");
    assert_eq!(shown["encrypted"], false);
    let shown = snapshot(&machines, &["show", &first]);
    assert!(
        shown.out.contains("web, vol-00000000000000001"),
        "{}",
        shown.out
    );

    let diff = snapshot(&machines, &["diff", &first, &second]);
    let lines: Vec<&str> = diff.out.lines().collect();
    assert_eq!(lines[0], "OFFSET   LENGTH   BLOCKS  CHANGE");
    assert_eq!(lines[1], "512 KiB  1 MiB    1-2     changed");
    assert_eq!(lines[2], "2 MiB    512 KiB  4       added");
    let diff = json(&machines, &["diff", &second, &first]);
    assert_eq!(diff[1]["change"], "zeroed");
    assert_eq!(diff[1]["offset_bytes"], 4 * BLOCK);

    assert_eq!(snapshot(&machines, &["delete", &first]).code, 0);
    assert!(!chunk(&machines, 2).exists());
    assert!(chunk(&machines, 3).exists());
    let verified = snapshot(&machines, &["verify"]);
    assert_eq!((verified.code, verified.err.as_str()), (0, ""));
    assert_eq!(
        verified.out,
        format!("{second}: whole, 5 blocks, 2.50 MiB\n")
    );
    let gone = snapshot(&machines, &["show", &first]);
    gone.refused(
        CONFIGURATION,
        &["there is no snapshot", &first, "plinth snapshot list"],
    );
}

#[test]
fn what_a_deletion_leaves_is_collected() {
    let machines = Machines::new();
    take(&machines, 1, [1, 2, 0, 0, 0, 0, 0, 0]);
    take(&machines, 2, [2, 0, 0, 0, 0, 0, 0, 0]);
    let first = id(1).to_string();
    let deleted = snapshot(&machines, &["delete", "--keep-chunks", &first]);
    assert_eq!(deleted.code, 0, "{}", deleted.err);
    assert!(chunk(&machines, 1).exists());
    let collected = json(&machines, &["collect"]);
    assert_eq!(collected["freed_chunks"], 1);
    assert_eq!(collected["kept_chunks"], 1);
    let again = snapshot(&machines, &["collect"]);
    assert!(
        again.out.starts_with("freed 0 B in 0 objects; "),
        "{}",
        again.out
    );
    assert!(
        again
            .out
            .ends_with("in 1 chunks are kept for 1 snapshots\n"),
        "{}",
        again.out
    );
}

#[test]
fn while_a_snapshot_is_stored_nothing_is_collected() {
    let machines = Machines::new();
    take(&machines, 1, [1; BLOCKS as usize]);
    let storing = Adding::wait(&machines.path().join(DATA)).unwrap();
    let deleted = snapshot(&machines, &["delete", &id(1).to_string()]);
    assert_eq!(deleted.code, 0);
    assert!(
        deleted.err.contains("plinth snapshot collect will free"),
        "{}",
        deleted.err
    );
    let collected = snapshot(&machines, &["collect"]);
    collected.refused(HOST, &["snapshots are being stored", "collect --wait"]);
    assert!(chunk(&machines, 1).exists());
    drop(storing);
    assert_eq!(json(&machines, &["collect", "--wait"])["freed_chunks"], 1);
}

/// A volume named `data`, changed in one block.
fn changed_volume(machines: &Machines) -> Volume {
    let arguments = ["volume", "create", "data", "--size", "2MiB"];
    let run = plinth_in(machines.path(), &arguments);
    assert_eq!(run.code, 0, "{}", run.err);
    let volumes = Volumes::at(&machines.path().join(DATA));
    let volume = volumes.find(&"data".parse().unwrap()).unwrap();
    let file = File::options().read(true).write(true).open(volume.map());
    let data = File::options().write(true).open(volume.data()).unwrap();
    data.write_all_at(b"x", BLOCK as u64).unwrap();
    let mut map = BlockMap::open(file.unwrap()).unwrap();
    map.touch(1).unwrap();
    map.close().unwrap();
    volume
}

/// Freezes it, for nobody to store.
fn frozen(volume: &Volume, number: u32) {
    let plan = Plan {
        purpose: id(number).into(),
        volume: volume.record().id,
        created: 1,
        boot: boot_id::read().unwrap(),
        parent: None,
    };
    let pending = volume.plan_freeze(id(number), &plan).unwrap();
    freeze_at_rest(volume, &pending).unwrap();
}

#[test]
fn a_volume_is_kept_as_it_is() {
    let machines = Machines::new();
    changed_volume(&machines);
    let created = snapshot(
        &machines,
        &["create", "data", "--wait", "--description", "x"],
    );
    assert_eq!(created.code, 0, "{}", created.err);
    let listed = json(&machines, &["list"]);
    assert_eq!(listed[0]["id"], created.out.trim());
    assert_eq!(listed[0]["state"], "completed");
    assert_eq!(listed[0]["description"], "x");
    assert_eq!(listed[1], Value::Null);
}

#[test]
fn a_snapshot_that_is_not_stored_yet_is_listed_and_can_be_given_up() {
    let machines = Machines::new();
    let volume = changed_volume(&machines);
    frozen(&volume, 5);
    let fifth = id(5).to_string();
    let list = snapshot(&machines, &["list"]);
    assert!(list.out.contains("pending, 0 %"), "{}", list.out);
    let shown = json(&machines, &["show", &fifth]);
    assert_eq!(
        (&shown["blocks"], &shown["stored_blocks"]),
        (&1.into(), &0.into())
    );

    let storing = Adding::wait(&machines.path().join(DATA)).unwrap();
    let deleted = snapshot(&machines, &["delete", &fifth]);
    deleted.refused(HOST, &["snapshots are being stored"]);
    drop(storing);
    assert_eq!(snapshot(&machines, &["collect", "--wait"]).code, 0);
    let deleted = snapshot(&machines, &["delete", &fifth]);
    assert_eq!(deleted.code, 0, "{}", deleted.err);
    assert_eq!(json(&machines, &["list"]), serde_json::json!([]));
    assert!(volume.pending_snapshots().unwrap().is_empty());
}

#[test]
fn blocks_are_loaded_by_a_process_of_their_own() {
    let machines = Machines::new();
    take(&machines, 1, [7, 0, 0, 0, 0, 0, 0, 9]);
    let flags = SocketFlags::CLOEXEC;
    let ends = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
    let (ours, theirs) = ends.unwrap();
    let from = ["volume", "create", "lazy", "--from", &id(1).to_string()];
    assert_eq!(plinth_in(machines.path(), &from).code, 0);
    let path = machines.path().join(DATA).join("volumes/lazy/data");
    let data = File::options().read(true).write(true).open(path).unwrap();
    let mut loader = Command::new(env!("CARGO_BIN_EXE_plinth"))
        .args(["load-blocks", "--volume", "lazy"])
        .env("PLINTH_DATA_DIR", machines.path().join(DATA))
        .arg("--store")
        .arg(machines.path().join(DATA).join("snapshots"))
        .stdin(theirs)
        .stdout(data.try_clone().unwrap())
        .spawn()
        .unwrap();
    let request = Request {
        block: 7,
        wish: Wish::Urgent,
    };
    send(&ours, &request.encode(), SendFlags::NOSIGNAL).unwrap();
    let mut message = [0; fetch::SIZE];
    recv(&ours, &mut message, RecvFlags::empty()).unwrap();
    let answer = Answer {
        block: 7,
        loaded: true,
    };
    assert_eq!(Answer::decode(&message), Some(answer));
    let mut block = vec![0; BLOCK];
    data.read_exact_at(&mut block, 7 * BLOCK as u64).unwrap();
    assert!(block == [9; BLOCK]);
    drop(ours);
    assert!(loader.wait().unwrap().success());
}

#[test]
fn a_volume_knows_the_store_of_the_snapshot_that_it_was_made_from() {
    let machines = Machines::new();
    take(&machines, 1, [7, 0, 0, 0, 0, 0, 0, 9]);
    let data = machines.path().join(DATA);
    let elsewhere = machines.path().join("elsewhere");
    fs::rename(data.join("snapshots"), &elsewhere).unwrap();
    let (from, store) = (id(1).to_string(), elsewhere.to_str().unwrap());
    for arguments in [
        &[
            "volume", "create", "lazy", "--from", &from, "--store", store,
        ][..],
        &["volume", "load", "lazy"],
    ] {
        let run = plinth_in(machines.path(), arguments);
        assert_eq!(run.code, 0, "{}", run.err);
    }
    let bytes = fs::read(data.join("volumes/lazy/data")).unwrap();
    assert_eq!((bytes[0], bytes[BLOCK], bytes[7 * BLOCK]), (7, 0, 9));
}

#[test]
fn damage_is_found_and_told() {
    let machines = Machines::new();
    take(&machines, 1, [1, 2, 3, 0, 0, 0, 0, 0]);
    take(&machines, 2, [4; BLOCKS as usize]);
    fs::remove_file(chunk(&machines, 2)).unwrap();
    let mut bytes = fs::read(chunk(&machines, 3)).unwrap();
    bytes[20] ^= 1;
    fs::write(chunk(&machines, 3), bytes).unwrap();
    let run = snapshot(&machines, &["verify"]);
    run.refused(HOST, &["a snapshot is damaged"]);
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(lines[0], format!("{}: 2 of 3 blocks cannot be had", id(1)));
    assert!(
        lines[2].starts_with("1 ") && lines[2].ends_with("missing"),
        "{}",
        run.out
    );
    assert!(lines[3].contains("its checksum is wrong"), "{}", run.out);
    assert!(lines[4].contains("whole, 8 blocks"), "{}", run.out);
    let document = json(&machines, &["verify"]);
    assert_eq!(document[0]["findings"][0]["fault"], "missing");
    assert_eq!(document[1]["findings"], serde_json::json!([]));
}

#[test]
fn a_wrong_store_or_snapshot_is_refused() {
    let machines = Machines::new();
    let first = id(1).to_string();
    let run = |arguments: &[&str]| snapshot(&machines, arguments);
    run(&["list", "--store", "/nonexistent"])
        .refused(CONFIGURATION, &["there is no store '/nonexistent'"]);
    run(&["list", "--store", "ftp://x"]).refused(CONFIGURATION, &["'ftp:' is not known here"]);
    run(&["list", "--store", "s3://x"]).refused(CONFIGURATION, &["a bucket's name"]);
    run(&["show", "snap-1"]).refused(CONFIGURATION, &["17 hexadecimal digits"]);
    run(&["delete"]).refused(CONFIGURATION, &["<SNAPSHOT>"]);
    for verb in ["show", "delete", "verify"] {
        run(&[verb, &first]).refused(CONFIGURATION, &["there is no snapshot", &first]);
    }
    run(&["diff", &first, &first]).refused(CONFIGURATION, &["there is no snapshot"]);
}
