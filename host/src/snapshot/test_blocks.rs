//! Blocks for tests.

use super::chunk::{BLOCK, Block};

/// A block that compresses well, another for each `seed`.
pub(super) fn text(seed: u32) -> Box<Block> {
    filled(|at| format!("block {seed} has a line {:05}\n", at / 24 % 4096))
}

/// A block that nothing compresses, another for each `seed`.
pub(super) fn noise(seed: u32) -> Box<Block> {
    let mut state = u64::from(seed) << 1 | 1;
    filled(|_| {
        // Xorshift (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
}

fn filled<T: AsRef<[u8]>>(mut piece: impl FnMut(usize) -> T) -> Box<Block> {
    let mut bytes = Vec::with_capacity(BLOCK + 64);
    while bytes.len() < BLOCK {
        bytes.extend_from_slice(piece(bytes.len()).as_ref());
    }
    bytes.truncate(BLOCK);
    bytes.try_into().expect("it has a block's length")
}
