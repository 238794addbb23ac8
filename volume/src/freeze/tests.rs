use super::*;
use crate::entry::Generation;
use crate::map;

/// A volume of two blocks that count as data, and are holes; frozen for a copy,
/// or for a snapshot.
struct Frozen {
    map: BlockMap,
    data: File,
    freeze: Freeze,
}

fn frozen(purpose: Purpose) -> Frozen {
    let (frozen, unsaved) = just_frozen(purpose);
    unsaved.save().unwrap();
    frozen
}

fn just_frozen(purpose: Purpose) -> (Frozen, Unsaved) {
    let [map, data, file, kept] = [(); 4].map(|()| tempfile::tempfile().unwrap());
    let (volume, size) = (id(1), VolumeSize::new(2 * BLOCK).unwrap());
    map::create(&map, volume, size, State::Present).unwrap();
    data.set_len(size.bytes()).unwrap();
    let mut map = BlockMap::open(map).unwrap();
    let asked = Plan {
        purpose,
        volume,
        created: 1,
        boot: [7; 16],
        parent: None,
    };
    plan(&file, &asked).unwrap();
    map.touch(0).unwrap();
    let (freeze, unsaved) = Freeze::begin(file, kept, &mut map).unwrap();
    (Frozen { map, data, freeze }, unsaved)
}

fn id(number: u32) -> VolumeId {
    format!("vol-{number:017x}").parse().unwrap()
}

fn snapshot() -> Purpose {
    Purpose::Snapshot("snap-00000000000000001".parse().unwrap())
}

impl Frozen {
    fn before_change(&mut self, block: u32) -> io::Result<bool> {
        self.freeze
            .before_change(&[block], &mut self.map, &self.data)
    }

    fn is_kept(&self, block: u32) -> bool {
        let parts = Parts::of(self.freeze.moment.size);
        parts.is_kept(&self.freeze.file, block).unwrap()
    }

    /// What is kept goes where nothing can be made durable.
    fn lose_kept(&mut self) {
        let nowhere = File::options().write(true).open("/dev/null").unwrap();
        self.freeze.kept = nowhere;
    }
}

#[test]
fn a_block_is_durable_before_it_is_marked_and_before_it_may_change() {
    let mut volume = frozen(id(2).into());
    volume.lose_kept();
    assert!(volume.before_change(0).is_err());
    assert!(!volume.is_kept(0), "a mark is only of what is durable");
    assert_eq!(stage(&volume.freeze.file).unwrap(), Some(Stage::Begun));
    // Whether an earlier block is durable is not known, either.
    volume.freeze.kept = tempfile::tempfile().unwrap();
    assert!(volume.before_change(1).is_err());
    assert!(!volume.freeze.is_over());
}

#[test]
fn a_mark_and_a_leaf_are_durable_before_a_block_may_change() {
    let mut volume = frozen(id(2).into());
    assert!(volume.before_change(0).unwrap());
    assert!(volume.is_kept(0) && !volume.freeze.unsynced.get());
    // One that was written, and not waited for, is waited for the next time.
    volume.freeze.unsynced.set(true);
    assert!(volume.before_change(0).unwrap());
    assert!(!volume.freeze.unsynced.get());
}

#[test]
fn nothing_is_waited_for_on_behalf_of_a_snapshot() {
    let mut volume = frozen(snapshot());
    volume.lose_kept();
    assert!(volume.before_change(0).unwrap());
    assert!(volume.is_kept(0));
}

#[test]
fn a_copy_is_not_given_up_though_a_block_cannot_be_kept() {
    for (purpose, expected) in [(snapshot(), Stage::Broken), (id(2).into(), Stage::Begun)] {
        let mut volume = frozen(purpose);
        volume.data.write_at(b"guest", 0).unwrap();
        // Opened for reading, it takes nothing.
        let kept = tempfile::NamedTempFile::new().unwrap();
        volume.freeze.kept = File::open(kept.path()).unwrap();
        let kept = volume.before_change(0);
        assert_eq!(kept.is_ok(), expected == Stage::Broken);
        assert_eq!(stage(&volume.freeze.file).unwrap(), Some(expected));
    }
}

#[test]
fn what_was_kept_for_a_copy_must_be_all_there() {
    let volume = frozen(id(2).into());
    let (file, kept) = (volume.freeze.file, volume.freeze.kept);
    let resume = |map| Freeze::resume(file.try_clone().unwrap(), kept.try_clone().unwrap(), map);
    assert!(resume(&volume.map).unwrap().unwrap().is_durable());
    kept.set_len(BLOCK).unwrap();
    let refused = resume(&volume.map);
    assert!(matches!(refused, Err(FreezeError::Damaged)), "{refused:?}");
    end(&file, &kept).unwrap();
    assert!(resume(&volume.map).unwrap().is_none());
}

#[test]
fn a_freeze_keeps_from_its_moment_on_and_is_begun_when_it_is_saved() {
    let (mut volume, unsaved) = just_frozen(snapshot());
    let file = volume.freeze.file.try_clone().unwrap();
    assert_eq!(super::header(&file).unwrap().stage, Stage::Planned);
    // Its leaf is not in the file, and changes.
    assert!(volume.before_change(0).unwrap());
    assert!(volume.is_kept(0));
    volume.map.touch(1).unwrap();
    assert!(saved_leaf(&file, id(1), 0).unwrap().is_none());
    unsaved.save().unwrap();
    assert_eq!(super::header(&file).unwrap().stage, Stage::Begun);
    let leaf = saved_leaf(&file, id(1), 0).unwrap().unwrap();
    let generations = [0, 1].map(|block| leaf.get(block).generation);
    assert_eq!(generations, [Generation::FIRST, Generation::default()]);
    assert!(volume.before_change(1).unwrap());
}

#[test]
fn a_snapshot_that_was_given_up_is_not_saved() {
    let (mut volume, unsaved) = just_frozen(snapshot());
    volume.lose_kept();
    volume.data.set_len(0).unwrap();
    volume.data.write_all_at(&[1; 8192], 0).unwrap();
    assert!(!volume.before_change(0).unwrap());
    let error = unsaved.save().unwrap_err();
    assert!(matches!(error, FreezeError::Stage(Stage::Broken)));
    assert!(volume.freeze.is_over());
}

#[test]
fn a_freeze_that_was_ended_meanwhile_is_not_begun() {
    let (volume, unsaved) = just_frozen(snapshot());
    end(&volume.freeze.file, &volume.freeze.kept).unwrap();
    let error = unsaved.save().unwrap_err();
    assert!(matches!(error, FreezeError::Stage(Stage::Ended)));
    assert!(volume.freeze.is_over());
}
