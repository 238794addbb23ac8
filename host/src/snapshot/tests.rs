//! Snapshots that share blocks, while some are deleted, killed and damaged.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use volume::id::SnapshotId;

use super::catalog;
use super::collect::{Collected, collect};
use super::delete::delete;
use super::diff::{Change, Range, diff};
use super::digest::Digest;
use super::lock::{Collecting, Deleting};
use super::store::failing::Failing;
use super::store::{Directory, Freed, Name, Store};
use super::test_blocks::text;
use super::test_volume::{TestVolume, contents, id, of_texts};
use super::verify::{Fault, Report, verify};
use crate::error::Error;

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

    /// Stores a snapshot with these blocks of text.
    fn take(&self, number: u32, seeds: &[(u32, u32)]) {
        let data = self.directory.path();
        let mut volume = TestVolume::new(16, seeds);
        volume
            .store(number, None, None, &*self.store, data)
            .unwrap();
    }

    fn delete(&self, number: u32) -> Result<(), Error> {
        let lock = Deleting::wait(self.directory.path())?;
        delete(&*self.store, id(number), &|_| Ok(None), &lock)
    }

    fn collect_in(&self, store: &dyn Store) -> Result<Collected, Error> {
        let lock = Collecting::wait(self.directory.path())?;
        collect(store, HashSet::new(), &lock, &mut |_| {})
    }

    fn collect(&self) -> Result<Collected, Error> {
        self.collect_in(&*self.store)
    }

    fn verify(&self, number: u32) -> Result<Report, Error> {
        verify(Arc::clone(&self.store), id(number), &mut |_| {})
    }

    fn diff(&self, first: u32, second: u32) -> Vec<Range> {
        diff(&*self.store, id(first), id(second)).unwrap()
    }

    fn path(&self, name: Name) -> PathBuf {
        self.directory.path().join(format!("snapshots/{name}"))
    }

    fn ids(&self) -> Vec<SnapshotId> {
        catalog::ids(&*self.store).unwrap()
    }
}

fn chunk(seed: u32) -> Name {
    Name::Chunk(Digest::of(&*text(seed)))
}

#[test]
fn deleting_one_frees_what_no_other_needs() {
    let fixture = Fixture::new();
    fixture.take(1, &[(0, 1), (1, 2)]);
    fixture.take(2, &[(0, 1), (5, 3)]);
    assert_eq!(fixture.collect().unwrap().chunks, Freed::default());
    fixture.delete(1).unwrap();
    let collected = fixture.collect().unwrap();
    assert_eq!((collected.snapshots, collected.kept.objects), (1, 2));
    assert_eq!(collected.chunks.objects, 1);
    assert!(!fixture.store.exists(&chunk(2)).unwrap());
    assert_eq!(
        contents(&fixture.store, 2).unwrap(),
        of_texts(&[(0, 1), (5, 3)])
    );
    assert_eq!(fixture.ids(), [id(2)]);
}

#[test]
fn what_is_in_use_is_not_deleted() {
    let fixture = Fixture::new();
    fixture.take(1, &[(0, 1)]);
    let lock = Deleting::wait(fixture.directory.path()).unwrap();
    let users = |_| Ok(Some("volume 'data'".to_owned()));
    let error = delete(&*fixture.store, id(1), &users, &lock).unwrap_err();
    assert!(
        error.report().contains("is in use by volume 'data'"),
        "{}",
        error.report()
    );
    assert_eq!(contents(&fixture.store, 1).unwrap(), of_texts(&[(0, 1)]));
}

#[test]
fn what_is_not_there_is_told() {
    let fixture = Fixture::new();
    for report in [
        fixture.delete(1).unwrap_err().report(),
        fixture.verify(1).unwrap_err().report(),
        diff(&*fixture.store, id(1), id(1)).unwrap_err().report(),
    ] {
        assert!(
            report.contains(&format!("there is no snapshot {}", id(1))),
            "{report}"
        );
    }
    assert_eq!(fixture.collect().unwrap(), Collected::default());
}

