//! A block in a store.
//!
//! ```text
//! offset size
//!      0    4  "PLCK"
//!      4    1  version: 1
//!      5    1  how the block follows: 0 as it is, 1 as one zstd frame
//!      6    2  zero
//!      8    4  bytes that follow at offset 16
//!     12    4  CRC-32 of bytes 0 to 11 and of what follows at 16
//!     16    …  the block, 512 KiB of it, as it is or compressed
//! ```
//!
//! Numbers are little-endian. The last block of a volume may be a part of one:
//! zeroes make it whole. The CRC tells damage without any doubt about where it
//! is; that a block is the right one, the SHA-256 tells that it is named by.

use super::digest::Digest;

/// Bytes of a block.
pub const BLOCK: usize = 512 << 10;
const _: () = assert!(BLOCK as u64 == volume::BLOCK);

/// A block's bytes.
pub type Block = [u8; BLOCK];

const MAGIC: [u8; 4] = *b"PLCK";
const VERSION: u8 = 1;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
const HEADER: usize = 16;

/// zstd's level: 3 is its own default. Stores are written once and at the
/// speed of a disk; higher levels take twice the time for some percent.
const LEVEL: i32 = 3;

/// The largest chunk, in bytes.
pub const MOST: usize = HEADER + BLOCK;

static ZEROES: Block = [0; BLOCK];

/// Why bytes are not the chunk that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChunk {
    /// Fewer bytes than a header, or more than the largest chunk.
    #[error("it has {0} bytes, which no chunk has")]
    Size(usize),
    /// Something else's header.
    #[error("it does not begin as a chunk does")]
    Magic,
    /// Of a later plinth.
    #[error("it is of version {0}; this plinth knows version {VERSION}")]
    Version(u8),
    /// Bytes are missing, or too many.
    #[error("it has {found} bytes after its header instead of {expected}")]
    Length {
        /// As the header says.
        expected: u32,
        /// As it is.
        found: usize,
    },
    /// Not what was written.
    #[error("its checksum is wrong: it was damaged")]
    Checksum,
    /// A header with a right checksum that no chunk has.
    #[error("its header has values that no chunk has")]
    Header,
    /// Not what zstd writes, or not a block.
    #[error("it does not decompress to a block")]
    Compression,
    /// A block, but another one.
    #[error("it holds another block than the one that it is named by")]
    Digest,
}

/// Is `block` all zeroes, which is not stored?
pub fn is_zero(block: &Block) -> bool {
    *block == ZEROES
}

/// Room for a block, on the heap alone.
pub fn empty() -> Box<Block> {
    let bytes = vec![0; BLOCK].into_boxed_slice();
    bytes.try_into().expect("it has a block's length")
}

/// Turns blocks into chunks and back. It keeps what zstd needs, so that a
/// thread that does it often has one of its own.
pub struct Coder {
    compressor: zstd::bulk::Compressor<'static>,
    decompressor: zstd::bulk::Decompressor<'static>,
}

impl Coder {
    /// # Errors
    /// There is no memory.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            compressor: zstd::bulk::Compressor::new(LEVEL)?,
            decompressor: zstd::bulk::Decompressor::new()?,
        })
    }

    /// The chunk that holds `block`: compressed if that is smaller.
    pub fn encode(&mut self, block: &Block) -> Vec<u8> {
        let mut chunk = vec![0; MOST];
        // One byte less than the block: what needs more is not worth it, and
        // zstd then says so.
        let room = &mut chunk[HEADER..MOST - 1];
        let (encoding, length) = match self.compressor.compress_to_buffer(block, room) {
            Ok(length) => (ZSTD, length),
            Err(_) => {
                chunk[HEADER..].copy_from_slice(block);
                (PLAIN, BLOCK)
            }
        };
        chunk.truncate(HEADER + length);
        let length = u32::try_from(length).expect("a block is smaller than 4 GiB");
        chunk[..4].copy_from_slice(&MAGIC);
        chunk[4..6].copy_from_slice(&[VERSION, encoding]);
        chunk[8..12].copy_from_slice(&length.to_le_bytes());
        let checksum = checksum(&chunk);
        chunk[12..16].copy_from_slice(&checksum.to_le_bytes());
        chunk
    }

    /// Puts the block that `chunk` holds into `block`, if it is the one named
    /// `digest`. Otherwise what `block` then holds means nothing.
    ///
    /// # Errors
    /// It is not that chunk; why.
    pub fn decode(
        &mut self,
        chunk: &[u8],
        digest: &Digest,
        block: &mut Block,
    ) -> Result<(), BadChunk> {
        let (encoding, payload) = parse(chunk)?;
        match encoding {
            PLAIN if payload.len() == BLOCK => block.copy_from_slice(payload),
            ZSTD => {
                let length = self
                    .decompressor
                    .decompress_to_buffer(payload, block.as_mut_slice());
                if length.ok() != Some(BLOCK) {
                    return Err(BadChunk::Compression);
                }
            }
            _ => return Err(BadChunk::Header),
        }
        match Digest::of(block) == *digest {
            true => Ok(()),
            false => Err(BadChunk::Digest),
        }
    }
}

