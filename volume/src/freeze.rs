//! A freeze: what a volume was at a moment, kept while it goes on changing, for
//! as long as a snapshot of that moment is stored, or a copy of it is filled.
//!
//! At the moment nothing is copied, and nothing is done that grows with the volume
//! but to remember which leaves the file `map` does not have yet: they are saved in
//! the file `freeze-ID` when the volume goes on ([`Unsaved`]). Later, before a block changes for the first time, its leaf is saved in
//! the file `freeze-ID`; and the block itself, if the snapshot is to store it
//! and has not taken it yet, is copied to `kept-ID`, at the same offset. So
//! what a snapshot costs the guest is at most one copy of each block that it
//! writes to in the meantime. copy_file_range(2) shares extents instead where
//! the file system can.
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
//! ```text
//! byte     0   8  "PLINVFRZ"
//!          8   4  version of the format: 2 (1 was the same, without copies)
//!         12   4  state: 0 not begun, 1 begun, 2 broken, 3 ended
//!         16  16  id of the snapshot, or of the volume that is the copy
//!         32  16  the volume's id
//!         48   8  when it was asked for, in seconds since 1970
//!         56  16  the host's boot: a snapshot's freeze does not outlive it
//!         72  16  the snapshot that this one differs from (all ones: none)
//!         88   4  and its generation
//!         92   4  generation of what was written last before the moment
//!         96   4  floor, as in the map's header
//!        100   4  state of blocks that nobody had touched
//!        104   8  the volume's size
//!        112   4  what it is for: 0 a snapshot, 1 a copy
//!        116 392  zeroes
//!        508   4  CRC-32 of the bytes before, but for the state
//!       4096      leaves, 512 bytes each: as they were; zeroes for one that did
//!                 not change and is in the map
//!          …      kept: a byte for each block, 1 if `kept-ID` has it
//!          …      taken: 32 bytes for each block, the digest of what the
//!                 snapshot stores of it, zeroes until it does
//! ```
//!
//! All numbers are little-endian; each part begins at a multiple of 4096. The
//! process that writes the volume writes leaves and kept, whoever stores the
//! snapshot writes taken. Each publishes by order alone: x86-64 neither reorders
//! stores nor loads, and both go through the page cache of one host.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{SeekFrom, fdatasync};
use rustix::io::Errno;

use crate::BLOCK;
use crate::entry::{Entry, Generation, State};
use crate::field::{array, u32_at, u64_at};
use crate::id::{SnapshotId, VolumeId};
use crate::leaf::{self, Leaf, position};
use crate::map::{BlockMap, MapError, UnsyncedHeader};
use crate::size::VolumeSize;

const SIZE: usize = 512;
const MAGIC: &[u8; 8] = b"PLINVFRZ";
const VERSION: u32 = 2;

/// The version before there were copies.
const FIRST_VERSION: u32 = 1;

/// Where the state is.
const STATE: u64 = 12;

/// Where the leaves begin.
const LEAVES: u64 = 4096;

/// The digest of a block (SHA-256), as a snapshot names it.
pub type Digest = [u8; 32];

/// How far a freeze is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its moment is to come.
    Planned,
    /// Its moment has come.
    Begun,
    /// A block could not be kept: the snapshot cannot be had. No copy's.
    Broken,
    /// It is not needed any more.
    Ended,
}

/// What a freeze is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A snapshot, for as long as it is stored.
    Snapshot(SnapshotId),
    /// A volume that is a copy, for as long as it lacks blocks.
    Copy(VolumeId),
}

impl From<SnapshotId> for Purpose {
    fn from(id: SnapshotId) -> Self {
        Self::Snapshot(id)
    }
}

impl From<VolumeId> for Purpose {
    fn from(id: VolumeId) -> Self {
        Self::Copy(id)
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(id) => write!(f, "snapshot {id}"),
            Self::Copy(id) => write!(f, "copy {id}"),
        }
    }
}

/// What is known of a freeze before its moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it is for.
    pub purpose: Purpose,
    /// Of which volume.
    pub volume: VolumeId,
    /// When it was asked for, in seconds since 1970.
    pub created: u64,
    /// The host's boot (/proc/sys/kernel/random/boot_id).
    pub boot: [u8; 16],
    /// A snapshot of the same volume, or the one that it was made from, whose
    /// blocks are not stored again; and the last generation in it.
    pub parent: Option<(SnapshotId, Generation)>,
}

/// What was so at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Of what was written last.
    pub generation: Generation,
    /// Blocks of lower generations may have changed in this.
    pub floor: Generation,
    /// Of blocks that nobody had touched.
    pub fresh: State,
    /// The volume's size.
    pub size: VolumeSize,
}

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

/// The header of a freeze.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// How far it is.
    pub stage: Stage,
    /// What was known before.
    pub plan: Plan,
    /// What was so at the moment, once that has come.
    pub moment: Option<Moment>,
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
        let header = Header::read(&file)?;
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
        let header = Header::read(&file)?;
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

/// Where leaf `number` is in the file.
pub(crate) fn place(number: u32) -> u64 {
    LEAVES + u64::from(number) * leaf::SIZE as u64
}

/// Leaf `number` if it is in the freeze.
pub(crate) fn saved_leaf(file: &File, id: VolumeId, number: u32) -> io::Result<Option<Leaf>> {
    crate::map::read_leaf(file, id, number, place(number))
}

