//! A freeze: what a volume was at a moment, kept while it goes on changing, for
//! as long as a snapshot of that moment is stored, or a copy of it is filled.
//!
//! At the moment nothing is copied, and nothing is done that grows with the volume
//! but to remember which leaves the file `map` does not have yet: they are saved in
//! the file `freeze-ID` when the volume goes on ([`Unsaved`]). Later, before a block
//! changes for the first time, its leaf is saved there, too; and the block itself,
//! if the snapshot is to store it and has not taken it yet, is copied to `kept-ID`,
//! at the same offset. So what a snapshot costs the guest is at most one copy of
//! each block that it writes to in the meantime. copy_file_range(2) shares extents
//! instead where the file system can.
//!
//! What it is for decides who loses if a block cannot be kept, and what power
//! may take:
//!
//! - A **snapshot** is whole or absent. It is given up: the guest's write goes
//!   on. Nothing is synced for it, so it does not outlive the host's boot.
//! - A **copy** is a volume that has its own data soon, and acknowledges them;
//!   giving it up would lose these. The guest's write fails. And what is kept is
//!   durable before the guest's write begins: first the block, then its mark and
//!   its leaf. So its freeze outlives the boot, until the copy has all blocks.
//!
//! What its files hold, byte by byte, is in `freeze/format.rs`.

mod format;

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{SeekFrom, fdatasync};
use rustix::io::Errno;

use crate::BLOCK;
use crate::entry::{Entry, State};
use crate::id::VolumeId;
use crate::leaf::{self, Leaf, position};
use crate::map::{BlockMap, MapError, UnsyncedHeader};
use crate::size::VolumeSize;

pub use format::{Digest, Header, Moment, Plan, Purpose, Stage};
pub(crate) use format::{Parts, place, saved_leaf, stage};

use format::set_stage;

/// Why a freeze cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    /// Its file cannot be read.
    #[error("the file of a snapshot or copy under way cannot be read")]
    Read(#[source] io::Error),
    /// Its file cannot be written.
    #[error("the file of a snapshot or copy under way cannot be written")]
    Write(#[source] io::Error),
    /// Its file holds something else.
    #[error("the file of a snapshot or copy under way is damaged")]
    Damaged,
    /// It is of another volume.
    #[error("it is of volume {0}")]
    OtherVolume(VolumeId),
    /// It is not at the stage for this.
    #[error("the snapshot or copy is {0:?} already")]
    Stage(Stage),
    /// The volume has so many already.
    #[error(
        "{0} snapshots and copies of the volume are under way, which is as many as there can be"
    )]
    TooMany(usize),
    /// What is to be frozen has no map.
    #[error("it is not a volume, or it is in use by a guest at this moment")]
    NotAVolume,
    /// The map refused.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// What a snapshot is to have of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// What its parent has.
    Parent,
    /// What the snapshot has that the volume was made from, if any.
    Origin,
    /// Zeroes.
    Zero,
    /// What `data` held.
    Data,
}

/// A freeze of a volume that is being written.
#[derive(Debug)]
pub struct Freeze {
    file: File,
    kept: File,
    plan: Plan,
    moment: Moment,
    /// Leaves that were not in the map's file, whether `file` has them yet or not.
    remembered: Arc<Remembered>,
    /// `file` has what may not be durable, and has to be.
    unsynced: Cell<bool>,
    /// A sync failed: what is durable is not known any more.
    doubtful: Cell<bool>,
}

/// What is known at the moment, and not in the file of the freeze: leaves that
/// the map's file did not have then.
#[derive(Debug, Default)]
struct Remembered {
    /// In ascending order.
    leaves: Vec<(u32, Arc<Leaf>)>,
    /// A block could not be kept.
    given_up: AtomicBool,
}

impl Remembered {
    fn leaf(&self, number: u32) -> Option<&Leaf> {
        let found = self
            .leaves
            .binary_search_by_key(&number, |(number, _)| *number);
        found.ok().map(|at| &*self.leaves[at].1)
    }
}

/// A freeze whose moment was, and whose file does not say so yet. It can be saved
/// by any thread while the volume goes on; what else is written to the file
/// meanwhile is elsewhere in it.
#[derive(Debug)]
#[must_use = "until it is saved, nobody can store what is frozen"]
pub struct Unsaved {
    file: File,
    /// As it is to be.
    header: Header,
    map_header: UnsyncedHeader,
    remembered: Arc<Remembered>,
}

/// Leaves written by one system call.
const RUN: usize = 256;