#[test]
fn a_deletion_that_is_killed_at_any_step_leaves_all_or_nothing() {
    for steps in 0.. {
        let fixture = Fixture::new();
        fixture.take(1, &[(0, 1), (1, 2)]);
        fixture.take(2, &[(0, 1)]);
        let failing = Failing::new(&*fixture.store, steps);
        let lock = Deleting::wait(fixture.directory.path()).unwrap();
        let deleted = delete(&failing, id(1), &|_| Ok(None), &lock);
        drop(lock);
        fixture.collect().unwrap();
        match fixture.ids().contains(&id(1)) {
            true => assert_eq!(
                contents(&fixture.store, 1).unwrap(),
                of_texts(&[(0, 1), (1, 2)])
            ),
            false => assert!(!fixture.path(Name::Manifest(id(1))).exists()),
        }
        assert_eq!(contents(&fixture.store, 2).unwrap(), of_texts(&[(0, 1)]));
        if deleted.is_ok() {
            assert_eq!(steps, 4);
            return;
        }
    }
}

#[test]
fn a_collector_that_is_killed_at_any_step_loses_nothing() {
    for steps in 0.. {
        let fixture = Fixture::new();
        fixture.take(1, &[(0, 1), (1, 2), (2, 3)]);
        fixture.take(2, &[(0, 1), (3, 4)]);
        fixture.delete(1).unwrap();
        fs::write(fixture.directory.path().join("snapshots/tmp/left"), "x").unwrap();
        // Of an upload that was killed before its record was written.
        fixture.take(3, &[(7, 7)]);
        fs::remove_file(fixture.path(Name::Record(id(3)))).unwrap();
        let killed = fixture.collect_in(&Failing::new(&*fixture.store, steps));
        assert_eq!(
            contents(&fixture.store, 2).unwrap(),
            of_texts(&[(0, 1), (3, 4)])
        );
        let rest = fixture.collect().unwrap();
        assert_eq!(rest.kept.objects, 2);
        assert_eq!(
            contents(&fixture.store, 2).unwrap(),
            of_texts(&[(0, 1), (3, 4)])
        );
        if let Ok(collected) = killed {
            assert_eq!(collected.chunks.objects, 3);
            assert_eq!(collected.manifests.objects, 1);
            assert_eq!(
                collected.leftovers,
                Freed {
                    objects: 1,
                    bytes: 1
                }
            );
            assert_eq!(
                (rest.chunks, rest.leftovers),
                (Freed::default(), Freed::default())
            );
            return;
        }
    }
}

#[test]
fn chunks_of_snapshots_under_way_are_kept() {
    let fixture = Fixture::new();
    fixture.take(1, &[(0, 1), (1, 2)]);
    fixture.delete(1).unwrap();
    let lock = Collecting::wait(fixture.directory.path()).unwrap();
    let under_way = HashSet::from([Digest::of(&*text(2))]);
    collect(&*fixture.store, under_way, &lock, &mut |_| {}).unwrap();
    assert!(!fixture.store.exists(&chunk(1)).unwrap());
    assert!(fixture.store.exists(&chunk(2)).unwrap());
}

#[test]
fn a_damaged_manifest_stops_the_collector_before_it_removes_anything() {
    let fixture = Fixture::new();
    fixture.take(1, &[(0, 1)]);
    fixture.take(2, &[(0, 2)]);
    fixture.take(3, &[(0, 3)]);
    fixture.delete(1).unwrap();
    let path = fixture.path(Name::Manifest(id(3)));
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        for bytes in [&damaged[..], &whole[..at]] {
            fs::write(&path, bytes).unwrap();
            let report = fixture.collect().unwrap_err().report();
            let named = format!("the manifest of {} is damaged", id(3));
            assert!(report.contains(&named), "byte {at}: {report}");
        }
    }
    fs::remove_file(&path).unwrap();
    let report = fixture.collect().unwrap_err().report();
    assert!(
        report.contains(&format!("the manifest of {} is missing", id(3))),
        "{report}"
    );
    assert!(fixture.store.exists(&chunk(1)).unwrap());
    fs::write(&path, whole).unwrap();
    assert_eq!(fixture.collect().unwrap().chunks.objects, 1);
}

#[test]
fn a_manifest_in_the_place_of_another_is_noticed() {
    let fixture = Fixture::new();
    fixture.take(1, &[(0, 1)]);
    fixture.take(2, &[(0, 2)]);
    let path = |number| fixture.path(Name::Manifest(id(number)));
    fs::copy(path(1), path(2)).unwrap();
    let report = fixture.verify(2).unwrap_err().report();
    assert!(report.contains("it is of another snapshot"), "{report}");
}

