use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::pipe::pipe;
use volume::entry::State;

use super::*;
use crate::snapshot::chunk::empty;
use crate::snapshot::lock::Referring;
use crate::snapshot::restore::Restore;
use crate::snapshot::store::{Directory, Store};
use crate::snapshot::test_blocks::text;
use crate::snapshot::test_volume::{TestVolume, id};
use crate::volume::copy::copy;
use crate::volume::fixture::{Fixture, report};
use crate::volume::speed::{Asked, Speed};

const BLOCKS: u32 = 6;

/// A volume made from a snapshot, and the store of that.
fn lazy(f: &Fixture) -> (Volume, Location) {
    let data = f.directory.path();
    let store: Arc<dyn Store> = Arc::new(Directory::new(data.join("snapshots")));
    let mut of = TestVolume::new(BLOCKS, &[(1, 1), (2, 2), (5, 5)]);
    of.store(1, None, None, &*store, data).unwrap();
    let restore = Restore {
        name: "lazy".parse().unwrap(),
        size: None,
        speed: Speed::new(Asked::default()).unwrap(),
        snapshot: id(1),
        location: None,
    };
    let lock = Referring::wait(data).unwrap();
    let volume = restore.make(&f.volumes, &*store, &lock).unwrap();
    (volume, Location::beside_volumes(data))
}

/// Fills it to the end.
fn filled(volume: &mut Volume, store: &Location) -> Result<Filled, Error> {
    let (never, _open) = pipe().unwrap();
    fill(volume, store, None, never.as_fd())
}

fn block(volume: &Volume, index: u32) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(BLOCK).unwrap()];
    let data = File::open(volume.data()).unwrap();
    data.read_exact_at(&mut bytes, u64::from(index) * BLOCK)
        .unwrap();
    bytes
}

#[track_caller]
fn assert_whole(volume: &Volume) {
    for (index, expected) in [
        (0, empty()),
        (1, text(1)),
        (2, text(2)),
        (3, empty()),
        (5, text(5)),
    ] {
        assert!(block(volume, index) == *expected, "block {index}");
    }
    assert!(volume.is_loaded().unwrap());
}

#[test]
fn a_volume_is_filled_from_its_snapshot_without_a_machine() {
    let f = Fixture::new();
    let (mut volume, store) = lazy(&f);
    assert_eq!(filled(&mut volume, &store).unwrap(), Filled::Whole);
    assert_whole(&volume);
    let mut map = volume.read_map().unwrap();
    assert_eq!(map.get(3).unwrap().state, State::Present);
    // Nothing is left to be done, also without the store.
    fs::remove_dir_all(f.directory.path().join("snapshots")).unwrap();
    assert_eq!(filled(&mut volume, &store).unwrap(), Filled::Whole);
}

#[test]
fn who_is_asked_to_stop_keeps_what_was_loaded() {
    let f = Fixture::new();
    let (mut volume, store) = lazy(&f);
    let (stop, ask) = pipe().unwrap();
    drop(ask);
    let stopped = fill(&mut volume, &store, Some(1), stop.as_fd());
    assert_eq!(stopped.unwrap(), Filled::Stopped);
    assert!(!volume.is_loaded().unwrap());
    // It lets go of the volume.
    assert_eq!(filled(&mut volume, &store).unwrap(), Filled::Whole);
    assert_whole(&volume);
}

#[test]
fn what_cannot_be_had_is_said_and_the_rest_is_loaded() {
    let f = Fixture::new();
    let (mut volume, store) = lazy(&f);
    let name = crate::snapshot::store::Name::Chunk(crate::snapshot::digest::Digest::of(&*text(2)));
    let chunk = f.directory.path().join(format!("snapshots/{name}"));
    let bytes = fs::read(&chunk).unwrap();
    fs::write(&chunk, "damaged").unwrap();
    let refused = report(filled(&mut volume, &store));
    assert!(refused.contains("1 blocks cannot be had"), "{refused}");
    assert_eq!(volume.loaded().unwrap().absent, 1);
    fs::write(&chunk, bytes).unwrap();
    filled(&mut volume, &store).unwrap();
    assert_whole(&volume);
}

#[test]
fn a_volume_and_its_copy_are_filled_from_one_snapshot_in_either_order() {
    for source_first in [true, false] {
        let f = Fixture::new();
        let (mut source, store) = lazy(&f);
        let mut copy = copy(&f.volumes, &mut source, "copy".parse().unwrap())
            .unwrap()
            .volume;
        let volumes = match source_first {
            true => [&mut source, &mut copy],
            false => [&mut copy, &mut source],
        };
        for volume in volumes {
            assert_eq!(filled(volume, &store).unwrap(), Filled::Whole);
        }
        assert_whole(&source);
        assert_whole(&copy);
        assert!(source.needed_copies().unwrap().is_empty());
    }
}
