//! A disk with a cache, and what a power cut leaves of it.
//!
//! Writes go to the cache; a flush makes durable what is in it. When power is
//! cut, any part of what was written since may have reached the disk, in any
//! order, sector by sector: so little is all that a disk promises (SBC-4 §4.15,
//! NVMe 2.0 §2.1: a sector is written whole or not at all).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes in a sector.
pub(crate) const SECTOR: usize = 512;

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

    /// Reads whole sectors from `offset` on.
    pub(crate) fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.durable.read_exact_at(bytes, offset)?;
        let sectors = sectors(offset, bytes.len())?;
        for (number, cached) in self.cache.range(sectors.clone()) {
            let at = usize::try_from(number - sectors.start).map_err(io::Error::other)? * SECTOR;
            bytes[at..at + SECTOR].copy_from_slice(cached);
        }
        Ok(())
    }

    /// Writes whole sectors from `offset` on.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let numbers = sectors(offset, bytes.len())?;
        let (sectors, _) = bytes.as_chunks::<SECTOR>();
        self.cache.extend(numbers.zip(sectors.iter().copied()));
        Ok(())
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

fn sectors(offset: u64, len: usize) -> io::Result<std::ops::Range<u64>> {
    let (unit, len) = (SECTOR as u64, len as u64);
    if !offset.is_multiple_of(unit) || !len.is_multiple_of(unit) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(offset / unit..(offset + len) / unit)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn disk() -> VolatileDisk {
        let named = tempfile::NamedTempFile::new().unwrap();
        named.as_file().set_len(64 * 512).unwrap();
        VolatileDisk::open(named.path()).unwrap()
    }

    fn sector(disk: &VolatileDisk, number: u64) -> u8 {
        let mut bytes = [0; SECTOR];
        disk.read(number * 512, &mut bytes).unwrap();
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "whole sectors");
        bytes[0]
    }

    #[test]
    fn what_was_written_is_read_whether_it_is_durable_or_not() {
        let mut disk = disk();
        disk.write(512, &[1; 1536]).unwrap();
        disk.flush().unwrap();
        disk.write(1024, &[2; 512]).unwrap();
        let read: Vec<u8> = (0..5).map(|number| sector(&disk, number)).collect();
        assert_eq!(read, [0, 1, 2, 1, 0]);
        assert_eq!(disk.at_risk(), 1);
    }

    #[test]
    fn a_cut_takes_what_was_not_flushed_in_any_parts() {
        let mut disk = disk();
        disk.write(0, &[1; 4096]).unwrap();
        disk.flush().unwrap();
        disk.write(0, &[2; 4096]).unwrap();
        let mut odd = false;
        disk.leave(|| {
            odd = !odd;
            odd
        })
        .unwrap();
        let read: Vec<u8> = (0..8).map(|number| sector(&disk, number)).collect();
        assert_eq!(read, [2, 1, 2, 1, 2, 1, 2, 1]);
        assert_eq!(disk.at_risk(), 0);
    }

    #[test]
    fn parts_of_sectors_are_refused() {
        let mut disk = disk();
        assert!(disk.write(1, &[0; 512]).is_err());
        assert!(disk.write(0, &[0; 100]).is_err());
    }
}
