//! Blocks for tests.

use super::chunk::{BLOCK, Block};

/// A block that compresses well, another for each `seed`.
pub(super) fn text(seed: u32) -> Box<Block> {
    let lines = (0..256).map(|line| format!("block {seed} has a line {line}\n"));
    let page: String = lines.collect();
    filled(|| page.as_bytes())
}

/// A block that nothing compresses, another for each `seed`.
pub(super) fn noise(seed: u32) -> Box<Block> {
    let mut state = u64::from(seed) << 1 | 1;
    filled(|| {
        // Xorshift (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
}

fn filled<T: AsRef<[u8]>>(mut piece: impl FnMut() -> T) -> Box<Block> {
    let mut bytes = Vec::with_capacity(2 * BLOCK);
    while bytes.len() < BLOCK {
        bytes.extend_from_slice(piece().as_ref());
    }
    bytes.truncate(BLOCK);
    bytes.try_into().expect("it has a block's length")
}
