//! The files of a freeze, byte by byte.
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

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::entry::{Entry, Generation, State};
use crate::field::{array, u32_at, u64_at};
use crate::id::{SnapshotId, VolumeId};
use crate::leaf::{self, Leaf};
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

/// Changes how far the freeze in `file` is.
pub(super) fn set_stage(file: &File, stage: Stage) -> io::Result<()> {
    file.write_all_at(&stage.number().to_le_bytes(), STATE)
}

/// Where the tables of a freeze are, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(super) kept: u64,
    taken: u64,
    pub(super) end: u64,
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
    /// What `file` begins with; `None` if that is no header.
    pub(super) fn read(file: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; SIZE];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(Self::decode(&bytes))
    }

    pub(super) fn write(&self, file: &File) -> io::Result<()> {
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
mod tests {
    use super::*;

    #[test]
    fn a_header_of_the_first_version_is_a_snapshot_s() {
        let snapshot: SnapshotId = "snap-0123456789abcdef0".parse().unwrap();
        let header = Header {
            stage: Stage::Planned,
            plan: Plan {
                purpose: snapshot.into(),
                volume: "vol-00000000000000001".parse().unwrap(),
                created: 7,
                boot: [3; 16],
                parent: None,
            },
            moment: None,
        };
        let mut bytes = header.encode();
        bytes[8] = 1;
        let sum = checksum(&bytes);
        bytes[SIZE - 4..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Header::decode(&bytes), Some(header));
    }
}
