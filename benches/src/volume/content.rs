//! What volumes hold that are read.

use serde::Serialize;

/// Bytes in a block of a volume.
const BLOCK: usize = 512 << 10;

/// Bytes of which a half is zeroes, in what is compressible.
const PAGE: usize = 4096;

/// What blocks hold. No two are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Noise.
    Incompressible,
    /// Half a page of noise, half a page of zeroes: what is stored is half as
    /// large.
    Compressible,
}

impl Content {
    /// For people, and for what is measured of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Incompressible => "incompressible",
            Self::Compressible => "compressible",
        }
    }

    /// Of `blocks` blocks.
    pub fn bytes(self, blocks: u32) -> Vec<u8> {
        let mut bytes = vec![0; blocks as usize * BLOCK];
        let noisy = match self {
            Self::Incompressible => PAGE,
            Self::Compressible => PAGE / 2,
        };
        let mut state = 0_u64;
        for page in bytes.chunks_mut(PAGE) {
            for word in page[..noisy].chunks_mut(8) {
                // SplitMix64.
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut noise = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                noise = (noise ^ (noise >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                word.copy_from_slice(&(noise ^ (noise >> 31)).to_le_bytes());
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_blocks_are_alike_and_half_of_what_is_compressible_is_zeroes() {
        let noise = Content::Incompressible.bytes(2);
        let half = Content::Compressible.bytes(2);
        assert_eq!((noise.len(), half.len()), (2 * BLOCK, 2 * BLOCK));
        for bytes in [&noise, &half] {
            assert_ne!(bytes[..BLOCK], bytes[BLOCK..]);
        }
        let zeroes = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == 0).count();
        assert!(zeroes(&noise) < noise.len() / 100);
        assert!((half.len() / 2..half.len() * 51 / 100).contains(&zeroes(&half)));
    }
}
