//! AES-256 in XTS mode (IEEE 1619-2018; NIST SP 800-38E), sector by sector:
//! what the file of an encrypted volume holds.
//!
//! The data unit is a sector of 512 bytes and its tweak the sector's number,
//! little-endian, so that what is at an offset depends on key, offset and
//! contents alone. Whoever writes or reads a volume's `data` comes here: the
//! disk of a virtual machine, import and export.
//!
//! **Zeroes are zeroes.** A sector of zeroes in the file is a sector of zeroes,
//! not the ciphertext of something: files are sparse, and what is discarded or
//! was never written reads as zeroes without the key. That is sound: for each
//! key and sector exactly one of the 2^4096 plaintexts has zeroes for
//! ciphertext, it looks random, and nobody without the key can tell which it
//! is, not even a guest that chooses what is written. Zeroes that a guest
//! writes are ciphertext like everything else.
//!
//! As with every cipher that keeps the length, the file shows which sectors
//! were ever written and whether a sector has changed; and whoever can write
//! to the file can put an old sector back, spoil one, or turn one into zeroes.
//! XTS keeps contents secret and does not authenticate them.

pub mod key;

#[cfg(test)]
mod tests;

use std::fmt;

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes256, Block};

use key::Key;

/// What is encrypted at a time.
pub type Sector = [u8; SECTOR];

/// Bytes in a sector.
const SECTOR: usize = 512;

/// Blocks of AES in a sector.
const BLOCKS: usize = SECTOR / 16;

/// Sectors handed to AES together. Processors with AVX-512 encrypt 64 blocks
/// at a time, which two sectors fill; the tweaks of eight still fit, with the
/// sectors, into the fastest cache.
const BATCH: usize = 8;

/// Encrypts and decrypts sectors under one [`Key`]. Forgets it when dropped.
pub struct Cipher {
    data: Aes256,
    tweak: Aes256,
}

/// What the blocks of a batch are combined with, before and after AES.
type Masks = [u128; BATCH * BLOCKS];

impl Cipher {
    /// Of volumes with this key.
    pub fn new(key: &Key) -> Self {
        let (data, tweak) = key.halves();
        Self {
            data: Aes256::new(data.into()),
            tweak: Aes256::new(tweak.into()),
        }
    }

    /// Encrypts in place what is to be stored from sector `first` on.
    pub fn encrypt(&self, first: u64, sectors: &mut [Sector]) {
        self.batches(first, sectors, |masks, sectors| {
            self.through(masks, sectors, |blocks| self.data.encrypt_blocks(blocks));
        });
    }

    /// Decrypts in place what was stored from sector `first` on. Zeroes stay
    /// zeroes.
    pub fn decrypt(&self, first: u64, sectors: &mut [Sector]) {
        self.batches(first, sectors, |masks, sectors| {
            let holes = Holes::among(sectors);
            self.through(masks, sectors, |blocks| self.data.decrypt_blocks(blocks));
            holes.restore(sectors);
        });
    }

    /// Calls `each` with all sectors, a batch at a time, and their masks.
    fn batches(&self, first: u64, sectors: &mut [Sector], each: impl Fn(&Masks, &mut [Sector])) {
        let mut masks = [0; BATCH * BLOCKS];
        let numbers = (first..).step_by(BATCH);
        for (number, batch) in numbers.zip(sectors.chunks_mut(BATCH)) {
            self.fill(&mut masks, number, batch.len());
            each(&masks, batch);
        }
    }

    /// The masks of `count` sectors from number `first` on: the encrypted
    /// number, and for each further block the last one times α (§5.2).
    fn fill(&self, masks: &mut Masks, first: u64, count: usize) {
        let mut tweaks = [Block::default(); BATCH];
        for (number, tweak) in (first..).zip(&mut tweaks[..count]) {
            *tweak = u128::from(number).to_le_bytes().into();
        }
        self.tweak.encrypt_blocks(&mut tweaks[..count]);
        for (tweak, masks) in tweaks[..count].iter().zip(masks.as_chunks_mut().0) {
            let masks: &mut [u128; BLOCKS] = masks;
            let mut mask = u128::from_le_bytes((*tweak).into());
            for each in masks {
                *each = mask;
                mask = times_alpha(mask);
            }
        }
    }

    /// Has `aes` at the masked blocks of `sectors`, and masks them again.
    fn through(&self, masks: &Masks, sectors: &mut [Sector], aes: impl Fn(&mut [Block])) {
        let (blocks, _) = Block::slice_as_chunks_mut(sectors.as_flattened_mut());
        mask(blocks, masks);
        aes(blocks);
        mask(blocks, masks);
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher")
    }
}

fn mask(blocks: &mut [Block], masks: &Masks) {
    for (block, mask) in blocks.iter_mut().zip(masks) {
        let masked = u128::from_le_bytes((*block).into()) ^ mask;
        *block = masked.to_le_bytes().into();
    }
}

/// The product with α in the field of 2^128 elements that XTS calculates in,
/// whose polynomial is x^128 + x^7 + x^2 + x + 1.
fn times_alpha(element: u128) -> u128 {
    let carried = element >> 127;
    (element << 1) ^ (carried * 0x87)
}

/// Which sectors of a batch are zeroes.
struct Holes([bool; BATCH]);

impl Holes {
    fn among(sectors: &[Sector]) -> Self {
        let mut holes = [false; BATCH];
        for (hole, sector) in holes.iter_mut().zip(sectors) {
            *hole = *sector == [0; SECTOR];
        }
        Self(holes)
    }

    /// Makes them zeroes again.
    fn restore(&self, sectors: &mut [Sector]) {
        let sectors = self.0.iter().zip(sectors);
        for (_, sector) in sectors.filter(|(hole, _)| **hole) {
            *sector = [0; SECTOR];
        }
    }
}
