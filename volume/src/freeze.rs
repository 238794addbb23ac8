//! A freeze: what a volume was at a moment, kept while it goes on changing, for
//! as long as a snapshot of that moment is stored.
//!
//! At the moment nothing is copied but leaves that the file `map` does not have
//! yet. Later, before a block changes for the first time, its leaf is saved in
//! the file `freeze-SNAP`; and the block itself, if the snapshot is to store it
//! and has not taken it yet, is copied to `kept-SNAP`, at the same offset. So
//! what a snapshot costs the guest is at most one copy of each block that it
//! writes to in the meantime. copy_file_range(2) shares extents instead where
//! the file system can.
//!
//! ```text
//! byte     0   8  "PLINVFRZ"
//!          8   4  version of the format: 1
//!         12   4  state: 0 not begun, 1 begun, 2 broken, 3 ended
//!         16  16  the snapshot's id
//!         32  16  the volume's id
//!         48   8  when it was asked for, in seconds since 1970
//!         56  16  the host's boot: a freeze does not outlive it
//!         72  16  the snapshot that this one differs from (all ones: none)
//!         88   4  and its generation
//!         92   4  generation of what was written last before the moment
//!         96   4  floor, as in the map's header
//!        100   4  state of blocks that nobody had touched
//!        104   8  the volume's size
//!        112 396  zeroes
//!        508   4  CRC-32 of the bytes before, but for the state
//!       4096      leaves, 512 bytes each: as they were; zeroes for one that did
//!                 not change and is in the map
//!          …      kept: a byte for each block, 1 if `kept-SNAP` has it
//!          …      taken: 32 bytes for each block, the digest of what the
//!                 snapshot stores of it, zeroes until it does
//! ```
//!
//! All numbers are little-endian; each part begins at a multiple of 4096. The
//! process that writes the volume writes leaves and kept, whoever stores the
//! snapshot writes taken. Each publishes by order alone: x86-64 neither reorders
//! stores nor loads, and both go through the page cache of one host.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::BLOCK;
use crate::entry::{Entry, Generation, State};
use crate::field::{array, u32_at, u64_at};
use crate::id::{SnapshotId, VolumeId};
use crate::leaf::{self, Leaf, position};
use crate::map::{BlockMap, MapError};
use crate::size::VolumeSize;

const SIZE: usize = 512;
const MAGIC: &[u8; 8] = b"PLINVFRZ";
const VERSION: u32 = 1;

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
    /// A block could not be kept: the snapshot cannot be had.
    Broken,
    /// It is not needed any more.
    Ended,
}