impl Unsaved {
    /// Waits for the disk: the map's new generation is durable then. The freeze
    /// can be stored from now on.
    ///
    /// # Errors
    /// It cannot be, or was given up already.
    pub fn save(self) -> Result<(), FreezeError> {
        self.write_leaves().map_err(FreezeError::Write)?;
        self.map_header.sync().map_err(FreezeError::Write)?;
        match stage(&self.file).map_err(FreezeError::Read)? {
            Some(Stage::Planned) => {}
            Some(stage) => return Err(FreezeError::Stage(stage)),
            None => return Err(FreezeError::Damaged),
        }
        self.header.write(&self.file).map_err(FreezeError::Write)?;
        // Whoever gave it up may have said so before the header was written.
        if self.remembered.given_up.load(Ordering::SeqCst) {
            set_stage(&self.file, Stage::Broken).map_err(FreezeError::Write)?;
            return Err(FreezeError::Stage(Stage::Broken));
        }
        Ok(())
    }

    fn write_leaves(&self) -> io::Result<()> {
        let id = self.header.plan.volume;
        let leaves = &self.remembered.leaves;
        let mut bytes = Vec::with_capacity(RUN * leaf::SIZE);
        let neighbours = leaves.chunk_by(|(one, _), (next, _)| one + 1 == *next);
        for run in neighbours.flat_map(|run| run.chunks(RUN)) {
            bytes.clear();
            for (number, leaf) in run {
                bytes.extend_from_slice(&leaf.encode(id, *number));
            }
            self.file.write_all_at(&bytes, place(run[0].0))?;
        }
        Ok(())
    }
}

/// Makes room in the files of a freeze of a volume of `size`: what its moment then
/// does not have to do.
///
/// # Errors
/// The file system refuses.
pub fn make_room(file: &File, kept: &File, size: VolumeSize) -> Result<(), FreezeError> {
    let make = |file: &File, len: u64| match file.metadata()?.len() == len {
        true => Ok(()),
        false => file.set_len(len),
    };
    make(file, Parts::of(size).end)
        .and_then(|()| make(kept, size.bytes()))
        .map_err(FreezeError::Write)
}

/// The header of the freeze in `file`.
///
/// # Errors
/// It cannot be read, or is none.
pub fn header(file: &File) -> Result<Header, FreezeError> {
    let header = Header::read(file).map_err(FreezeError::Read)?;
    header.ok_or(FreezeError::Damaged)
}

/// Makes `file`, which must be empty, a freeze whose moment is to come.
///
/// # Errors
/// It cannot be written.
pub fn plan(file: &File, plan: &Plan) -> Result<(), FreezeError> {
    let header = Header {
        stage: Stage::Planned,
        plan: plan.clone(),
        moment: None,
    };
    header.write(file).map_err(FreezeError::Write)
}

impl Freeze {
    /// The moment: what `map` says now is what the freeze keeps. Its volume must
    /// have no write under way. `kept` must be empty, or [have room](make_room).
    ///
    /// The freeze counts from now on for who writes, and for who stores it when
    /// what comes with it [is saved](Unsaved::save). For a copy `data` and the files
    /// of the freeze are to be synced before anybody relies on it. The volume may
    /// go on meanwhile. A writer that is killed in between loses one generation at
    /// most, which the one that opening the volume begins makes up for.
    ///
    /// # Errors
    /// There is no freeze: the volume has only begun a generation.
    pub fn begin(
        file: File,
        kept: File,
        map: &mut BlockMap,
    ) -> Result<(Self, Unsaved), FreezeError> {
        let header = self::header(&file)?;
        if header.stage != Stage::Planned {
            return Err(FreezeError::Stage(header.stage));
        }
        check_volume(&header, map)?;
        let moment = Moment {
            generation: map.begin_generation()?,
            floor: map.header().floor,
            fresh: map.header().fresh,
            size: map.header().size,
        };
        make_room(&file, &kept, moment.size)?;
        let mut write = || {
            map.write_header()?;
            Ok((file.try_clone()?, map.unsynced_header()?))
        };
        let (own, map_header) = write().map_err(FreezeError::Write)?;
        let remembered = Arc::new(Remembered {
            leaves: map.dirty_leaves().collect(),
            given_up: AtomicBool::new(false),
        });
        let unsaved = Unsaved {
            file: own,
            header: Header {
                stage: Stage::Begun,
                moment: Some(moment),
                ..header.clone()
            },
            map_header,
            remembered: Arc::clone(&remembered),
        };
        let freeze = Self::new(file, kept, header.plan, moment, remembered);
        Ok((freeze, unsaved))
    }

