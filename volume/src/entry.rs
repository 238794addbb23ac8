//! What the map knows of one block, in 32 bits.
//!
//! ```text
//! bit  31 30 29                                    0
//!      state generation
//! ```

use std::fmt;

/// Where a block's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In the snapshot that the volume was made from, if that has it, else
    /// nowhere: then it is zeroes. What `data` has there means nothing.
    Absent,
    /// Nowhere: it is zeroes, and `data` has a hole there.
    Zero,
    /// In `data`.
    Present,
}

/// When a block last changed: the number of snapshots taken before, plus one.
/// 0: never since the volume was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(u32);

/// State and generation of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where its bytes are.
    pub state: State,
    /// When they last changed.
    pub generation: Generation,
}

const SHIFT: u32 = 30;

impl Generation {
    /// Before anything was written.
    pub const ORIGIN: Self = Self(0);
    /// Of what is written before the first snapshot.
    pub const FIRST: Self = Self(1);
    /// More snapshots than this no volume has.
    pub const LAST: Self = Self((1 << SHIFT) - 1);

    /// The `number`th; `None` beyond [`LAST`](Self::LAST).
    pub fn new(number: u32) -> Option<Self> {
        (number <= Self::LAST.0).then_some(Self(number))
    }

    /// Its number.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The next; `None` after the last.
    pub fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Entry {
    /// Of a block that nobody has touched.
    pub fn untouched(state: State) -> Self {
        Self {
            state,
            generation: Generation::ORIGIN,
        }
    }

    /// As the map holds it.
    pub fn encode(self) -> u32 {
        let state = match self.state {
            State::Absent => 0,
            State::Zero => 1,
            State::Present => 2,
        };
        state << SHIFT | self.generation.0
    }

    /// `None` for what [`encode`](Self::encode) never gives.
    pub fn decode(bits: u32) -> Option<Self> {
        let state = match bits >> SHIFT {
            0 => State::Absent,
            1 => State::Zero,
            2 => State::Present,
            _ => return None,
        };
        let generation = Generation(bits & Generation::LAST.0);
        Some(Self { state, generation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_can_be_read_is_written_alike(bits: u32) {
            match Entry::decode(bits) {
                Some(entry) => prop_assert_eq!(entry.encode(), bits),
                None => prop_assert_eq!(bits >> 30, 3),
            }
        }
    }

    #[test]
    fn generations_end() {
        assert_eq!(Generation::ORIGIN.next(), Some(Generation::FIRST));
        assert_eq!(Generation::LAST.next(), None);
        assert_eq!(Generation::new(1 << 30), None);
    }
}
