use super::super::copy::{copy, copy_later};
use super::super::delete::delete;
use super::super::fixture::{Fixture, MIB, report};
use super::super::freezing::freeze_at_rest;
use super::*;
use ::volume::BLOCK;
use ::volume::freeze::Freeze;
use ::volume::frozen::Content;
use ::volume::map::BlockMap;
use std::fs;
use std::os::unix::fs::FileExt;

/// A volume of four blocks, each full of one byte.
fn source(f: &Fixture, bytes: [u8; 4]) -> Volume {
    let mut volume = f.make("root");
    for (block, byte) in (0..).zip(bytes) {
        write(&mut volume, block, byte);
    }
    volume
}

/// Fills a block, as the process of a machine does.
fn write(volume: &mut Volume, block: u32, byte: u8) {
    let open = |path| File::options().read(true).write(true).open(path).unwrap();
    let data = open(volume.data());
    let mut map = BlockMap::open(open(volume.map())).unwrap();
    for files in volume.open_freezes().unwrap() {
        let freeze = Freeze::resume(files.freeze, files.kept, &map)
            .unwrap()
            .unwrap();
        assert!(freeze.before_change(&[block], &mut map, &data).unwrap());
    }
    map.touch(block).unwrap();
    let bytes = vec![byte; usize::try_from(BLOCK).unwrap()];
    data.write_all_at(&bytes, u64::from(block) * BLOCK).unwrap();
    map.close().unwrap();
}

/// A copy as it is made where extents cannot be shared.
fn copied(f: &Fixture, source: &Volume) -> Volume {
    let name = "copy".parse().unwrap();
    copy_later(&f.volumes, source, name, freeze_at_rest).unwrap()
}

fn files(volume: &Volume) -> usize {
    let entries = fs::read_dir(volume.directory()).unwrap();
    let of_copies = entries.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_str().unwrap().contains("-vol-")
    });
    of_copies.count()
}

/// Has all blocks in `volume`, whatever they hold.
fn fill(volume: &Volume) {
    let mut map = BlockMap::open(volume.open_map().unwrap()).unwrap();
    for block in 0..4 {
        map.loaded(block).unwrap();
    }
    let batch = map.begin_settling();
    map.settle(&batch).unwrap();
    map.complete().unwrap();
    map.close().unwrap();
}

#[test]
fn a_copy_lacks_everything_and_its_source_keeps_it() {
    let f = Fixture::new();
    let mut source = source(&f, [1, 2, 3, 4]);
    let copy = copied(&f, &source);
    assert_eq!(copy.record().copy_of, Some(source.record().id));
    assert_eq!(copy.record().speed, source.record().speed);
    assert_eq!(
        (copy.is_loaded().unwrap(), copy.loaded().unwrap().percent()),
        (false, 0)
    );
    write(&mut source, 1, 22);
    write(&mut source, 1, 23);
    let mut view = source.kept_for(&copy).view().unwrap();
    let mut buffer = vec![0; usize::try_from(BLOCK).unwrap()];
    for (block, byte) in [(0, 1), (1, 2), (3, 4)] {
        assert_eq!(view.read(block, &mut buffer).unwrap(), Content::Data);
        assert!(buffer.iter().all(|b| *b == byte), "block {block}");
    }
}

#[test]
fn a_volume_stays_until_its_copies_are_filled() {
    let f = Fixture::new();
    let source = source(&f, [1; 4]);
    let copy = copied(&f, &source);
    let refused = report(delete(&f.volumes, &"root".parse().unwrap()));
    assert!(
        refused.contains("its copies are filled: 'copy'"),
        "{refused}"
    );
    assert!(refused.contains("plinth volume load copy"), "{refused}");
    fill(&copy);
    // Whoever looks.
    assert!(source.needed_copies().unwrap().is_empty());
    assert_eq!(files(&source), 0);
    delete(&f.volumes, &"root".parse().unwrap()).unwrap();
    // It needs nobody any more.
    copy.expect_filled().unwrap();
    copy.let_source_go().unwrap();
}

#[test]
fn a_damaged_volume_stays_as_well_until_its_copies_are_filled() {
    let f = Fixture::new();
    let source = source(&f, [1; 4]);
    copied(&f, &source);
    let record = source.directory().join("volume.json");
    let whole = fs::read(&record).unwrap();
    fs::write(&record, "{").unwrap();
    let refused = report(delete(&f.volumes, &"root".parse().unwrap()));
    assert!(
        refused.contains("its copies are filled: 'copy'"),
        "{refused}"
    );
    fs::write(&record, whole).unwrap();
    assert_eq!(source.needed_copies().unwrap().len(), 1);
    // What is left of a copy that is gone does not keep it.
    let name = "gone".parse().unwrap();
    copy_later(&f.volumes, &source, name, freeze_at_rest).unwrap();
    fs::write(&record, "{").unwrap();
    for name in ["gone", "copy", "root"] {
        delete(&f.volumes, &name.parse().unwrap()).unwrap();
    }
    assert!(f.entries().is_empty());
}

