//! What goes on in an outer machine until its power is cut, and what is looked
//! for afterwards (`cargo xtask crash`). All of it is on one disk, /dev/vda.
//!
//! Everything that plinth has acknowledged is said, in lines that begin with
//! `ack`; they are given back to `verify` after the cut. What was under way may
//! be there or not, but whole.
#![allow(clippy::unwrap_used)] // Whatever goes wrong is a failed test.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use guest_tests::write_log::{assert_holds_records, last_acknowledged, records};
use guest_tests::{Guest, images};
use host::snapshot::block_reader::BlockReader;
use host::snapshot::chunk;
use host::snapshot::loader::source::Source;
use host::snapshot::store::Location;
use host::volume::copy::copy;
use host::volume::directory::Volumes;
use outer::Dice;
use serde_json::Value;
use volume::entry::State;

const MOUNT: &str = "/mnt/crash";
const DATA: &str = "/mnt/crash/plinth";

/// The volume that a guest writes its log to.
const LOG: &str = "log";

/// What names of its copies begin with.
const LIVE: &str = "live";

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["prepare"] => prepare(),
        ["verify", ledger] => {
            mount();
            verify(&Ledger::read(&fs::read_to_string(ledger).unwrap()));
        }
        ["work", ledger, seed] => {
            let ledger = Ledger::read(&fs::read_to_string(ledger).unwrap());
            work(&ledger, seed.parse().unwrap());
        }
        _ => panic!("crash-work prepare | verify LEDGER | work LEDGER SEED"),
    }
}

fn prepare() {
    run("mkfs.ext4", &["-q", "-F", "/dev/vda"]);
    mount();
    plinth("volume create log --size 64MiB").unwrap();
    plinth("volume create still --size 8MiB").unwrap();
    run("sync", &[]);
}

fn mount() {
    fs::create_dir_all(MOUNT).unwrap();
    run("mount", &["-t", "ext4", "/dev/vda", MOUNT]);
}

#[track_caller]
fn run(program: &str, words: &[&str]) {
    let status = Command::new(program).args(words).status().unwrap();
    assert!(status.success(), "{program} {words:?}: {status}");
}