#[test]
fn verifying_names_each_block_that_cannot_be_had() {
    let fixture = Fixture::new();
    fixture.take(1, &[(0, 1), (3, 2), (4, 3), (9, 2)]);
    let report = fixture.verify(1).unwrap();
    assert_eq!((report.blocks, report.checked), (4, 4));
    assert_eq!(report.findings, []);
    fs::remove_file(fixture.path(chunk(2))).unwrap();
    let path = fixture.path(chunk(3));
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 1);
    fs::write(&path, bytes).unwrap();
    let report = fixture.verify(1).unwrap();
    let places: Vec<u32> = report
        .findings
        .iter()
        .map(|finding| finding.index)
        .collect();
    assert_eq!(places, [3, 4, 9]);
    assert_eq!(report.findings[0].fault, Fault::Missing);
    assert!(matches!(report.findings[1].fault, Fault::Damaged(_)));
}

#[test]
fn a_chunk_in_the_place_of_another_is_never_read_as_that() {
    let fixture = Fixture::new();
    fixture.take(1, &[(0, 1), (1, 2)]);
    fs::copy(fixture.path(chunk(1)), fixture.path(chunk(2))).unwrap();
    let report = contents(&fixture.store, 1).unwrap_err().report();
    assert!(
        report.contains("is damaged: it holds another block"),
        "{report}"
    );
}

#[test]
fn a_difference_is_told_in_ranges() {
    let fixture = Fixture::new();
    fixture.take(1, &[(0, 1), (1, 2), (2, 3), (8, 4), (9, 4)]);
    fixture.take(2, &[(0, 1), (1, 9), (2, 9), (3, 9), (9, 4), (15, 1)]);
    let range = |first, count, change| Range {
        first,
        count,
        change,
    };
    let expected = [
        range(1, 2, Change::Changed),
        range(3, 1, Change::Added),
        range(8, 1, Change::Zeroed),
        range(15, 1, Change::Added),
    ];
    assert_eq!(fixture.diff(1, 2), expected);
    assert_eq!(fixture.diff(2, 2), []);
}

#[test]
fn a_snapshot_with_a_damaged_record_is_listed_as_such() {
    let fixture = Fixture::new();
    fixture.take(2, &[(0, 1)]);
    fixture.take(1, &[]);
    fs::write(fixture.path(Name::Record(id(1))), "{}\n").unwrap();
    let listed = catalog::list(&*fixture.store).unwrap();
    let ids: Vec<_> = listed.iter().map(|listed| listed.id).collect();
    assert_eq!(ids, [id(2), id(1)]);
    assert_eq!(listed[0].record.as_ref().unwrap().volume_name, "data");
    let report = listed[1].record.as_ref().unwrap_err().report();
    assert!(report.contains("is damaged"), "{report}");
}

#[derive(Clone, Debug)]
enum Step {
    Take(Vec<(u32, u32)>),
    Delete(prop::sample::Index),
    Collect,
    KilledCollector(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let blocks = prop::collection::btree_map(0..16u32, 0..6u32, 0..6);
    prop_oneof![
        blocks.prop_map(|blocks| Step::Take(blocks.into_iter().collect())),
        any::<prop::sample::Index>().prop_map(Step::Delete),
        Just(Step::Collect),
        (0..6usize).prop_map(Step::KilledCollector),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_is_deleted_and_collected_the_rest_is_whole(
        steps in prop::collection::vec(step(), 1..12),
    ) {
        let fixture = Fixture::new();
        let mut alive: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
        for (number, step) in (1u32..).zip(steps) {
            match step {
                Step::Take(seeds) => {
                    fixture.take(number, &seeds);
                    alive.insert(number, seeds);
                }
                Step::Delete(which) if !alive.is_empty() => {
                    let which = *which.get(&alive.keys().copied().collect::<Vec<_>>());
                    fixture.delete(which).unwrap();
                    alive.remove(&which);
                }
                Step::Delete(_) => {}
                Step::Collect => {
                    let collected = fixture.collect().unwrap();
                    let seeds = alive.values().flatten().map(|(_, seed)| seed);
                    let needed: HashSet<_> = seeds.collect();
                    prop_assert_eq!(collected.kept.objects, needed.len() as u64);
                }
                Step::KilledCollector(steps) => {
                    let _ = fixture.collect_in(&Failing::new(&*fixture.store, steps));
                }
            }
            for (number, seeds) in &alive {
                prop_assert_eq!(contents(&fixture.store, *number).unwrap(), of_texts(seeds));
            }
        }
    }
}
