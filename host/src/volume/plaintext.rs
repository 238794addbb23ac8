//! What a guest sees of a volume's `data`, for who writes an image into it or
//! reads one out of it: as it is, or through the cipher. Zeroes of an image stay
//! holes either way, since a hole reads as zeroes also there.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use ::volume::cipher::key::Key;
use ::volume::cipher::{Cipher, Sector};

use crate::progress::Progress;

use super::extents::Extents;
use super::transfer::{self, PIECE, write_sparse};

/// Bytes read and written at a time where there is a cipher between.
const CHUNK: u64 = 1 << 20;

/// Bytes in a sector.
const SECTOR: u64 = size_of::<Sector>() as u64;

/// The data of a volume, and what they are encrypted under.
#[derive(Debug)]
pub struct Plaintext<'a> {
    data: &'a File,
    cipher: Option<Cipher>,
}

impl<'a> Plaintext<'a> {
    /// What is in `data` under `key`, or as it is.
    pub fn new(data: &'a File, key: Option<&Key>) -> Self {
        let cipher = key.map(Cipher::new);
        Self { data, cipher }
    }

    /// Writes `bytes` at `at`, where there is a hole; what are zeroes stays
    /// one. A sector that ends early is filled up with zeroes.
    pub(super) fn write_sparse(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let Some(cipher) = &self.cipher else {
            return write_sparse(self.data, bytes, at);
        };
        let starts = (at..).step_by(PIECE);
        for (at, piece) in starts.zip(bytes.chunks_mut(PIECE)) {
            if piece.iter().all(|byte| *byte == 0) {
                continue;
            }
            let (sectors, rest) = piece.as_chunks_mut();
            cipher.encrypt(at / SECTOR, sectors);
            let behind = at + size_of_val(sectors) as u64;
            self.data.write_all_at(sectors.as_flattened(), at)?;
            if !rest.is_empty() {
                let mut last = [[0; _]];
                last[0][..rest.len()].copy_from_slice(rest);
                cipher.encrypt(behind / SECTOR, &mut last);
                self.data.write_all_at(last.as_flattened(), behind)?;
            }
        }
        Ok(())
    }

    /// Fills `bytes`, whole sectors, with what is at `at`.
    pub(super) fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.data.read_exact_at(bytes, at)?;
        if let Some(cipher) = &self.cipher {
            cipher.decrypt(at / SECTOR, bytes.as_chunks_mut().0);
        }
        Ok(())
    }

    /// The ranges of the first `length` bytes that are not holes.
    pub(super) fn extents(&self, length: u64) -> impl Iterator<Item = io::Result<Range<u64>>> {
        Extents::new(self.data, length).map(move |extent| Ok(whole(extent?, length)))
    }

    /// Takes in the first `length` bytes of `from`. The data are all holes.
    pub(super) fn fill_from(
        &self,
        from: &File,
        length: u64,
        progress: &Progress,
    ) -> io::Result<()> {
        if self.cipher.is_none() {
            return transfer::copy(from, self.data, length, progress);
        }
        for extent in Extents::new(from, length) {
            in_chunks(whole(extent?, length), progress, |chunk, at| {
                from.read_exact_at(chunk, at)?;
                self.write_sparse(chunk, at)
            })?;
        }
        Ok(())
    }

    /// Gives the first `length` bytes out to `to`, which is all holes.
    pub(super) fn copy_to(&self, to: &File, length: u64, progress: &Progress) -> io::Result<()> {
        if self.cipher.is_none() {
            return transfer::copy(self.data, to, length, progress);
        }
        for extent in self.extents(length) {
            in_chunks(extent?, progress, |chunk, at| {
                self.read_exact_at(chunk, at)?;
                write_sparse(to, chunk, at)
            })?;
        }
        Ok(())
    }
}

/// The sectors that `extent` is in, as far as `length` goes.
fn whole(extent: Range<u64>, length: u64) -> Range<u64> {
    let end = extent.end.next_multiple_of(SECTOR).min(length);
    extent.start / SECTOR * SECTOR..end
}

/// Calls `each` for every chunk of `range`, with room for it and its place.
fn in_chunks(
    range: Range<u64>,
    progress: &Progress,
    mut each: impl FnMut(&mut [u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut room = vec![0; usize::try_from(CHUNK).unwrap_or(usize::MAX)];
    let mut at = range.start;
    while at < range.end {
        let length = (range.end - at).min(CHUNK);
        each(
            &mut room[..usize::try_from(length).unwrap_or(usize::MAX)],
            at,
        )?;
        at += length;
        progress.reach(at);
    }
    Ok(())
}
