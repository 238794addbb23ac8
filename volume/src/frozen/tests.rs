use std::cell::Cell;
use std::collections::HashMap;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::entry::{Generation, State};
use crate::freeze::{Freeze, Purpose, Unsaved};
use crate::id::SnapshotId;
use crate::map::BlockMap;
use crate::size::VolumeSize;

const BLOCKS: u32 = 6;

/// A volume whose blocks are each full of one byte.
struct Volume {
    directory: TempDir,
    map: Option<BlockMap>,
    freezes: Vec<Freeze>,
    /// The last of them, until somebody looks at it: writes come in between.
    unsaved: Cell<Option<Unsaved>>,
}

fn size() -> VolumeSize {
    // The last block is a part of one.
    VolumeSize::new(u64::from(BLOCKS) * BLOCK - 4096).unwrap()
}

impl Volume {
    fn new(fresh: State) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let volume = Self {
            directory,
            map: None,
            freezes: Vec::new(),
            unsaved: Cell::new(None),
        };
        volume.file("data").set_len(size().bytes()).unwrap();
        let id = "vol-00000000000000001".parse().unwrap();
        map::create(&volume.file("map"), id, size(), fresh).unwrap();
        volume
    }

    fn file(&self, name: &str) -> File {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true);
        options.open(self.directory.path().join(name)).unwrap()
    }

    fn map(&mut self) -> &mut BlockMap {
        let file = self.file("map");
        self.map
            .get_or_insert_with(|| BlockMap::open(file).unwrap())
    }

    /// As the process that writes the volume does.
    fn write(&mut self, block: u32, byte: u8) {
        self.map();
        let data = self.file("data");
        let map = self.map.as_mut().unwrap();
        self.freezes
            .retain(|freeze| freeze.before_change(&[block], map, &data).unwrap());
        if map.get(block).unwrap().state == State::Absent {
            map.loaded(block).unwrap();
        }
        map.touch(block).unwrap();
        let bytes = vec![byte; len_of(block)];
        data.write_all_at(&bytes, u64::from(block) * BLOCK).unwrap();
    }

    fn freeze(&mut self, number: u32, parent: Option<(u32, Generation)>) {
        self.save();
        self.map();
        let plan = Plan {
            purpose: purpose(number),
            volume: "vol-00000000000000001".parse().unwrap(),
            created: 1,
            boot: [7; 16],
            parent: parent.map(|(number, generation)| (snapshot(number), generation)),
        };
        let file = self.file(&format!("freeze-{number}"));
        freeze::plan(&file, &plan).unwrap();
        let kept = self.file(&format!("kept-{number}"));
        let begun = Freeze::begin(file, kept, self.map.as_mut().unwrap());
        let (freeze, unsaved) = begun.unwrap();
        self.freezes.push(freeze);
        self.unsaved.set(Some(unsaved));
    }

    fn save(&self) {
        if let Some(unsaved) = self.unsaved.take() {
            unsaved.save().unwrap();
        }
    }

    fn end(&self, number: u32) {
        self.save();
        let freeze = self.file(&format!("freeze-{number}"));
        let kept = self.file(&format!("kept-{number}"));
        freeze::end(&freeze, &kept).unwrap();
    }

    fn view(&self, number: u32) -> FrozenView {
        self.save();
        let freeze = self.file(&format!("freeze-{number}"));
        let kept = self.file(&format!("kept-{number}"));
        FrozenView::open(self.file("map"), self.file("data"), freeze, kept).unwrap()
    }

    /// The writer is killed, and another takes its place.
    fn restart(&mut self, numbers: impl Iterator<Item = u32>) {
        self.save();
        self.map = None;
        self.map();
        self.freezes = numbers
            .filter_map(|number| {
                let file = self.file(&format!("freeze-{number}"));
                let kept = self.file(&format!("kept-{number}"));
                Freeze::resume(file, kept, self.map.as_ref().unwrap()).unwrap()
            })
            .collect();
    }
}

/// Freezes from 100 on are for copies.
fn purpose(number: u32) -> Purpose {
    match number {
        ..100 => Purpose::Snapshot(snapshot(number)),
        _ => Purpose::Copy(format!("vol-{number:017x}").parse().unwrap()),
    }
}

fn snapshot(number: u32) -> SnapshotId {
    format!("snap-{number:017x}").parse().unwrap()
}

fn len_of(block: u32) -> usize {
    let end = size().bytes() - u64::from(block) * BLOCK;
    usize::try_from(end.min(BLOCK)).unwrap()
}

