//! The header of the file `map`: two slots, of which the newer whole one counts,
//! so that writing it leaves one whole whenever power goes.
//!
//! ```text
//! byte   0   8  "PLINVMAP"
//!        8   4  version of the format: 1
//!       12   4  1 while a writer has the volume open, else 0
//!       16  16  the volume's id
//!       32   8  the volume's size in bytes
//!       40   8  number of this header: slot 0 has even ones, slot 1 odd ones
//!       48   8  epoch: transactions of other epochs are not the journal's
//!       56   4  generation: of what is written now
//!       60   4  floor: blocks of lower generations may have changed then
//!       64   4  state of blocks that nobody has touched
//!       68 440  zeroes
//!      508   4  CRC-32 of the bytes before
//! ```
//!
//! All numbers are little-endian.
//!
//! The **floor** makes generations cheap: they are made durable only when the
//! volume is closed. One that was not closed begins a new generation when it is
//! opened, and counts as changed everywhere in that.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::entry::{Entry, Generation, State};
use crate::field::{array, u32_at, u64_at};
use crate::id::VolumeId;
use crate::size::VolumeSize;

/// Bytes from one slot to the other: what any disk writes apart.
pub const SLOT: u64 = 4096;

/// Bytes of a header.
const SIZE: usize = 512;

const MAGIC: &[u8; 8] = b"PLINVMAP";
const VERSION: u32 = 1;

/// What the map says about all of its volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// A writer has the volume open, or went without closing it.
    pub open: bool,
    /// The volume's id.
    pub id: VolumeId,
    /// The volume's size.
    pub size: VolumeSize,
    /// Counts headers; the highest counts.
    pub number: u64,
    /// The journal's epoch.
    pub epoch: u64,
    /// Of what is written now.
    pub generation: Generation,
    /// Blocks of lower generations may have changed in this.
    pub floor: Generation,
    /// Of blocks that nobody has touched.
    pub fresh: State,
}

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// Neither slot begins like one.
    #[error("it is not the map of a volume")]
    NotAMap,
    /// Of a later plinth.
    #[error("its format has version {0}, and this plinth knows version {VERSION}")]
    Version(u32),
    /// Neither slot is whole.
    #[error("both copies of its header are damaged")]
    Damaged,
}

impl Header {
    /// Of a new volume.
    pub fn new(id: VolumeId, size: VolumeSize, fresh: State) -> Self {
        Self {
            open: false,
            id,
            size,
            number: 0,
            epoch: 1,
            generation: Generation::FIRST,
            floor: Generation::ORIGIN,
            fresh,
        }
    }

    /// Reads the newer whole header of `file`.
    ///
    /// # Errors
    /// It cannot be read; of kind `InvalidData`, with a [`BadHeader`], if there
    /// is none.
    pub fn read(file: &File) -> io::Result<Self> {
        let mut slots = [[0; SIZE]; 2];
        for (slot, at) in slots.iter_mut().zip([0, SLOT]) {
            read_up_to(file, slot, at)?;
        }
        let [first, second] = slots.map(|slot| Self::decode(&slot));
        let newer = match (first, second) {
            (Ok(first), Ok(second)) if first.number > second.number => Ok(first),
            (_, Ok(second)) => Ok(second),
            (Ok(first), _) => Ok(first),
            // The graver of the reasons, in the order of their declaration.
            (Err(BadHeader::NotAMap), Err(why)) | (Err(why), Err(_)) => Err(why),
        };
        newer.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
    }

    /// Writes the header into the slot that the one before is not in. It is
    /// durable after the next fdatasync(2).
    ///
    /// # Errors
    /// It cannot be written; the one before still counts.
    pub fn write_next(&mut self, file: &File) -> io::Result<()> {
        let next = Self {
            number: self.number + 1,
            ..self.clone()
        };
        next.write(file)?;
        *self = next;
        Ok(())
    }

