//! A disk with a cache, and what a power cut leaves of it.
//!
//! Writes go to the cache; a flush makes durable what is in it. When power is
//! cut, any part of what was written since may have reached the disk, in any
//! order, sector by sector; a sector is written whole or not at all.
//!
//! Sectors are those of today's disks, 4096 bytes: a torn superblock of 1 KiB is
//! more than ext4 survives, so that with less there would be nothing to look at.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes in a sector.
const SECTOR: usize = 4096;

/// A disk that is kept in a file.
#[derive(Debug)]
pub(crate) struct VolatileDisk {
    durable: File,
    size: u64,
    cache: BTreeMap<u64, [u8; SECTOR]>,
}

impl VolatileDisk {
    /// The disk in the file at `path`, with nothing in its cache.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let durable = File::options().read(true).write(true).open(path)?;
        let size = durable.metadata()?.len();
        Ok(Self {
            size: size - size % SECTOR as u64,
            durable,
            cache: BTreeMap::new(),
        })
    }

    /// Bytes in the disk.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Reads from `offset` on.
    pub(crate) fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        for piece in pieces(offset, bytes.len()) {
            let sector = self.sector(piece.sector)?;
            bytes[piece.bytes].copy_from_slice(&sector[piece.of_sector]);
        }
        Ok(())
    }

    /// Writes from `offset` on.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        for piece in pieces(offset, bytes.len()) {
            let mut sector = self.sector(piece.sector)?;
            sector[piece.of_sector].copy_from_slice(&bytes[piece.bytes]);
            self.cache.insert(piece.sector, sector);
        }
        Ok(())
    }

    fn sector(&self, number: u64) -> io::Result<[u8; SECTOR]> {
        if let Some(cached) = self.cache.get(&number) {
            return Ok(*cached);
        }
        let mut sector = [0; SECTOR];
        self.durable
            .read_exact_at(&mut sector, number.saturating_mul(SECTOR as u64))?;
        Ok(sector)
    }

    /// Makes everything durable.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.leave(|| true)
    }

    /// Of what is in the cache, only that reaches the disk which `reaches` says
    /// does.
    pub(crate) fn leave(&mut self, mut reaches: impl FnMut() -> bool) -> io::Result<()> {
        for (number, sector) in std::mem::take(&mut self.cache) {
            if reaches() {
                self.durable.write_all_at(&sector, number * SECTOR as u64)?;
            }
        }
        Ok(())
    }

    /// Sectors that a power cut may take.
    pub(crate) fn at_risk(&self) -> usize {
        self.cache.len()
    }
}

/// A part of a range that lies in one sector.
struct Piece {
    sector: u64,
    of_sector: Range<usize>,
    /// Where it is in the range.
    bytes: Range<usize>,
}

/// The parts of the `len` bytes from `offset` on.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = Piece> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let unit = SECTOR as u64;
        let start = usize::try_from(at % unit).unwrap_or(0);
        let count = (len - done).min(SECTOR - start);
        let bytes = done..done + count;
        done += count;
        (count > 0).then_some(Piece {
            sector: at / unit,
            of_sector: start..start + count,
            bytes,
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn disk() -> VolatileDisk {
        let named = tempfile::NamedTempFile::new().unwrap();
        named.as_file().set_len(16 * 4096).unwrap();
        VolatileDisk::open(named.path()).unwrap()
    }

    fn bytes(disk: &VolatileDisk, step: u64, count: u64) -> Vec<u8> {
        let mut byte = [0];
        let read = |at| {
            disk.read(at, &mut byte).unwrap();
            byte[0]
        };
        (0..count).map(|number| number * step).map(read).collect()
    }

    #[test]
    fn what_was_written_is_read_whether_it_is_durable_or_not() {
        let mut disk = disk();
        disk.write(512, &[1; 8192]).unwrap();
        disk.flush().unwrap();
        disk.write(1024, &[2; 512]).unwrap();
        assert_eq!(bytes(&disk, 512, 5), [0, 1, 2, 1, 1]);
        assert_eq!(bytes(&disk, 4096, 4), [0, 1, 1, 0]);
        assert_eq!(disk.at_risk(), 1);
    }

    #[test]
    fn a_cut_takes_what_was_not_flushed_in_any_parts() {
        let mut disk = disk();
        disk.write(0, &[1; 8 * 4096]).unwrap();
        disk.flush().unwrap();
        disk.write(0, &[2; 8 * 4096]).unwrap();
        let mut odd = false;
        disk.leave(|| {
            odd = !odd;
            odd
        })
        .unwrap();
        assert_eq!(bytes(&disk, 4096, 8), [2, 1, 2, 1, 2, 1, 2, 1]);
        assert_eq!(disk.at_risk(), 0);
    }

    #[test]
    fn nothing_is_written_behind_the_end() {
        let mut disk = disk();
        assert!(disk.write(16 * 4096 - 512, &[0; 1024]).is_err());
        assert!(disk.read(u64::MAX - 4096, &mut [0; 512]).is_err());
    }
}