    /// Goes on with one that a former writer of the volume began. `None` if it is
    /// over: it may have come to its end since it was opened.
    ///
    /// # Errors
    /// It is damaged, of another volume, or has not begun.
    pub fn resume(file: File, kept: File, map: &BlockMap) -> Result<Option<Self>, FreezeError> {
        let header = self::header(&file)?;
        check_volume(&header, map)?;
        let moment = match (header.stage, header.moment) {
            (Stage::Begun, Some(moment)) => moment,
            (Stage::Ended | Stage::Broken, _) => return Ok(None),
            (stage, _) => return Err(FreezeError::Stage(stage)),
        };
        // What the former writer remembered, it saved, or there is no freeze.
        let remembered = Arc::default();
        let freeze = Self::new(file, kept, header.plan, moment, remembered);
        if freeze.is_durable() {
            // The former writer may have been killed before it had waited.
            let len = freeze.kept.metadata().map_err(FreezeError::Read)?.len();
            if len != moment.size.bytes() {
                // It is cut to nothing after its end.
                return match freeze.is_over() {
                    true => Ok(None),
                    false => Err(FreezeError::Damaged),
                };
            }
            for file in [&freeze.kept, &freeze.file] {
                fdatasync(file).map_err(|errno| FreezeError::Write(errno.into()))?;
            }
        }
        Ok(Some(freeze))
    }

    fn new(
        file: File,
        kept: File,
        plan: Plan,
        moment: Moment,
        remembered: Arc<Remembered>,
    ) -> Self {
        Self {
            file,
            kept,
            plan,
            moment,
            remembered,
            unsynced: Cell::new(false),
            doubtful: Cell::new(false),
        }
    }

    /// Whether nobody needs it any more.
    pub fn is_over(&self) -> bool {
        match stage(&self.file) {
            Ok(stage) => stage != Some(Stage::Begun),
            Err(_) => !self.is_durable(),
        }
    }

    /// Whether power may go, and blocks must not be lost.
    fn is_durable(&self) -> bool {
        matches!(self.plan.purpose, Purpose::Copy(_))
    }

    /// Sees to it that what the freeze is for can still be had when `blocks`
    /// change in `map` or in `data`. If that cannot be, a snapshot is given up: it
    /// is no reason for a guest to wait, or to lose a write. A copy is none that
    /// is given up, and the blocks must not change.
    ///
    /// Returns whether the freeze is still needed.
    ///
    /// # Errors
    /// The blocks' entries in `map` cannot be read; or they were not kept for a
    /// copy; or not for a snapshot, and that cannot be noted, either.
    pub fn before_change(
        &self,
        blocks: &[u32],
        map: &mut BlockMap,
        data: &File,
    ) -> io::Result<bool> {
        // A map that cannot be read is no reason to give a snapshot up.
        for block in blocks {
            map.leaf(position(*block).0)?;
        }
        match self.keep(blocks, map, data) {
            Err(_) if !self.is_durable() => self.give_up(),
            kept => kept,
        }
    }

    /// What it is to hold may be lost: there will be no such snapshot. A copy is
    /// not given up: what it is to hold was durable when it was made.
    ///
    /// Returns whether the freeze is still needed.
    ///
    /// # Errors
    /// That cannot be noted.
    pub fn give_up(&self) -> io::Result<bool> {
        if self.is_durable() {
            return Ok(true);
        }
        // Whoever stores the snapshot must hear of it; the space is needed.
        self.remembered.given_up.store(true, Ordering::SeqCst);
        let told = set_stage(&self.file, Stage::Broken);
        let freed = self.kept.set_len(0);
        told.or(freed).map(|()| false)
    }

    fn keep(&self, blocks: &[u32], map: &mut BlockMap, data: &File) -> io::Result<bool> {
        // Planned is one whose moment was, until it is saved.
        if !matches!(stage(&self.file)?, Some(Stage::Planned | Stage::Begun)) {
            return Ok(false);
        }
        let parts = Parts::of(self.moment.size);
        let mut copied = Vec::new();
        let own = |block: &&u32| **block < self.moment.size.blocks();
        for block in blocks.iter().filter(own) {
            let frozen = self.save_leaf(*block, map)?;
            let wanted = share(frozen, &self.plan, &self.moment) == Share::Data;
            if wanted
                && !parts.is_kept(&self.file, *block)?
                && parts.taken(&self.file, *block)?.is_none()
            {
                copy_block(data, &self.kept, *block, self.moment.size)?;
                copied.push(*block);
            }
        }
        if !copied.is_empty() {
            self.sync(&self.kept)?;
            self.unsynced.set(true);
        }
        for block in copied {
            self.file
                .write_all_at(&[1], parts.kept + u64::from(block))?;
        }
        if self.unsynced.get() {
            self.sync(&self.file)?;
            self.unsynced.set(false);
        }
        Ok(true)
    }