/// What `plinth` says; or, if it refuses, why.
fn plinth(words: &str) -> Result<String, String> {
    let mut command = Command::new(images::program("plinth"));
    let command = command.args(words.split_whitespace());
    let output = command.env("PLINTH_DATA_DIR", DATA).output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned()),
        false => Err(format!(
            "{words}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// What was acknowledged in all cycles so far.
#[derive(Debug, Default)]
struct Ledger {
    /// The last record of the log.
    records: u64,
    /// Volumes, with the least size that each has.
    volumes: BTreeMap<String, u64>,
    /// Snapshots of the log, with the records that each has at least.
    snapshots: BTreeMap<String, u64>,
    /// Copies of the log, with the records that each has at least.
    copies: BTreeMap<String, u64>,
}

impl Ledger {
    fn read(text: &str) -> Self {
        let mut ledger = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |word: &str| word.parse::<u64>().unwrap();
            match words[..] {
                ["ack", "record", last] => ledger.records = ledger.records.max(number(last)),
                ["ack", "volume", name, bytes] => {
                    ledger.volumes.insert(name.to_owned(), number(bytes));
                }
                ["ack", "snapshot", id, count] => {
                    ledger.snapshots.insert(id.to_owned(), number(count));
                }
                ["ack", "copy", name, count] => {
                    ledger.copies.insert(name.to_owned(), number(count));
                }
                // From here on it may be there or not.
                ["ack", "deleting", name] => {
                    ledger.volumes.remove(name);
                    ledger.snapshots.remove(name);
                    ledger.copies.remove(name);
                }
                _ => {}
            }
        }
        ledger
    }
}

/// Asserts that everything in the ledger is there, and that nothing is broken.
fn verify(ledger: &Ledger) {
    let log = PathBuf::from(DATA).join("volumes").join(LOG).join("data");
    assert_holds_records(&log, ledger.records);
    let list = json("volume list --output json");
    let volumes = list.as_array().unwrap();
    for volume in volumes {
        let name = volume["name"].as_str().unwrap();
        if ledger.copies.contains_key(name) {
            // Whoever checks it has it filled afterwards.
            continue;
        }
        if name.starts_with(LIVE) {
            plinth(&format!("volume delete {name}")).unwrap();
            continue;
        }
        // A grow that was interrupted is completed; nothing else needs it.
        plinth(&format!("volume check {name} --repair")).unwrap();
        plinth(&format!("volume check {name}")).unwrap();
    }
    for (name, least) in &ledger.volumes {
        let found = volumes.iter().find(|volume| volume["name"] == **name);
        let found = found.unwrap_or_else(|| panic!("volume {name} is lost"));
        let size = found["size_bytes"].as_u64().unwrap();
        assert!(size >= *least, "volume {name} has {size} bytes of {least}");
    }
    let list = json("snapshot list --output json");
    let found: BTreeSet<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .filter(|snapshot| snapshot["state"] == "completed")
        .map(|snapshot| snapshot["id"].as_str().unwrap())
        .collect();
    for id in &found {
        plinth(&format!("snapshot verify {id}")).unwrap();
    }
    for (id, count) in &ledger.snapshots {
        assert!(found.contains(&**id), "snapshot {id} is lost");
        assert_snapshot_holds(id, *count);
    }
    for (name, count) in &ledger.copies {
        assert_copy_holds(name, *count);
    }
    plinth("snapshot collect").unwrap();
    println!(
        "verified {} records {} volumes {} snapshots {} copies",
        ledger.records,
        volumes.len(),
        found.len(),
        ledger.copies.len()
    );
}

/// Asserts that the first `count` records are in copy `name` of the log: in its
/// own data, or where it has its blocks from. Some are filled then, others stay as
/// they are.
fn assert_copy_holds(name: &str, count: u64) {
    let volumes = Volumes::at(&PathBuf::from(DATA));
    let copy = volumes.find(&name.parse().unwrap()).unwrap();
    let store = Location::Directory(PathBuf::from(DATA).join("snapshots"));
    let loaded = copy.is_loaded().unwrap();
    let mut source = (!loaded).then(|| Source::open(&copy, &store).unwrap());
    let mut map = copy.read_map().unwrap();
    let data = File::open(copy.data()).unwrap();
    let expected = records(count);
    let mut block = chunk::empty();
    for (index, expected) in (0..).zip(expected.chunks(block.len())) {
        match &mut source {
            Some(source) if map.get(index).unwrap().state == State::Absent => {
                source.read(index, &mut block).unwrap();
            }
            _ => {
                let at = u64::from(index) * block.len() as u64;
                data.read_exact_at(&mut block[..], at).unwrap();
            }
        }
        assert_eq!(
            block[..expected.len()],
            *expected,
            "block {index} of {name}"
        );
    }
    if name.ends_with(['0', '2', '4', '6', '8']) {
        plinth(&format!("volume load {name}")).unwrap();
        assert_holds_records(&copy.data(), count);
        plinth(&format!("volume check {name}")).unwrap();
    }
}

fn json(words: &str) -> Value {
    serde_json::from_str(&plinth(words).unwrap()).unwrap()
}

/// Asserts that the first `count` records are in snapshot `id` of the log.
fn assert_snapshot_holds(id: &str, count: u64) {
    let store = Location::Directory(PathBuf::from(DATA).join("snapshots"));
    let mut reader = BlockReader::open(store.open().unwrap(), id.parse().unwrap()).unwrap();
    let expected = records(count);
    let mut block = chunk::empty();
    for (index, expected) in (0..).zip(expected.chunks(block.len())) {
        reader.read(index, &mut block).unwrap();
        assert_eq!(block[..expected.len()], *expected, "block {index} of {id}");
    }
}

/// Works until power is cut: a guest writes its log, and plinth is kept busy.
fn work(ledger: &Ledger, seed: u64) {
    let count = Arc::new(AtomicU64::new(ledger.records));
    let guest = Arc::clone(&count);
    let writer = thread::spawn(move || write_log(&guest));
    let mut dice = Dice::new(seed);
    let mut snapshots: Vec<String> = ledger.snapshots.keys().cloned().collect();
    let mut copies: Vec<String> = ledger.copies.keys().cloned().collect();
    while !writer.is_finished() {
        let first = ledger.records;
        if let Err(refused) = keep_busy(&mut dice, first, &count, &mut snapshots, &mut copies) {
            // A backtrace takes so long here that the power may go first.
            eprintln!("{refused}");
            std::process::exit(1);
        }
    }
    writer.join().unwrap();
}

fn write_log(count: &AtomicU64) {
    let first = count.load(Ordering::SeqCst) + 1;
    let guest = Guest::new()
        .argument("--volume", LOG)
        .command(&format!("guest disk log /dev/vda {first}"));
    let mut process = guest.process();
    process.env("PLINTH_DATA_DIR", DATA).stdin(Stdio::null());
    let mut child = process.stdout(Stdio::piped()).spawn().unwrap();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let last = last_acknowledged(&line);
        if last > 0 {
            count.store(last, Ordering::SeqCst);
            println!("ack record {last}");
        }
    }
    panic!("the guest ended: {}", child.wait().unwrap());
}

