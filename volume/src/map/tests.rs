use std::collections::HashMap;

use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::*;

fn id() -> VolumeId {
    "vol-00000000000000001".parse().unwrap()
}

fn blocks(count: u32) -> VolumeSize {
    VolumeSize::new(u64::from(count) * crate::BLOCK).unwrap()
}

/// A map that can be opened again and again.
struct Volume(NamedTempFile);

impl Volume {
    fn new(count: u32, fresh: State) -> Self {
        let file = NamedTempFile::new().unwrap();
        create(file.as_file(), id(), blocks(count), fresh).unwrap();
        Self(file)
    }

    fn open(&self) -> BlockMap {
        BlockMap::open(self.file()).unwrap()
    }

    /// As another process sees it.
    fn file(&self) -> File {
        let file = File::options().read(true).write(true).open(self.0.path());
        file.unwrap()
    }
}

fn settle(map: &mut BlockMap) {
    let batch = map.begin_settling();
    map.settle(&batch).unwrap();
}

#[test]
fn a_new_map_takes_no_space_and_knows_every_block() {
    for (size, fresh) in [
        (1 << 20, State::Zero),
        (64 << 40, State::Absent),
        ((1 << 30) + 512, State::Present),
    ] {
        let file = tempfile::tempfile().unwrap();
        let size = VolumeSize::new(size).unwrap();
        create(&file, id(), size, fresh).unwrap();
        let space = std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap());
        assert!(space <= 16, "{space} sectors");
        let mut map = BlockMap::open(file).unwrap();
        for block in [0, size.blocks() / 2, size.blocks() - 1] {
            assert_eq!(map.get(block).unwrap(), Entry::untouched(fresh));
        }
    }
}

#[test]
fn what_was_written_when_it_was_closed_is_known_exactly() {
    let volume = Volume::new(1000, State::Zero);
    let mut map = volume.open();
    map.touch(5).unwrap();
    assert_eq!(map.begin_generation().unwrap(), Generation::FIRST);
    map.touch(700).unwrap();
    map.close().unwrap();

    let mut map = volume.open();
    assert_eq!(map.header().floor, Generation::ORIGIN);
    assert_eq!(map.header().generation.number(), 2);
    let generation = |map: &mut BlockMap, block| map.get(block).unwrap().generation.number();
    assert_eq!(generation(&mut map, 5), 1);
    assert_eq!(generation(&mut map, 700), 2);
    assert_eq!(generation(&mut map, 6), 0);
}

#[test]
fn a_volume_that_was_not_closed_counts_as_changed_everywhere() {
    let volume = Volume::new(1000, State::Zero);
    volume.open().touch(5).unwrap();
    let map = volume.open();
    assert_eq!(map.header().generation.number(), 2);
    assert_eq!(map.header().floor.number(), 2);
    map.close().unwrap();
    let map = volume.open();
    assert_eq!(map.header().generation.number(), 2, "that was closed");
    assert_eq!(map.header().floor.number(), 2, "and the doubt remains");
}

#[test]
fn a_block_is_absent_until_it_is_settled() {
    let volume = Volume::new(1000, State::Absent);
    let mut map = volume.open();
    map.loaded(5).unwrap();
    map.cleared(6).unwrap();
    assert_eq!(map.get(5).unwrap().state, State::Present, "to readers");
    drop(map);
    let mut map = volume.open();
    assert_eq!(map.get(5).unwrap().state, State::Absent, "to a later boot");

    map.loaded(5).unwrap();
    map.cleared(6).unwrap();
    settle(&mut map);
    map.loaded(7).unwrap();
    drop(map);
    let mut map = volume.open();
    let states = [5, 6, 7].map(|block| map.get(block).unwrap().state);
    assert_eq!(states, [State::Present, State::Zero, State::Absent]);
}

#[test]
fn what_changes_while_data_is_synced_is_settled_next_time() {
    let volume = Volume::new(1000, State::Absent);
    let mut map = volume.open();
    map.cleared(5).unwrap();
    let batch = map.begin_settling();
    map.touch(5).unwrap();
    map.loaded(6).unwrap();
    map.settle(&batch).unwrap();
    let mut other = BlockMap::read(volume.file()).unwrap();
    assert_eq!(other.get(5).unwrap().state, State::Zero);
    assert_eq!(other.get(6).unwrap().state, State::Absent);
    settle(&mut map);
    assert!(map.begin_settling().is_empty());
    let mut other = BlockMap::read(volume.file()).unwrap();
    assert_eq!(other.get(5).unwrap().state, State::Present);
    assert_eq!(other.get(6).unwrap().state, State::Present);
}

#[test]
fn what_may_be_lost_is_absent_again_but_for_what_was_settled() {
    let volume = Volume::new(4, State::Absent);
    let mut map = volume.open();
    map.loaded(0).unwrap();
    settle(&mut map);
    map.loaded(1).unwrap();
    map.touch(1).unwrap();
    map.cleared(2).unwrap();
    map.forget_unsettled();
    let states = [0, 1, 2, 3].map(|block| map.get(block).unwrap().state);
    let absent = State::Absent;
    assert_eq!(states, [State::Present, absent, absent, absent]);
    assert_eq!(map.unsettled(), 0);
    map.loaded(1).unwrap();
    settle(&mut map);
    map.close().unwrap();
    let mut map = volume.open();
    let states = [0, 1, 2].map(|block| map.get(block).unwrap().state);
    assert_eq!(states, [State::Present, State::Present, absent]);
}