/// How far the freeze in `file` is; `None` if that is no stage.
pub(crate) fn stage(file: &File) -> io::Result<Option<Stage>> {
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, STATE)?;
    Ok(Stage::from_number(u32::from_le_bytes(bytes)))
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

/// Changes how far the freeze in `file` is.
fn set_stage(file: &File, stage: Stage) -> io::Result<()> {
    file.write_all_at(&stage.number().to_le_bytes(), STATE)
}

/// Where the tables of a freeze are, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    kept: u64,
    taken: u64,
    end: u64,
}

impl Parts {
    pub(crate) fn of(size: VolumeSize) -> Self {
        let blocks = size.blocks();
        let page = |at: u64| at.next_multiple_of(4096);
        let kept = page(place(leaf::count(blocks)));
        let taken = page(kept + u64::from(blocks));
        let end = taken + u64::from(blocks) * size_of::<Digest>() as u64;
        Self { kept, taken, end }
    }

    pub(crate) fn is_kept(&self, file: &File, block: u32) -> io::Result<bool> {
        let mut byte = [0];
        file.read_exact_at(&mut byte, self.kept + u64::from(block))?;
        Ok(byte != [0])
    }

    pub(crate) fn taken(&self, file: &File, block: u32) -> io::Result<Option<Digest>> {
        let mut digest = Digest::default();
        file.read_exact_at(&mut digest, self.place_of_taken(block))?;
        Ok((digest != Digest::default()).then_some(digest))
    }

    pub(crate) fn take(&self, file: &File, block: u32, digest: &Digest) -> io::Result<()> {
        file.write_all_at(digest, self.place_of_taken(block))
    }

    fn place_of_taken(&self, block: u32) -> u64 {
        self.taken + u64::from(block) * size_of::<Digest>() as u64
    }
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

impl Stage {
    fn number(self) -> u32 {
        match self {
            Self::Planned => 0,
            Self::Begun => 1,
            Self::Broken => 2,
            Self::Ended => 3,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        let stages = [Self::Planned, Self::Begun, Self::Broken, Self::Ended];
        stages.into_iter().find(|stage| stage.number() == number)
    }
}

impl Header {
    /// Reads the header of a freeze.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read(file: &File) -> Result<Self, FreezeError> {
        let mut bytes = [0; SIZE];
        file.read_exact_at(&mut bytes, 0)
            .map_err(FreezeError::Read)?;
        Self::decode(&bytes).ok_or(FreezeError::Damaged)
    }

    fn write(&self, file: &File) -> io::Result<()> {
        file.write_all_at(&self.encode(), 0)
    }

    fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let mut put = |at: usize, field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
        };
        put(0, MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &self.stage.number().to_le_bytes());
        let (id, kind) = match self.plan.purpose {
            Purpose::Snapshot(id) => (id.to_bytes(), 0u32),
            Purpose::Copy(id) => (id.to_bytes(), 1),
        };
        put(16, &id);
        put(112, &kind.to_le_bytes());
        put(32, &self.plan.volume.to_bytes());
        put(48, &self.plan.created.to_le_bytes());
        put(56, &self.plan.boot);
        put(72, &[0xff; 16]);
        if let Some((snapshot, generation)) = self.plan.parent {
            put(72, &snapshot.to_bytes());
            put(88, &generation.number().to_le_bytes());
        }
        if let Some(moment) = self.moment {
            put(92, &moment.generation.number().to_le_bytes());
            put(96, &moment.floor.number().to_le_bytes());
            put(100, &Entry::untouched(moment.fresh).encode().to_le_bytes());
            put(104, &moment.size.bytes().to_le_bytes());
        }
        let sum = checksum(&bytes);
        bytes[SIZE - 4..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; SIZE]) -> Option<Self> {
        let u32_at = |at: usize| u32_at(bytes, at);
        let u64_at = |at: usize| u64_at(bytes, at);
        let whole = array(bytes, 0) == *MAGIC
            && [FIRST_VERSION, VERSION].contains(&u32_at(8))
            && u32_at(SIZE - 4) == checksum(bytes);
        if !whole {
            return None;
        }
        let stage = Stage::from_number(u32_at(12))?;
        let parent: [u8; 16] = array(bytes, 72);
        let parent = match parent == [0xff; 16] {
            true => None,
            false => Some((
                SnapshotId::from_bytes(parent)?,
                Generation::new(u32_at(88))?,
            )),
        };
        let moment = match u64_at(104) {
            0 => None,
            size => Some(Moment {
                generation: Generation::new(u32_at(92))?,
                floor: Generation::new(u32_at(96))?,
                fresh: Entry::decode(u32_at(100))?.state,
                size: VolumeSize::new(size).ok()?,
            }),
        };
        let id = array(bytes, 16);
        let purpose = match u32_at(112) {
            0 => Purpose::Snapshot(SnapshotId::from_bytes(id)?),
            1 => Purpose::Copy(VolumeId::from_bytes(id)?),
            _ => return None,
        };
        let plan = Plan {
            purpose,
            volume: VolumeId::from_bytes(array(bytes, 32))?,
            created: u64_at(48),
            boot: array(bytes, 56),
            parent,
        };
        Some(Self {
            stage,
            plan,
            moment,
        })
    }
}

/// Leaves out the state, which is changed by itself.
fn checksum(bytes: &[u8; SIZE]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&bytes[..12]);
    sum.update(&bytes[16..SIZE - 4]);
    sum.finalize()
}

#[cfg(test)]
mod tests;