/// How the block follows, and what follows, of a chunk that is undamaged.
fn parse(chunk: &[u8]) -> Result<(u8, &[u8]), BadChunk> {
    let size = chunk.len();
    let (header, payload) = match chunk.split_first_chunk::<HEADER>() {
        Some(parts) if size <= MOST => parts,
        _ => return Err(BadChunk::Size(size)),
    };
    let [magic @ .., a, b, c, d] = header.first_chunk::<8>().expect("a header has 16 bytes");
    let (version, encoding, reserved) = (*a, *b, [*c, *d]);
    if *magic != MAGIC {
        return Err(BadChunk::Magic);
    }
    if version != VERSION {
        return Err(BadChunk::Version(version));
    }
    let number = |at: usize| {
        let bytes = header[at..].first_chunk::<4>();
        u32::from_le_bytes(*bytes.expect("it is within the header"))
    };
    let (expected, found) = (number(8), payload.len());
    if usize::try_from(expected) != Ok(found) {
        return Err(BadChunk::Length { expected, found });
    }
    if number(12) != checksum(chunk) {
        return Err(BadChunk::Checksum);
    }
    if reserved != [0; 2] {
        return Err(BadChunk::Header);
    }
    Ok((encoding, payload))
}

/// Over all of a chunk but the checksum itself.
fn checksum(chunk: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&chunk[..12]);
    hasher.update(&chunk[HEADER..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::test_blocks::{noise, text};
    use proptest::prelude::*;

    fn decoded(chunk: &[u8], digest: &Digest) -> Result<Box<Block>, BadChunk> {
        let mut block = Box::new([0xaa; BLOCK]);
        let mut coder = Coder::new().unwrap();
        coder.decode(chunk, digest, &mut block).map(|()| block)
    }

    #[test]
    fn a_block_comes_back_as_it_was() {
        let mut coder = Coder::new().unwrap();
        for (block, plain) in [(text(1), false), (noise(1), true)] {
            let chunk = coder.encode(&block);
            assert_eq!(chunk.len() == MOST, plain);
            let read = decoded(&chunk, &Digest::of(&*block)).unwrap();
            assert!(*read == *block);
        }
    }

    #[test]
    fn a_chunk_of_another_block_is_not_taken_for_it() {
        let chunk = Coder::new().unwrap().encode(&text(1));
        let other = Digest::of(&*text(2));
        assert_eq!(decoded(&chunk, &other), Err(BadChunk::Digest));
    }

    #[test]
    fn a_chunk_that_ends_early_or_late_is_refused_wherever_it_does() {
        let block = text(1);
        let digest = Digest::of(&*block);
        let mut chunk = Coder::new().unwrap().encode(&block);
        for length in 0..chunk.len() {
            assert!(decoded(&chunk[..length], &digest).is_err(), "{length}");
        }
        chunk.push(0);
        assert!(matches!(
            decoded(&chunk, &digest),
            Err(BadChunk::Length { .. })
        ));
    }

    #[test]
    fn a_chunk_that_would_grow_beyond_a_block_is_refused() {
        let large = vec![7; 2 * BLOCK];
        let mut chunk = vec![0; HEADER];
        chunk.extend(zstd::bulk::compress(&large, LEVEL).unwrap());
        let length = u32::try_from(chunk.len() - HEADER).unwrap();
        chunk[..6].copy_from_slice(b"PLCK\x01\x01");
        chunk[8..12].copy_from_slice(&length.to_le_bytes());
        let sum = checksum(&chunk);
        chunk[12..16].copy_from_slice(&sum.to_le_bytes());
        let digest = Digest::of(&large[..BLOCK]);
        assert_eq!(decoded(&chunk, &digest), Err(BadChunk::Compression));
    }

    #[test]
    fn a_bit_that_flips_anywhere_is_noticed() {
        let block = text(1);
        let digest = Digest::of(&*block);
        let chunk = Coder::new().unwrap().encode(&block);
        for at in 0..chunk.len() {
            let mut damaged = chunk.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(decoded(&damaged, &digest).is_err(), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decoded(&bytes, &Digest::of(b"")).is_err());
        }
    }
}
