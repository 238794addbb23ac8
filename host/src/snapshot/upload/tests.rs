use std::sync::Arc;

use crate::snapshot::chunk;
use crate::snapshot::collect::collect;
use crate::snapshot::lock::Collecting;
use crate::snapshot::object;
use crate::snapshot::store::failing::Failing;
use crate::snapshot::store::s3_server::Server;
use crate::snapshot::store::{Directory, Kind, S3};
use crate::snapshot::test_blocks::{noise, text};
use crate::snapshot::test_volume::{TestVolume, contents, id, of_texts};

use super::*;

struct Fixture {
    directory: tempfile::TempDir,
    store: Arc<dyn Store>,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Directory::new(directory.path().join("snapshots")));
        Self { directory, store }
    }

    fn chunks(&self) -> usize {
        let mut count = 0;
        let mut each = |_, _| {
            count += 1;
            Ok(())
        };
        self.store.list(Kind::Chunk, &mut each).unwrap();
        count
    }

    fn take(&self, volume: &mut TestVolume, number: u32, parent: Option<u32>) -> Figures {
        let data = self.directory.path();
        volume
            .store(number, parent, None, &*self.store, data)
            .unwrap()
    }
}

#[test]
fn a_snapshot_has_what_the_volume_had() {
    let fixture = Fixture::new();
    let seeds = [(0, 1), (3, 2), (4, 1), (19, 3)];
    let mut volume = TestVolume::new(20, &seeds);
    volume.set(5, noise(1));
    volume.set(6, chunk::empty());
    let figures = fixture.take(&mut volume, 1, None);
    assert_eq!((figures.blocks, figures.done), (20, 20));
    assert_eq!((figures.data_blocks, figures.read_blocks), (5, 6));
    // Two are alike, and one is all zeroes.
    assert_eq!(figures.stored_blocks, 4);
    assert_eq!(fixture.chunks(), 4);
    let mut expected = of_texts(&seeds);
    expected.insert(5, Digest::of(&*noise(1)));
    assert_eq!(contents(&fixture.store, 1).unwrap(), expected);
    let record = object::record(&*fixture.store, id(1)).unwrap();
    assert_eq!(record.data_bytes, 5 << 19);
    assert_eq!(record.stored_bytes, figures.stored_bytes);
}

#[test]
fn the_same_holds_with_a_bucket() {
    let fixture = Fixture::new();
    let server = Server::start();
    let bucket = S3::new("bucket", "snapshots", server.settings()).unwrap();
    let store: Arc<dyn Store> = Arc::new(bucket);
    let seeds = [(0, 1), (3, 2), (4, 1)];
    let mut volume = TestVolume::new(8, &seeds);
    let data = fixture.directory.path();
    volume.store(1, None, None, &*store, data).unwrap();
    assert_eq!(contents(&store, 1).unwrap(), of_texts(&seeds));
}

#[test]
fn what_did_not_change_is_neither_read_nor_stored() {
    let fixture = Fixture::new();
    fixture.take(&mut TestVolume::new(8, &[(1, 1), (2, 2), (3, 3)]), 1, None);
    let mut volume = TestVolume::new(10, &[(2, 20), (9, 1)]);
    volume
        .shares
        .extend([(1, Share::Parent), (4, Share::Parent)]);
    volume.shares.extend([(8, Share::Parent)]);
    let figures = fixture.take(&mut volume, 2, Some(1));
    assert_eq!(volume.reads, 2);
    assert_eq!(figures.stored_blocks, 1);
    let expected = of_texts(&[(1, 1), (2, 20), (9, 1)]);
    assert_eq!(contents(&fixture.store, 2).unwrap(), expected);
}

#[test]
fn what_was_never_loaded_comes_from_the_snapshot_the_volume_was_made_from() {
    let fixture = Fixture::new();
    fixture.take(&mut TestVolume::new(8, &[(1, 1), (2, 2)]), 1, None);
    fixture.take(&mut TestVolume::new(8, &[(1, 5), (3, 6)]), 2, None);
    let mut volume = TestVolume::new(8, &[(0, 9)]);
    for index in 1..8 {
        let parent = index == 3;
        let share = if parent { Share::Parent } else { Share::Origin };
        volume.shares.insert(index, share);
    }
    let data = fixture.directory.path();
    volume
        .store(3, Some(2), Some(1), &*fixture.store, data)
        .unwrap();
    let expected = of_texts(&[(0, 9), (1, 1), (2, 2), (3, 6)]);
    assert_eq!(contents(&fixture.store, 3).unwrap(), expected);
}

