//! The bytes that `guest disk` and `guest net` make from a seed, and the
//! digest that they print, made on this side: what a guest says it wrote can
//! be compared with what arrived.

use std::fmt;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// SplitMix64's outputs in little-endian order; see
/// guest-images/init/src/programs/stream.rs. A whole number of eight bytes.
#[derive(Debug)]
pub struct Stream {
    state: u64,
    left: usize,
}

impl Stream {
    /// `bytes` bytes from `seed`.
    pub fn new(seed: u64, bytes: usize) -> Self {
        assert!(bytes.is_multiple_of(8));
        Self {
            state: seed,
            left: bytes,
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = (buffer.len() & !7).min(self.left);
        for step in buffer[..length].chunks_exact_mut(8) {
            step.copy_from_slice(&self.next().to_le_bytes());
        }
        self.left -= length;
        Ok(length)
    }
}

/// A count and a SHA-256; shows as `bytes N sha256 HEX`, as a guest prints it.
#[derive(Debug, Default)]
pub struct Tally {
    bytes: u64,
    digest: Sha256,
}

impl Tally {
    /// Of all that `source` gives.
    pub fn of(mut source: impl Read) -> Self {
        let mut tally = Self::default();
        let mut chunk = vec![0; 1 << 18];
        loop {
            match source.read(&mut chunk).unwrap() {
                0 => return tally,
                length => tally.add(&chunk[..length]),
            }
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.digest.update(bytes);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {} sha256 ", self.bytes)?;
        for byte in self.digest.clone().finalize() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
