//! A leaf: the entries of 126 neighbouring blocks (63 MiB), in one sector.
//!
//! ```text
//! byte   0   4  CRC-32 of the volume's id and of the bytes from 4 on
//!        4   4  number of the leaf
//!        8 504  entries, 4 bytes each
//! ```
//!
//! All numbers are little-endian. A sector of zeroes is no leaf, but stands for
//! one whose blocks nobody has touched: the table of a new volume is a hole.
//! That the id is in the sum tells leaves of one volume from those of another.

use crate::entry::{Entry, Generation, State};
use crate::id::VolumeId;

/// Bytes of a leaf in a file.
pub const SIZE: usize = 512;

/// Blocks that a leaf describes.
pub const BLOCKS: u32 = 126;

/// Leaves that describe `blocks` blocks.
pub fn count(blocks: u32) -> u32 {
    blocks.div_ceil(BLOCKS)
}

/// The leaf that describes `block`, and where in it.
pub fn position(block: u32) -> (u32, usize) {
    (block / BLOCKS, (block % BLOCKS) as usize)
}

/// A leaf in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf([u32; BLOCKS as usize]);

/// A sector that should be a leaf and is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sector {number} of the table of blocks is damaged")]
pub struct Damaged {
    /// The leaf's number.
    pub number: u32,
}

impl Leaf {
    /// A leaf whose blocks nobody has touched.
    pub fn untouched(state: State) -> Self {
        Self([Entry::untouched(state).encode(); BLOCKS as usize])
    }

    /// The entry at `index`, below [`BLOCKS`].
    pub fn get(&self, index: usize) -> Entry {
        Entry::decode(self.0[index]).expect("only entries are ever stored")
    }

    /// Changes the entry at `index`, below [`BLOCKS`].
    pub fn set(&mut self, index: usize, entry: Entry) {
        self.0[index] = entry.encode();
    }

    /// The generation of the block that changed last.
    pub fn newest(&self) -> Generation {
        let generations = (0..BLOCKS as usize).map(|index| self.get(index).generation);
        generations.max().unwrap_or_default()
    }

    /// As leaf `number` of the volume called `id` is written.
    pub fn encode(&self, id: VolumeId, number: u32) -> [u8; SIZE] {
        let mut sector = [0; SIZE];
        sector[4..8].copy_from_slice(&number.to_le_bytes());
        for (field, entry) in sector[8..].chunks_exact_mut(4).zip(self.0) {
            field.copy_from_slice(&entry.to_le_bytes());
        }
        let sum = checksum(id, &sector);
        sector[..4].copy_from_slice(&sum.to_le_bytes());
        sector
    }

    /// What was written as leaf `number`; `None` if nothing was.
    ///
    /// # Errors
    /// The sector holds something else.
    pub fn decode(id: VolumeId, number: u32, sector: &[u8; SIZE]) -> Result<Option<Self>, Damaged> {
        if *sector == [0; SIZE] {
            return Ok(None);
        }
        let field = |at: usize| {
            let bytes = [sector[at], sector[at + 1], sector[at + 2], sector[at + 3]];
            u32::from_le_bytes(bytes)
        };
        let damaged = Damaged { number };
        if field(0) != checksum(id, sector) || field(4) != number {
            return Err(damaged);
        }
        let mut leaf = Self([0; BLOCKS as usize]);
        for (index, entry) in leaf.0.iter_mut().enumerate() {
            *entry = field(8 + 4 * index);
            Entry::decode(*entry).ok_or(damaged)?;
        }
        Ok(Some(leaf))
    }
}

fn checksum(id: VolumeId, sector: &[u8; SIZE]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&id.to_bytes());
    sum.update(&sector[4..]);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> VolumeId {
        "vol-00000000000000001".parse().unwrap()
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let state = prop_oneof![Just(State::Absent), Just(State::Zero), Just(State::Present)];
        (state, 0u32..1 << 30).prop_map(|(state, number)| Entry {
            state,
            generation: Generation::new(number).unwrap(),
        })
    }

    proptest! {
        #[test]
        fn a_leaf_is_read_as_it_was_written(
            changes in prop::collection::vec((0..BLOCKS as usize, entry()), 0..20),
            number: u32,
        ) {
            let mut leaf = Leaf::untouched(State::Zero);
            for (index, entry) in changes {
                leaf.set(index, entry);
                prop_assert_eq!(leaf.get(index), entry);
            }
            let sector = leaf.encode(id(), number);
            prop_assert_eq!(Leaf::decode(id(), number, &sector), Ok(Some(leaf)));
        }

        #[test]
        fn a_flipped_bit_is_found(bit in 0..SIZE * 8) {
            let mut sector = Leaf::untouched(State::Present).encode(id(), 7);
            sector[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Leaf::decode(id(), 7, &sector), Err(Damaged { number: 7 }));
        }
    }

    #[test]
    fn a_leaf_of_another_place_or_volume_is_found() {
        let sector = Leaf::untouched(State::Zero).encode(id(), 7);
        assert!(Leaf::decode(id(), 8, &sector).is_err());
        let other = "vol-00000000000000002".parse().unwrap();
        assert!(Leaf::decode(other, 7, &sector).is_err());
        assert_eq!(Leaf::decode(id(), 7, &[0; SIZE]), Ok(None));
    }

    #[test]
    fn blocks_have_their_places() {
        assert_eq!(position(0), (0, 0));
        assert_eq!(position(125), (0, 125));
        assert_eq!(position(126), (1, 0));
        assert_eq!((count(1), count(126), count(127)), (1, 1, 2));
    }
}