/// The byte that a block of a snapshot is full of.
fn byte_of(view: &mut FrozenView, block: u32, parent: &[u8], origin: &[u8]) -> u8 {
    let mut buffer = vec![0xee; usize::try_from(BLOCK).unwrap()];
    let index = block as usize;
    match view.read(block, &mut buffer).unwrap() {
        Content::Parent => parent[index],
        Content::Origin => origin[index],
        Content::Zero => 0,
        Content::Data => {
            let (bytes, rest) = buffer.split_at(len_of(block));
            assert!(rest.iter().all(|byte| *byte == 0), "filled up with zeroes");
            assert!(bytes.iter().all(|byte| *byte == bytes[0]), "one moment");
            bytes[0]
        }
    }
}

/// An imported volume is like that: nobody knows of its blocks.
#[test]
fn holes_need_not_be_read() {
    let mut volume = Volume::new(State::Present);
    volume.write(0, 1);
    volume.write(2, 2);
    volume.freeze(1, None);
    let mut view = volume.view(1);
    let shares = |view: &mut FrozenView| (0..4).map(|n| view.share(n).unwrap()).collect::<Vec<_>>();
    let (data, zero) = (Share::Data, Share::Zero);
    assert_eq!(shares(&mut view), [data, zero, data, zero]);
    // What is written to later was kept, and is read.
    volume.write(3, 3);
    assert_eq!(shares(&mut view), [data, zero, data, data]);
    assert_eq!(byte_of(&mut view, 3, &[], &[]), 0);
    // A hole that was data at the moment is none.
    volume.write(2, 4);
    volume.file("data").set_len(BLOCK).unwrap();
    volume.file("data").set_len(size().bytes()).unwrap();
    let mut view = volume.view(1);
    assert_eq!(shares(&mut view), [data, zero, data, data]);
    assert_eq!(byte_of(&mut view, 2, &[], &[]), 2);
    // So is what was stored already.
    view.take(0, &[9; 32]).unwrap();
    volume.write(0, 5);
    volume.file("data").set_len(0).unwrap();
    volume.file("data").set_len(size().bytes()).unwrap();
    assert_eq!(shares(&mut volume.view(1)), [data, zero, data, data]);
}

#[test]
fn a_freeze_is_what_was_there_at_its_moment() {
    let mut volume = Volume::new(State::Zero);
    volume.write(1, 11);
    volume.write(2, 22);
    volume.freeze(1, None);
    volume.write(2, 33);
    volume.write(3, 44);
    let mut view = volume.view(1);
    let bytes = (0..BLOCKS).map(|block| byte_of(&mut view, block, &[], &[0; 6]));
    assert_eq!(bytes.collect::<Vec<u8>>(), [0, 11, 22, 0, 0, 0]);
    assert_eq!(view.share(0).unwrap(), Share::Zero);
}

#[test]
fn only_what_changed_since_the_parent_is_the_snapshots_own() {
    let mut volume = Volume::new(State::Zero);
    volume.write(1, 11);
    volume.freeze(1, None);
    let parent = volume.view(1).moment().generation;
    volume.end(1);
    volume.write(2, 22);
    volume.freeze(2, Some((1, parent)));
    volume.write(2, 33);
    let mut view = volume.view(2);
    let shares: Vec<Share> = (0..BLOCKS)
        .map(|block| view.share(block).unwrap())
        .collect();
    let mut expected = [Share::Parent; BLOCKS as usize];
    expected[2] = Share::Data;
    assert_eq!(shares, expected);
    assert_eq!(byte_of(&mut view, 2, &[], &[]), 22);
}

#[test]
fn what_was_taken_is_not_kept() {
    let mut volume = Volume::new(State::Zero);
    volume.write(1, 11);
    volume.write(2, 22);
    volume.freeze(1, None);
    volume.view(1).take(1, &[5; 32]).unwrap();
    volume.write(1, 12);
    volume.write(2, 23);
    assert_eq!(volume.view(1).taken(1).unwrap(), Some([5; 32]));
    assert_eq!(volume.view(1).taken(2).unwrap(), None);
    let mut kept = vec![0; 3 * usize::try_from(BLOCK).unwrap()];
    volume.file("kept-1").read_exact_at(&mut kept, 0).unwrap();
    let counts = |byte| kept.iter().filter(|b| **b == byte).count();
    assert_eq!((counts(11), counts(22)), (0, 512 * 1024));
}

