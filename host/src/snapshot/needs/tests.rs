use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use ::volume::BLOCK;
use ::volume::entry::{Generation, State};
use ::volume::freeze::Plan;
use ::volume::map::BlockMap;

use super::*;
use crate::snapshot::create;
use crate::snapshot::lock::Adding;
use crate::snapshot::object;
use crate::snapshot::store::{Directory, Store};
use crate::snapshot::test_blocks::text;
use crate::snapshot::test_volume::{contents, id, of_texts};
use crate::volume::fixture::{Fixture, report};
use crate::volume::freezing::freeze_at_rest;
use crate::volume::new_volume::NewVolume;
use crate::volume::record::Record;

fn plan(volume: &Volume, number: u32, parent: Option<u32>) -> Plan {
    Plan {
        purpose: id(number).into(),
        volume: volume.record().id,
        created: 7,
        boot: boot_id::read().unwrap(),
        parent: parent.map(|parent| (id(parent), Generation::FIRST)),
    }
}

/// Writes text into a block, as the process of a machine does.
fn write(volume: &Volume, index: u32, seed: u32) {
    let open = |path| {
        fs::File::options()
            .read(true)
            .write(true)
            .open(path)
            .unwrap()
    };
    let mut map = BlockMap::open(open(volume.map())).unwrap();
    map.touch(index).unwrap();
    let data = open(volume.data());
    data.write_all_at(&*text(seed), u64::from(index) * BLOCK)
        .unwrap();
    map.close().unwrap();
}

#[test]
fn nobody_needs_what_no_volume_names() {
    let f = Fixture::new();
    f.make("data");
    let needs = Needs::of(&f.volumes).unwrap();
    assert_eq!(needs.user(id(1)), None);
    assert!(needs.chunks().unwrap().is_empty());
}

#[test]
fn a_volume_that_is_being_loaded_needs_its_origin() {
    let f = Fixture::new();
    let root = f.make("root");
    let record = Record {
        name: "data".parse().unwrap(),
        origin: Some(id(1)),
        ..root.record().clone()
    };
    let volume = NewVolume::begin(&f.volumes, record, State::Absent).unwrap();
    volume.finish().unwrap();
    let needs = Needs::of(&f.volumes).unwrap();
    let user = needs.user(id(1)).unwrap();
    assert_eq!(user, "volume 'data', which is being loaded from it");
    assert_eq!(needs.user(id(2)), None);
}

#[test]
fn a_snapshot_that_is_not_stored_needs_its_parent() {
    let f = Fixture::new();
    let volume = f.make("data");
    let pending = volume
        .plan_freeze(id(2), &plan(&volume, 2, Some(1)))
        .unwrap();
    let user = |number| Needs::of(&f.volumes).unwrap().user(id(number));
    assert_eq!(user(1), None);
    freeze_at_rest(&volume, &pending).unwrap();
    let who = format!("snapshot {} of volume 'data'", id(2));
    assert_eq!(user(1), Some(format!("{who}, which is not stored yet")));
    pending.remove();
    assert_eq!(user(1), None);
}

#[test]
fn what_was_stored_for_a_snapshot_under_way_is_needed() {
    let f = Fixture::new();
    let volume = f.make("data");
    let pending = volume.plan_freeze(id(1), &plan(&volume, 1, None)).unwrap();
    freeze_at_rest(&volume, &pending).unwrap();
    let digest = Digest::of(b"abc");
    pending.view().unwrap().take(3, digest.as_bytes()).unwrap();
    let needs = Needs::of(&f.volumes).unwrap();
    assert_eq!(needs.chunks().unwrap(), HashSet::from([digest]));
    pending.remove();
    assert!(needs.chunks().unwrap().is_empty());
}

#[test]
fn nothing_is_known_while_a_volume_is_damaged() {
    let f = Fixture::new();
    let volume = f.make("data");
    fs::write(volume.directory().join("volume.json"), "{").unwrap();
    let report = report(Needs::of(&f.volumes));
    let told = "it is not known which snapshots volume 'data' needs: ";
    assert!(report.starts_with(told), "{report}");
}

#[test]
fn a_frozen_volume_is_stored_as_it_was() {
    let f = Fixture::new();
    let data = f.directory.path();
    let store: Arc<dyn Store> = Arc::new(Directory::new(data.join("snapshots")));
    let mut volume = f.make("data");
    write(&volume, 1, 11);
    write(&volume, 2, 12);
    let pending = volume.plan_freeze(id(1), &plan(&volume, 1, None)).unwrap();
    freeze_at_rest(&volume, &pending).unwrap();
    let lock = Adding::wait(data).unwrap();
    let figures = create::store(&mut volume, &pending, "first", &*store, &lock, &mut |_| {});
    assert_eq!(figures.unwrap().stored_blocks, 2);
    assert_eq!(contents(&store, 1).unwrap(), of_texts(&[(1, 11), (2, 12)]));
    assert_eq!(object::record(&*store, id(1)).unwrap().description, "first");

    write(&volume, 2, 22);
    let taken = volume.record().snapshots[0];
    let next = Plan {
        parent: Some((taken.snapshot, taken.generation)),
        ..plan(&volume, 2, None)
    };
    let pending = volume.plan_freeze(id(2), &next).unwrap();
    freeze_at_rest(&volume, &pending).unwrap();
    let figures = create::store(&mut volume, &pending, "", &*store, &lock, &mut |_| {});
    let figures = figures.unwrap();
    assert_eq!((figures.read_blocks, figures.stored_blocks), (1, 1));
    assert_eq!(contents(&store, 2).unwrap(), of_texts(&[(1, 11), (2, 22)]));
}