/// Copies the log, and has nobody fill the copy.
fn copy_and_leave(name: &str) -> Result<(), String> {
    let volumes = Volumes::at(&PathBuf::from(DATA));
    let mut log = volumes.find(&LOG.parse().unwrap()).unwrap();
    let copied = copy(&volumes, &mut log, name.parse().unwrap());
    copied.map(drop).map_err(|error| error.report())
}

/// Does one thing that changes what is on the disk.
fn keep_busy(
    dice: &mut Dice,
    first: u64,
    count: &AtomicU64,
    snapshots: &mut Vec<String>,
    copies: &mut Vec<String>,
) -> Result<(), String> {
    let runs = count.load(Ordering::SeqCst) > first;
    match dice.below(9) {
        // Until its guest runs, plinth itself has the volume now and then.
        0 | 1 if runs => {
            let before = count.load(Ordering::SeqCst);
            let id = plinth("snapshot create log --wait")?;
            println!("ack snapshot {id} {before}");
            snapshots.push(id);
        }
        2 => {
            let data = PathBuf::from(DATA).join("volumes/still/data");
            let bytes = fs::metadata(data).unwrap().len() + (1 << 20);
            plinth(&format!("volume resize still {bytes}"))?;
            println!("ack volume still {bytes}");
        }
        3 if snapshots.len() > 2 => {
            let at = dice.below(snapshots.len() as u64);
            let id = snapshots.swap_remove(usize::try_from(at).unwrap());
            println!("ack deleting {id}");
            plinth(&format!("snapshot delete {id}"))?;
        }
        5 | 6 if runs && copies.len() < 4 => {
            let before = count.load(Ordering::SeqCst);
            let name = format!("{LIVE}{}", dice.below(1 << 32));
            match dice.chance(50) {
                true => plinth(&format!("volume copy log {name}")).map(drop)?,
                false => copy_and_leave(&name)?,
            }
            println!("ack copy {name} {before}");
            copies.push(name);
        }
        7 if copies.len() > 1 => {
            let at = dice.below(copies.len() as u64);
            let name = copies.swap_remove(usize::try_from(at).unwrap());
            plinth(&format!("volume load {name}"))?;
            println!("ack deleting {name}");
            plinth(&format!("volume delete {name}"))?;
        }
        4 => {
            let name = format!("copy{}", dice.below(1 << 32));
            plinth(&format!("volume copy still {name}"))?;
            // Another of its kind may be made before this one is filled.
            plinth(&format!("volume load {name}"))?;
            let data = PathBuf::from(DATA).join("volumes").join(&name).join("data");
            println!("ack volume {name} {}", fs::metadata(data).unwrap().len());
            if dice.chance(80) {
                println!("ack deleting {name}");
                plinth(&format!("volume delete {name}"))?;
            }
        }
        _ => {
            // Somebody may be storing a snapshot.
            let _ = plinth("snapshot collect");
            let mut byte = [0];
            let still = File::open(PathBuf::from(DATA).join("volumes/still/data"));
            still.unwrap().read_at(&mut byte, 0).unwrap();
        }
    }
    Ok(())
}