#[test]
fn a_freeze_that_cannot_keep_a_block_is_broken_and_the_write_goes_on() {
    let mut volume = Volume::new(State::Zero);
    volume.write(1, 11);
    volume.freeze(1, None);
    volume.save();
    // Opened for reading, it takes nothing.
    let kept = File::open(volume.directory.path().join("kept-1")).unwrap();
    let file = volume.file("freeze-1");
    let map = volume.map.as_ref().unwrap();
    volume.freezes = vec![Freeze::resume(file, kept, map).unwrap().unwrap()];
    let mut view = volume.view(1);
    volume.write(1, 12);
    assert!(volume.freezes.is_empty());
    let mut buffer = vec![0; usize::try_from(BLOCK).unwrap()];
    assert!(
        view.read(1, &mut buffer).is_err(),
        "no wrong block is given"
    );
    assert!(matches!(
        freeze::header(&volume.file("freeze-1")).unwrap().stage,
        Stage::Broken
    ));
}

#[test]
fn an_ended_freeze_costs_nothing() {
    let mut volume = Volume::new(State::Zero);
    volume.write(1, 11);
    volume.freeze(1, None);
    volume.end(1);
    volume.write(1, 12);
    assert!(volume.freezes.is_empty());
    assert_eq!(volume.file("kept-1").metadata().unwrap().len(), 0);
}

#[test]
fn a_freeze_of_another_volume_or_damaged_is_refused() {
    let mut volume = Volume::new(State::Zero);
    volume.freeze(1, None);
    let other = Volume::new(State::Zero);
    let id = "vol-00000000000000002".parse().unwrap();
    let file = other.file("map");
    file.set_len(0).unwrap();
    map::create(&file, id, size(), State::Zero).unwrap();
    let map = BlockMap::open(file).unwrap();
    let resumed = Freeze::resume(volume.file("freeze-1"), volume.file("kept-1"), &map);
    assert!(matches!(resumed, Err(FreezeError::OtherVolume(_))));
    for at in [0, 8, 16, 50, 90, 500] {
        let file = volume.file("freeze-1");
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[!byte[0]], at).unwrap();
        assert!(matches!(freeze::header(&file), Err(FreezeError::Damaged)));
        file.write_all_at(&byte, at).unwrap();
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(u32, u8),
    Freeze,
    Take(u32),
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..BLOCKS, 1u8..200).prop_map(|(block, byte)| Step::Write(block, byte)),
        2 => Just(Step::Freeze),
        2 => (0..BLOCKS).prop_map(Step::Take),
        1 => Just(Step::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is written, taken or killed in between: each snapshot, or copy, has
    /// what the volume held at its moment.
    #[test]
    fn every_moment_stays_as_it_was(
        lazy: bool,
        copies: bool,
        steps in prop::collection::vec(step(), 1..24),
    ) {
        let fresh = if lazy { State::Absent } else { State::Zero };
        let origin = if lazy { [201, 202, 203, 204, 205, 206] } else { [0; 6] };
        let base = if copies { 100 } else { 0 };
        let mut volume = Volume::new(fresh);
        let mut now = origin;
        let mut moments: Vec<([u8; 6], Option<u32>)> = Vec::new();
        let mut generations: HashMap<u32, Generation> = HashMap::new();
        let mut taken: HashMap<(u32, u32), u8> = HashMap::new();
        for step in steps {
            match step {
                Step::Write(block, byte) => {
                    volume.write(block, byte);
                    now[block as usize] = byte;
                }
                Step::Freeze => {
                    let number = u32::try_from(moments.len()).unwrap();
                    let parent = number.checked_sub(1).filter(|_| !copies);
                    volume.freeze(base + number, parent.map(|parent| (parent, generations[&parent])));
                    generations.insert(number, volume.view(base + number).moment().generation);
                    moments.push((now, parent));
                }
                Step::Take(block) => {
                    if let Some(number) = u32::try_from(moments.len()).unwrap().checked_sub(1) {
                        let mut view = volume.view(base + number);
                        if view.share(block).unwrap() == Share::Data {
                            let byte = byte_of(&mut view, block, &[], &[]);
                            view.take(block, &[1; 32]).unwrap();
                            taken.entry((number, block)).or_insert(byte);
                        }
                    }
                }
                Step::Kill => {
                    // Nothing was synced: what was absent is so again.
                    let count = u32::try_from(moments.len()).unwrap();
                    volume.restart(base..base + count);
                    if lazy {
                        now = origin;
                    }
                }
            }
        }
        for (number, (moment, parent)) in (0u32..).zip(&moments) {
            let parent = parent.map_or([0; 6], |parent| moments[parent as usize].0);
            let mut view = volume.view(base + number);
            for block in 0..BLOCKS {
                let byte = match taken.get(&(number, block)) {
                    Some(byte) => *byte,
                    None => byte_of(&mut view, block, &parent, &origin),
                };
                prop_assert_eq!(byte, moment[block as usize], "{} of {}", block, number);
            }
        }
    }
}