#[test]
fn more_is_settled_than_a_journal_holds() {
    let leaves = 5000;
    let volume = Volume::new(leaves * BLOCKS, State::Absent);
    let mut map = volume.open();
    for number in 0..leaves {
        map.loaded(number * BLOCKS + number % BLOCKS).unwrap();
    }
    settle(&mut map);
    drop(map);
    let mut map = volume.open();
    for number in 0..leaves {
        let block = number * BLOCKS + number % BLOCKS;
        assert_eq!(map.get(block).unwrap().state, State::Present, "{block}");
    }
}

#[test]
fn a_journal_that_was_never_emptied_is_replayed() {
    let volume = Volume::new(1000, State::Absent);
    for block in [1, 2, 200, 3] {
        let mut map = volume.open();
        map.loaded(block).unwrap();
        settle(&mut map);
    }
    let mut map = volume.open();
    for block in [1, 2, 200, 3] {
        assert_eq!(map.get(block).unwrap().state, State::Present);
    }
    assert_eq!(map.get(4).unwrap().state, State::Absent);
}

#[test]
fn a_volume_grows() {
    let volume = Volume::new(100, State::Present);
    let mut map = volume.open();
    map.grow(blocks(10_000)).unwrap();
    map.touch(9_999).unwrap();
    map.close().unwrap();
    let mut map = volume.open();
    assert_eq!(map.header().size, blocks(10_000));
    assert_eq!(map.get(9_999).unwrap().generation, Generation::FIRST);
    assert_eq!(map.get(500).unwrap(), Entry::untouched(State::Present));
}

#[test]
fn a_map_that_was_cut_short_is_refused_wherever() {
    let volume = Volume::new(1000, State::Zero);
    let whole = volume.file().metadata().unwrap().len();
    for len in [0, 100, 4096, 8192, LEAVES - 1, LEAVES, whole - 1] {
        volume.file().set_len(len).unwrap();
        let error = BlockMap::open(volume.file()).unwrap_err();
        let told = matches!(error, MapError::Truncated { .. } | MapError::Read(_));
        assert!(told, "{len}: {error}");
    }
}

#[test]
fn a_damaged_leaf_costs_its_blocks_only() {
    let volume = Volume::new(1000, State::Absent);
    let mut map = volume.open();
    for block in [1, 200, 400] {
        map.loaded(block).unwrap();
    }
    map.close().unwrap();
    volume.file().write_all_at(&[1], place(1) + 100).unwrap();
    let mut map = volume.open();
    assert_eq!(map.get(1).unwrap().state, State::Present);
    assert_eq!(map.get(400).unwrap().state, State::Present);
    let error = map.get(200).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_loaded_volume_is_not_searched_again() {
    let volume = Volume::new(130, State::Absent);
    let mut map = volume.open();
    assert_eq!(map.absent_in(0..130).unwrap(), Some(0));
    for block in 0..130 {
        map.loaded(block).unwrap();
    }
    settle(&mut map);
    assert_eq!(map.absent_in(0..130).unwrap(), None);
    map.complete().unwrap();
    map.close().unwrap();
    assert!(volume.open().is_complete());
}

#[test]
fn what_is_added_to_a_loaded_volume_is_not_absent() {
    let volume = Volume::new(130, State::Absent);
    let mut map = volume.open();
    for block in 0..130 {
        map.loaded(block).unwrap();
    }
    settle(&mut map);
    map.complete().unwrap();
    map.grow(blocks(400)).unwrap();
    assert_eq!(map.absent_in(0..400).unwrap(), None);
    map.close().unwrap();
    assert_eq!(volume.open().absent_in(0..400).unwrap(), None);
}

#[derive(Clone, Debug)]
enum Step {
    Load(u32),
    Clear(u32),
    Touch(u32),
    Settle,
    Kill,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let block = 0u32..300;
    prop_oneof![
        4 => block.clone().prop_map(Step::Load),
        2 => block.clone().prop_map(Step::Clear),
        4 => block.prop_map(Step::Touch),
        2 => Just(Step::Settle),
        1 => Just(Step::Kill),
        1 => Just(Step::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// What was settled is never absent again; what was not, is after a crash.
    #[test]
    fn nothing_settled_is_lost(steps in prop::collection::vec(step(), 1..60)) {
        let volume = Volume::new(300, State::Absent);
        let (mut now, mut durable) = (HashMap::new(), HashMap::new());
        let mut map = volume.open();
        for step in steps {
            let is_absent = |now: &HashMap<u32, State>, block| !now.contains_key(&block);
            match step {
                Step::Load(block) if is_absent(&now, block) => {
                    map.loaded(block).unwrap();
                    now.insert(block, State::Present);
                }
                Step::Clear(block) if is_absent(&now, block) => {
                    map.cleared(block).unwrap();
                    now.insert(block, State::Zero);
                }
                Step::Touch(block) if !is_absent(&now, block) => {
                    map.touch(block).unwrap();
                    now.insert(block, State::Present);
                }
                Step::Load(_) | Step::Clear(_) | Step::Touch(_) => {}
                Step::Settle => {
                    settle(&mut map);
                    durable = now.clone();
                }
                Step::Kill => {
                    map = volume.open();
                    // A settled block's state is a hint once it is not absent.
                    let known = |block: &u32| durable.contains_key(block);
                    now.retain(|block, _| known(block));
                    for (block, state) in &mut now {
                        *state = map.get(*block).unwrap().state;
                    }
                }
                Step::Close => {
                    map.close().unwrap();
                    durable = now.clone();
                    map = volume.open();
                }
            }
            for block in 0..300 {
                let state = now.get(&block).copied().unwrap_or(State::Absent);
                prop_assert_eq!(map.get(block).unwrap().state, state, "block {}", block);
            }
        }
    }
}