    /// Saves the leaf of `block` unless that was done. Gives the block's entry at
    /// the moment.
    fn save_leaf(&self, block: u32, map: &mut BlockMap) -> io::Result<Entry> {
        let ((number, index), id) = (position(block), self.plan.volume);
        if let Some(leaf) = self.remembered.leaf(number) {
            return Ok(leaf.get(index));
        }
        if let Some(leaf) = saved_leaf(&self.file, id, number)? {
            return Ok(leaf.get(index));
        }
        let now = map.leaf(number)?;
        self.unsynced.set(true);
        self.file
            .write_all_at(&now.encode(id, number), place(number))?;
        Ok(now.get(index))
    }

    /// Makes durable what one of its files has, if that has to be.
    fn sync(&self, file: &File) -> io::Result<()> {
        if !self.is_durable() {
            return Ok(());
        }
        // The kernel says it once, and forgets what it could not write.
        if self.doubtful.get() {
            return Err(io::Error::other(
                "what was kept for a copy could not be made durable",
            ));
        }
        let synced = fdatasync(file);
        self.doubtful.set(synced.is_err());
        Ok(synced?)
    }
}

/// Has each of `freezes` see to it that `block` of `data` can change
/// ([`Freeze::before_change`]). Those that are not needed any more are dropped.
///
/// # Errors
/// The block must not change.
pub fn before_change(
    freezes: &mut Vec<Freeze>,
    block: u32,
    map: &mut BlockMap,
    data: &File,
) -> io::Result<()> {
    let mut at = 0;
    while let Some(freeze) = freezes.get(at) {
        match freeze.before_change(&[block], map, data)? {
            true => at += 1,
            false => drop(freezes.swap_remove(at)),
        }
    }
    Ok(())
}

/// What a snapshot of `moment` has of a block with entry `frozen` then.
pub fn share(frozen: Entry, plan: &Plan, moment: &Moment) -> Share {
    let changed = frozen.generation.max(moment.floor);
    if plan.parent.is_some_and(|(_, parent)| changed <= parent) {
        return Share::Parent;
    }
    match frozen.state {
        State::Absent => Share::Origin,
        // The hint is good if it was written after the last doubt.
        State::Zero if frozen.generation >= moment.floor => Share::Zero,
        State::Zero | State::Present => Share::Data,
    }
}

/// Ends the freeze in `file`, whatever its stage: its moment does not come any
/// more, or is of no use. What it `kept` is freed at once, though whoever writes
/// the volume has the file open until the next block changes.
///
/// # Errors
/// It cannot be written.
pub fn end(file: &File, kept: &File) -> io::Result<()> {
    set_stage(file, Stage::Ended)?;
    kept.set_len(0)
}

/// Copies a block, or what there is of the last, to the same place. What is a hole
/// there is one in the new file already.
fn copy_block(from: &File, to: &File, block: u32, size: VolumeSize) -> io::Result<()> {
    let start = u64::from(block) * BLOCK;
    let end = size.bytes().min(start + BLOCK);
    let mut source = start;
    while let Some(data) = next_data(from, source..end)? {
        source = data.start;
        let mut target = data.start;
        while source < data.end {
            let len = usize::try_from(data.end - source).map_err(io::Error::other)?;
            let copied =
                rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), len)?;
            if copied == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    Ok(())
}

/// The first part of `range` that is not a hole. Not every file system tells:
/// then it is all of it.
fn next_data(file: &File, range: Range<u64>) -> io::Result<Option<Range<u64>>> {
    if range.is_empty() {
        return Ok(None);
    }
    let start = match rustix::fs::seek(file, SeekFrom::Data(range.start)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(_) => return Ok(Some(range)),
    };
    if start >= range.end {
        return Ok(None);
    }
    let end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
    Ok(Some(start..end.min(range.end)))
}

fn check_volume(header: &Header, map: &BlockMap) -> Result<(), FreezeError> {
    let volume = header.plan.volume;
    match volume == map.header().id {
        true => Ok(()),
        false => Err(FreezeError::OtherVolume(volume)),
    }
}

#[cfg(test)]
mod tests;