    /// Writes the header of a new file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, file: &File) -> io::Result<()> {
        file.write_all_at(&self.encode(), SLOT * (self.number % 2))
    }

    fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let mut put = |at: usize, field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
        };
        put(0, MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &u32::from(self.open).to_le_bytes());
        put(16, &self.id.to_bytes());
        put(32, &self.size.bytes().to_le_bytes());
        put(40, &self.number.to_le_bytes());
        put(48, &self.epoch.to_le_bytes());
        put(56, &self.generation.number().to_le_bytes());
        put(60, &self.floor.number().to_le_bytes());
        put(64, &Entry::untouched(self.fresh).encode().to_le_bytes());
        let sum = crc32fast::hash(&bytes[..SIZE - 4]);
        bytes[SIZE - 4..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; SIZE]) -> Result<Self, BadHeader> {
        let u32_at = |at: usize| u32_at(bytes, at);
        let u64_at = |at: usize| u64_at(bytes, at);
        if array(bytes, 0) != *MAGIC {
            return Err(BadHeader::NotAMap);
        }
        if crc32fast::hash(&bytes[..SIZE - 4]) != u32_at(SIZE - 4) {
            return Err(BadHeader::Damaged);
        }
        if u32_at(8) != VERSION {
            return Err(BadHeader::Version(u32_at(8)));
        }
        let fresh = Entry::decode(u32_at(64)).ok_or(BadHeader::Damaged)?;
        let generation = |at| Generation::new(u32_at(at)).ok_or(BadHeader::Damaged);
        Ok(Self {
            open: u32_at(12) != 0,
            id: VolumeId::from_bytes(array(bytes, 16)).ok_or(BadHeader::Damaged)?,
            size: VolumeSize::new(u64_at(32)).map_err(|_| BadHeader::Damaged)?,
            number: u64_at(40),
            epoch: u64_at(48),
            generation: generation(56)?,
            floor: generation(60)?,
            fresh: fresh.state,
        })
    }
}

/// Fills `bytes` from `at` on, as far as the file goes.
fn read_up_to(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.read_at(bytes, at) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                bytes = &mut bytes[read..];
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        let id = "vol-0000000000000beef".parse().unwrap();
        Header::new(id, VolumeSize::new(5 << 20).unwrap(), State::Absent)
    }

    fn written() -> (File, Header) {
        let file = tempfile::tempfile().unwrap();
        let mut header = header();
        header.write(&file).unwrap();
        header.generation = Generation::new(9).unwrap();
        header.write_next(&file).unwrap();
        (file, header)
    }

    fn reason(file: &File) -> BadHeader {
        let error = Header::read(file).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        *error.into_inner().unwrap().downcast().unwrap()
    }

    #[test]
    fn the_newer_header_counts() {
        let (file, mut header) = written();
        assert_eq!(Header::read(&file).unwrap(), header);
        header.open = true;
        header.write_next(&file).unwrap();
        assert_eq!(Header::read(&file).unwrap(), header);
    }

    #[test]
    fn a_half_written_header_leaves_the_one_before() {
        let (file, mut header) = written();
        let before = header.clone();
        header.write_next(&file).unwrap();
        file.write_all_at(&[0xff; 256], SLOT * (header.number % 2) + 256)
            .unwrap();
        assert_eq!(Header::read(&file).unwrap(), before);
    }

    #[test]
    fn what_is_no_header_is_refused_with_a_reason() {
        let empty = tempfile::tempfile().unwrap();
        assert_eq!(reason(&empty), BadHeader::NotAMap);
        let (file, _) = written();
        file.write_all_at(&[1], 20).unwrap();
        file.write_all_at(&[1], SLOT + 20).unwrap();
        assert_eq!(reason(&file), BadHeader::Damaged);
        let mut later = header().encode();
        later[8] = 2;
        let sum = crc32fast::hash(&later[..SIZE - 4]);
        later[SIZE - 4..].copy_from_slice(&sum.to_le_bytes());
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&later, 0).unwrap();
        assert_eq!(reason(&file), BadHeader::Version(2));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_found(bit in 0..SIZE * 8) {
            let mut bytes = header().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Header::decode(&bytes).is_err());
        }
    }
}