#[test]
fn an_upload_that_is_killed_at_any_step_leaves_nothing_or_all_and_can_be_repeated() {
    let seeds: Vec<_> = (0..70).map(|index| (index, index % 5)).collect();
    for steps in 0.. {
        let fixture = Fixture::new();
        let data = fixture.directory.path();
        let mut volume = TestVolume::new(70, &seeds);
        let failing = Failing::new(&*fixture.store, steps);
        let killed = volume.store(1, None, None, &failing, data).is_err();
        match contents(&fixture.store, 1) {
            Ok(contents) => assert_eq!(contents, of_texts(&seeds)),
            Err(error) => assert!(error.report().contains("there is no snapshot"), "{steps}"),
        }
        // What is marked as stored is lost to the volume.
        for index in volume.taken.borrow().keys() {
            volume.data.insert(*index, noise(*index));
        }
        let needed = volume.taken.borrow().values().copied().collect();
        let lock = Collecting::wait(data).unwrap();
        collect(&*fixture.store, needed, &lock, &mut |_| {}).unwrap();
        drop(lock);
        fixture.take(&mut volume, 1, None);
        assert_eq!(contents(&fixture.store, 1).unwrap(), of_texts(&seeds));
        if !killed {
            assert!(steps > 8, "{steps}");
            return;
        }
    }
}

#[test]
fn a_snapshot_that_is_there_is_not_stored_again() {
    let fixture = Fixture::new();
    let mut volume = TestVolume::new(8, &[(1, 1)]);
    fixture.take(&mut volume, 1, None);
    let mut other = TestVolume::new(8, &[(1, 2)]);
    let figures = fixture.take(&mut other, 1, None);
    assert_eq!((figures.read_blocks, other.reads), (0, 0));
    assert_eq!(contents(&fixture.store, 1).unwrap(), of_texts(&[(1, 1)]));
}

#[test]
fn a_block_that_cannot_be_read_fails_the_snapshot() {
    let fixture = Fixture::new();
    let seeds: Vec<_> = (0..30).map(|index| (index, index)).collect();
    let mut volume = TestVolume::new(30, &seeds);
    volume.broken = Some(20);
    let data = fixture.directory.path();
    let error = volume
        .store(1, None, None, &*fixture.store, data)
        .unwrap_err();
    let report = error.report();
    assert!(
        report.contains("block 20 of the volume cannot be read: the disk is broken"),
        "{report}"
    );
    assert!(contents(&fixture.store, 1).is_err());
}

#[test]
fn a_damaged_parent_fails_the_snapshot() {
    let fixture = Fixture::new();
    fixture.take(&mut TestVolume::new(8, &[(1, 1), (7, 2)]), 1, None);
    let path = fixture
        .directory
        .path()
        .join(format!("snapshots/{}", Name::Manifest(id(1))));
    let mut bytes = std::fs::read(&path).unwrap();
    // In the last block, behind the only one that is asked for.
    let at = bytes.len() - 40;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut volume = TestVolume::new(8, &[]);
    volume.shares.insert(1, Share::Parent);
    let data = fixture.directory.path();
    let error = volume
        .store(2, Some(1), None, &*fixture.store, data)
        .unwrap_err();
    let report = error.report();
    assert!(
        report.contains(&format!("the manifest of {} is damaged", id(1))),
        "{report}"
    );
    assert!(contents(&fixture.store, 2).is_err());
}

#[test]
fn a_chunk_that_was_taken_and_is_gone_fails_the_snapshot() {
    let fixture = Fixture::new();
    let mut volume = TestVolume::new(8, &[(1, 1)]);
    volume.taken.borrow_mut().insert(1, Digest::of(&*text(1)));
    let data = fixture.directory.path();
    let error = volume
        .store(1, None, None, &*fixture.store, data)
        .unwrap_err();
    assert!(
        error.report().contains("is not there any more"),
        "{}",
        error.report()
    );
}
