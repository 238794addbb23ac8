use super::super::fixture::{Fixture, MIB, report};
use super::*;
use ::volume::entry::Generation;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};

fn copy(f: &Fixture, source: &mut Volume, name: &str) -> Result<Volume, Error> {
    super::copy(&f.volumes, source, name.parse().unwrap()).map(|copied| copied.volume)
}

#[test]
fn a_copy_is_another_volume_with_the_same_content() {
    let f = Fixture::new();
    let mut source = f.make("root");
    let data = OpenOptions::new().write(true).open(source.data()).unwrap();
    data.write_all_at(b"guest", MIB).unwrap();
    let made = copy(&f, &mut source, "copy").unwrap();
    assert!(fs::read(made.data()).unwrap() == fs::read(source.data()).unwrap());
    assert!(fs::metadata(made.data()).unwrap().blocks() * 512 < MIB);
    assert_ne!(made.record().id, source.record().id);
    assert_eq!(made.record().speed, source.record().speed);
    // It can be used.
    f.find("copy")
        .unwrap()
        .open(Access::Exclusive, false)
        .unwrap();
}

#[test]
fn a_copy_of_a_volume_in_use_or_to_a_name_that_is_taken_is_refused() {
    let f = Fixture::new();
    let mut source = f.make("root");
    f.make("taken");
    assert!(report(copy(&f, &mut source, "taken")).contains("'taken' already"));
    let mut used = f.make("used");
    let _writer = used.open(Access::Exclusive, false).unwrap();
    assert!(report(copy(&f, &mut used, "copy")).contains("is in use by process"));
    assert_eq!(f.entries(), ["root", "taken", "used"]);
}

#[test]
fn a_copy_still_lacks_what_its_source_has_not_loaded() {
    let f = Fixture::new();
    let like = f.make("like").record().clone();
    let origin = "snap-0123456789abcdef0".parse().unwrap();
    let record = Record {
        origin: Some(origin),
        ..Record::new("lazy".parse().unwrap(), like.size, like.speed).unwrap()
    };
    let new = NewVolume::begin(&f.volumes, record, State::Absent).unwrap();
    let mut source = new.finish().unwrap();
    let map = OpenOptions::new().read(true).write(true).open(source.map());
    let mut map = BlockMap::open(map.unwrap()).unwrap();
    map.loaded(1).unwrap();
    map.cleared(2).unwrap();
    map.close().unwrap();

    let made = copy(&f, &mut source, "copy").unwrap();
    assert_eq!(made.record().origin, Some(origin));
    let mut map = made.read_map().unwrap();
    // Its snapshots are to have what is in it, and not what the origin has.
    let changed = map.get(1).unwrap().generation;
    assert_eq!(changed, Generation::FIRST);
    let states = [0, 1, 2, 3].map(|block| map.get(block).unwrap().state);
    use State::{Absent, Present, Zero};
    assert_eq!(states, [Absent, Present, Zero, Absent]);
}

#[test]
fn a_copy_of_a_volume_that_was_loaded_needs_no_snapshot() {
    let f = Fixture::new();
    let like = f.make("like").record().clone();
    let record = Record {
        origin: Some("snap-0123456789abcdef0".parse().unwrap()),
        ..Record::new("loaded".parse().unwrap(), like.size, like.speed).unwrap()
    };
    let new = NewVolume::begin(&f.volumes, record, State::Present).unwrap();
    let mut source = new.finish().unwrap();
    let made = copy(&f, &mut source, "copy").unwrap();
    assert_eq!(made.record().origin, None);
}
