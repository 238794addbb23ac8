//! Which block of a volume held what when a snapshot was taken.
//!
//! ```text
//! offset size
//!      0    4  "PLMF"
//!      4    4  version: 1
//!      8   16  the snapshot's id
//!     24   16  the volume's id
//!     40    8  the volume's size, in bytes
//!     48    8  when it was taken, in seconds since 1970 (UTC)
//!     56    4  the volume's generation then
//!     60    4  the parent's generation; 0 without a parent
//!     64   16  the parent's id; 16 bytes FF without a parent
//!     80   36  for each block that is not all zeroes, in ascending order:
//!                 0   4  its index
//!                 4  32  its SHA-256
//!      …   36  the end:
//!                 0   4  FFFF FFFF
//!                 4  32  SHA-256 of all before the end
//! ```
//!
//! Numbers are little-endian, ids as [`SnapshotId::to_bytes`] gives them. The
//! parent is the snapshot that unchanged blocks were taken from; a manifest
//! names all blocks itself, and needs no other to be read.
//!
//! It is written and read as a stream, since that of 64 TiB has 4.8 GB. What a
//! [`ManifestReader`] gave is to be trusted only when it came to its end.

mod cursor;
mod reader;
mod writer;

use std::io;

use volume::entry::Generation;
use volume::id::{SnapshotId, VolumeId};
use volume::size::{BadSize, VolumeSize};

use super::digest::Digest;

pub use cursor::ManifestCursor;
pub use reader::ManifestReader;
pub use writer::ManifestWriter;

const MAGIC: [u8; 4] = *b"PLMF";
const VERSION: u32 = 1;
const HEADER: usize = 80;
const ENTRY: usize = 36;
const END: u32 = u32::MAX;
const NO_PARENT: [u8; 16] = [0xff; 16];

/// What a manifest is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The volume that it was taken of.
    pub volume: VolumeId,
    /// The volume's size then.
    pub size: VolumeSize,
    /// When, in seconds since 1970.
    pub created: u64,
    /// The volume's generation then.
    pub generation: Generation,
    /// The snapshot that unchanged blocks were taken from, and its generation.
    pub parent: Option<(SnapshotId, Generation)>,
}

/// A block that is not all zeroes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the volume.
    pub index: u32,
    /// What is in it.
    pub digest: Digest,
}

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
pub enum BadManifest {
    /// They cannot be read.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// They end too early.
    #[error("it ends too early, at byte {0}")]
    Truncated(u64),
    /// Something else's header.
    #[error("it does not begin as a manifest does")]
    Magic,
    /// Of a later plinth.
    #[error("it is of version {0}; this plinth knows version {VERSION}")]
    Version(u32),
    /// An id that is none.
    #[error("its header has an id that is none")]
    Id,
    /// A generation that no volume has.
    #[error("its header has a generation that no volume has")]
    Generation,
    /// A size that no volume has.
    #[error("its header has a size that no volume has")]
    Size(#[source] BadSize),
    /// Blocks not in ascending order.
    #[error("block {0} is not where it belongs in it")]
    Order(u32),
    /// Blocks behind the volume's end.
    #[error("block {0} is behind the end of the volume")]
    Beyond(u32),
    /// Not what was written.
    #[error("its checksum is wrong: it was damaged")]
    Checksum,
    /// Bytes behind its end.
    #[error("something follows behind its end")]
    Trailing,
}

impl Header {
    fn encode(&self) -> [u8; HEADER] {
        let (parent, parent_generation) = match self.parent {
            Some((id, generation)) => (id.to_bytes(), generation.number()),
            None => (NO_PARENT, 0),
        };
        let parts: [&[u8]; 9] = [
            &MAGIC,
            &VERSION.to_le_bytes(),
            &self.snapshot.to_bytes(),
            &self.volume.to_bytes(),
            &self.size.bytes().to_le_bytes(),
            &self.created.to_le_bytes(),
            &self.generation.number().to_le_bytes(),
            &parent_generation.to_le_bytes(),
            &parent,
        ];
        let header = parts.concat();
        header.try_into().expect("the parts have 80 bytes")
    }

    fn decode(bytes: &[u8; HEADER]) -> Result<Self, BadManifest> {
        let mut fields = Fields(bytes);
        if fields.take() != MAGIC {
            return Err(BadManifest::Magic);
        }
        match u32::from_le_bytes(fields.take()) {
            VERSION => {}
            other => return Err(BadManifest::Version(other)),
        }
        let snapshot = SnapshotId::from_bytes(fields.take()).ok_or(BadManifest::Id)?;
        let volume = VolumeId::from_bytes(fields.take()).ok_or(BadManifest::Id)?;
        let size = VolumeSize::new(u64::from_le_bytes(fields.take())).map_err(BadManifest::Size)?;
        let created = u64::from_le_bytes(fields.take());
        let mut generation = || {
            let number = u32::from_le_bytes(fields.take());
            Generation::new(number).ok_or(BadManifest::Generation)
        };
        let (generation, parent_generation) = (generation()?, generation()?);
        let parent = match (fields.take(), parent_generation) {
            (NO_PARENT, Generation::ORIGIN) => None,
            (NO_PARENT, _) => return Err(BadManifest::Generation),
            (id, generation) => {
                let id = SnapshotId::from_bytes(id).ok_or(BadManifest::Id)?;
                Some((id, generation))
            }
        };
        Ok(Self {
            snapshot,
            volume,
            size,
            created,
            generation,
            parent,
        })
    }
}

/// What is left of a header.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("a header has its fields");
        self.0 = rest;
        *field
    }
}

#[cfg(test)]
mod tests;
