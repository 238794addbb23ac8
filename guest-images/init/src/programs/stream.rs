//! A stream of pseudo-random bytes that a seed determines, with its digest:
//! both ends of a transfer can know its content without sharing it. `disk`,
//! `net` and `vsock` write it and check against it.

use std::fmt;
use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

/// How much is moved at a time.
pub(super) const CHUNK: usize = 1 << 20;

/// SplitMix64, eight bytes a step, little-endian.
pub(super) struct Stream {
    state: u64,
    left: u64,
}

impl Stream {
    pub(super) fn new(seed: u64, bytes: u64) -> Self {
        Self {
            state: seed,
            left: bytes,
        }
    }

    /// The next eight bytes.
    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

impl Read for Stream {
    /// Fills whole steps; only the last read of a stream may be uneven, so
    /// callers read `CHUNK` bytes at a time.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        for step in buffer[..length].chunks_mut(8) {
            let word = self.next().to_le_bytes();
            step.copy_from_slice(&word[..step.len()]);
        }
        self.left -= length as u64;
        Ok(length)
    }
}

/// A running SHA-256 and the count of what went through it. Shows as
/// `bytes N sha256 HEX`.
#[derive(Default)]
pub(super) struct Tally {
    bytes: u64,
    digest: Sha256,
}

impl Tally {
    pub(super) fn add(&mut self, bytes: &[u8]) {
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

/// Copies until the source ends.
pub(super) fn pass(mut from: impl Read, to: &mut impl Write) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(tally),
            length => {
                to.write_all(&chunk[..length])?;
                tally.add(&chunk[..length]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_published_generator() {
        // The first outputs of SplitMix64 from state 0, and a cut last step.
        let mut bytes = Vec::new();
        Stream::new(0, 12).read_to_end(&mut bytes).unwrap();
        let whole = 0xe220_a839_7b1d_cdaf_u64.to_le_bytes();
        let cut = 0x6e78_9e6a_a1b9_65f4_u64.to_le_bytes();
        assert_eq!(bytes, [&whole[..], &cut[..4]].concat());
    }

    #[test]
    fn a_tally_counts_and_digests() {
        let mut tally = Tally::default();
        tally.add(b"a");
        tally.add(b"bc");
        assert_eq!(
            tally.to_string(),
            "bytes 3 sha256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn what_is_sent_is_received() {
        let mut received = Vec::new();
        let sent = pass(Stream::new(7, 3_000_001), &mut received).unwrap();
        let again = pass(received.as_slice(), &mut std::io::sink()).unwrap();
        assert_eq!(received.len(), 3_000_001);
        assert_eq!(sent.to_string(), again.to_string());
    }
}