#[test]
fn a_copy_that_is_deleted_needs_nothing() {
    let f = Fixture::new();
    let source = source(&f, [1; 4]);
    copied(&f, &source);
    delete(&f.volumes, &"copy".parse().unwrap()).unwrap();
    assert_eq!(files(&source), 0);
    delete(&f.volumes, &"root".parse().unwrap()).unwrap();
}

#[test]
fn what_is_kept_for_a_copy_outlives_the_boot_and_for_a_snapshot_does_not() {
    let f = Fixture::new();
    let source = source(&f, [1; 4]);
    let copy = copied(&f, &source);
    let header = source.kept_for(&copy).header.unwrap();
    assert_ne!(header.plan.boot, crate::boot_id::read().unwrap());
    assert_eq!(source.open_freezes().unwrap().len(), 1);
    assert!(source.pending_snapshots().unwrap().is_empty());
}

#[test]
fn what_is_kept_for_a_copy_that_never_was_is_removed_and_one_being_made_has_it() {
    let f = Fixture::new();
    let source = source(&f, [1; 4]);
    let being_made = f.begin("other").unwrap();
    let plan = |id: ::volume::id::VolumeId| ::volume::freeze::Plan {
        purpose: id.into(),
        volume: source.record().id,
        created: 0,
        boot: [0; 16],
        parent: None,
    };
    let id = being_made.record().id;
    let pending = source.plan_freeze(id, &plan(id)).unwrap();
    // Its moment is to come.
    assert!(source.open_freezes().unwrap().is_empty());
    freeze_at_rest(&source, &pending).unwrap();
    assert_eq!(source.open_freezes().unwrap().len(), 1);
    // As after a crash.
    drop(being_made);
    assert!(source.open_freezes().unwrap().is_empty());
    assert_eq!(files(&source), 0);
}

#[test]
fn a_copy_that_fails_leaves_nothing() {
    let f = Fixture::new();
    let source = source(&f, [1; 4]);
    let fails = |_: &Volume, _: &PendingCopy| Err(Error::host("no"));
    let name = "copy".parse().unwrap();
    assert_eq!(report(copy_later(&f.volumes, &source, name, fails)), "no");
    assert_eq!((files(&source), f.entries()), (0, vec!["root".into()]));
}

#[test]
fn a_copy_that_lacks_blocks_is_not_copied() {
    let f = Fixture::new();
    let source = source(&f, [1; 4]);
    let mut lacking = copied(&f, &source);
    let refused = report(copy(&f.volumes, &mut lacking, "next".parse().unwrap()));
    assert!(refused.contains("is a copy of 'root'"), "{refused}");
    assert!(refused.contains("plinth volume load copy"), "{refused}");
}

#[test]
fn a_volume_has_only_so_many_copies_that_are_not_filled() {
    let f = Fixture::new();
    let source = source(&f, [1; 4]);
    for number in 0..MOST {
        let name = format!("copy{number}").parse().unwrap();
        copy_later(&f.volumes, &source, name, freeze_at_rest).unwrap();
    }
    let one_more = copy_later(&f.volumes, &source, "x".parse().unwrap(), freeze_at_rest);
    assert!(report(one_more).contains("5 copies already"));
}

#[test]
fn a_source_whose_copy_would_be_lost_is_not_written_to() {
    let f = Fixture::new();
    let source = source(&f, [1; 4]);
    let copy = copied(&f, &source);
    fs::write(source.kept_for(&copy).freeze(), "torn").unwrap();
    let refused = report(source.open_freezes());
    assert!(
        refused.contains("its copy 'copy' is not whole"),
        "{refused}"
    );
    assert!(refused.contains("plinth volume delete copy"), "{refused}");
    // A volume that cannot be read may be the one that needs it.
    fs::write(copy.directory().join("volume.json"), "{").unwrap();
    assert_eq!(source.needed_copies().unwrap().len(), 1);
    delete(&f.volumes, &"copy".parse().unwrap()).unwrap();
    assert!(source.open_freezes().unwrap().is_empty());
    assert!(f.find("root").unwrap().record().size.bytes() == 2 * MIB);
}