/// What is known of a freeze before its moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it is for.
    pub snapshot: SnapshotId,
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
    #[error("the file of a snapshot under way cannot be read")]
    Read(#[source] io::Error),
    /// Its file cannot be written.
    #[error("the file of a snapshot under way cannot be written")]
    Write(#[source] io::Error),
    /// Its file holds something else.
    #[error("the file of a snapshot under way is damaged")]
    Damaged,
    /// It is of another volume.
    #[error("it is of volume {0}")]
    OtherVolume(VolumeId),
    /// It is not at the stage for this.
    #[error("the snapshot is {0:?} already")]
    Stage(Stage),
    /// The volume has so many already.
    #[error("{0} snapshots of the volume are under way, which is as many as there can be")]
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
    /// have no write under way. `kept` must be an empty file.
    ///
    /// The file `map` is to be synced before anybody relies on the snapshot; the
    /// volume may go on meanwhile. A writer that is killed in between loses one
    /// generation at most, which the one that opening the volume begins makes up
    /// for.
    ///
    /// # Errors
    /// There is no freeze: the volume has only begun a generation.
    pub fn begin(file: File, kept: File, map: &mut BlockMap) -> Result<Self, FreezeError> {
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
        let begun = || {
            file.set_len(Parts::of(moment.size).end)?;
            kept.set_len(moment.size.bytes())?;
            for (number, leaf) in map.dirty_leaves() {
                file.write_all_at(&leaf.encode(map.header().id, number), place(number))?;
            }
            let header = Header {
                stage: Stage::Begun,
                moment: Some(moment),
                ..header.clone()
            };
            header.write(&file)
        };
        begun().map_err(FreezeError::Write)?;
        map.write_header().map_err(FreezeError::Write)?;
        Ok(Self {
            file,
            kept,
            plan: header.plan,
            moment,
        })
    }

    /// Goes on with one that a former writer of the volume began.
    ///
    /// # Errors
    /// It is damaged, of another volume, or not under way.
    pub fn resume(file: File, kept: File, map: &BlockMap) -> Result<Self, FreezeError> {
        let header = Header::read(&file)?;
        check_volume(&header, map)?;
        let (Stage::Begun, Some(moment)) = (header.stage, header.moment) else {
            return Err(FreezeError::Stage(header.stage));
        };
        Ok(Self {
            file,
            kept,
            plan: header.plan,
            moment,
        })
    }

    /// Whether nobody needs it any more.
    pub fn is_over(&self) -> bool {
        !matches!(stage(&self.file), Ok(Some(Stage::Begun)))
    }

    /// Sees to it that the snapshot can still be had when `block` changes in
    /// `map` or in `data`. If that cannot be, the snapshot is given up: it is no
    /// reason for a guest to wait, or to lose a write.
    ///
    /// Returns whether the freeze is still needed.
    ///
    /// # Errors
    /// The block's entry in `map` cannot be read; or it was not kept, and that
    /// cannot be noted, either.
    pub fn before_change(&self, block: u32, map: &mut BlockMap, data: &File) -> io::Result<bool> {
        let (number, index) = position(block);
        let now = map.leaf(number)?.clone();
        if block >= self.moment.size.blocks() {
            return Ok(true);
        }
        match self.keep(block, number, index, &now, data) {
            Ok(needed) => Ok(needed),
            Err(_) => self.give_up().map(|()| false),
        }
    }

    /// There will be no such snapshot: what it is to hold cannot be had.
    ///
    /// # Errors
    /// That cannot be noted.
    pub fn give_up(&self) -> io::Result<()> {
        // Whoever stores the snapshot must hear of it; the space is needed.
        let told = set_stage(&self.file, Stage::Broken);
        let freed = self.kept.set_len(0);
        told.or(freed)
    }

    fn keep(
        &self,
        block: u32,
        number: u32,
        index: usize,
        now: &Leaf,
        data: &File,
    ) -> io::Result<bool> {
        if stage(&self.file)? != Some(Stage::Begun) {
            return Ok(false);
        }
        let id = self.plan.volume;
        let frozen = match saved_leaf(&self.file, id, number)? {
            Some(leaf) => leaf.get(index),
            None => {
                self.file
                    .write_all_at(&now.encode(id, number), place(number))?;
                now.get(index)
            }
        };
        let parts = Parts::of(self.moment.size);
        let wanted = share(frozen, &self.plan, &self.moment) == Share::Data;
        if wanted && !parts.is_kept(&self.file, block)? && parts.taken(&self.file, block)?.is_none()
        {
            copy_block(data, &self.kept, block, self.moment.size)?;
            self.file
                .write_all_at(&[1], parts.kept + u64::from(block))?;
        }
        Ok(true)
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

/// Copies a block, or what there is of the last, to the same place.
fn copy_block(from: &File, to: &File, block: u32, size: VolumeSize) -> io::Result<()> {
    let mut source = u64::from(block) * BLOCK;
    let mut target = source;
    let end = size.bytes().min(source + BLOCK);
    match rustix::fs::seek(from, SeekFrom::Data(source)) {
        // There is none: a hole, as it is in the new file.
        Err(Errno::NXIO) => return Ok(()),
        Ok(next) if next >= end => return Ok(()),
        // Not every file system tells.
        _ => {}
    }
    while source < end {
        let len = usize::try_from(end - source).map_err(io::Error::other)?;
        let copied =
            rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), len)?;
        if copied == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
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
        put(16, &self.plan.snapshot.to_bytes());
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
            && u32_at(8) == VERSION
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
        let plan = Plan {
            snapshot: SnapshotId::from_bytes(array(bytes, 16))?,
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
