//! How large a disk is at the moment.
//!
//! The one number that changes while a disk is open, and only grows. The
//! front, the worker and the engine read it, for each request, since a driver
//! uses what it has just been told of; the [`handle`](super::handle) changes
//! it once the file has grown.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Why a disk cannot be resized. Its size is what it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResizeError {
    /// A guest would lose what is behind the new end.
    #[error("a disk of {present} bytes cannot shrink to {asked}")]
    Shrunk {
        /// The disk's size in bytes.
        present: u64,
        /// The size asked for.
        asked: u64,
    },
    /// The end of the disk would lie within a block.
    #[error("{asked} bytes are not a multiple of the disk's block of {block}; make it {}", round_up(*asked, *block))]
    Unaligned {
        /// The size asked for.
        asked: u64,
        /// Bytes in a block.
        block: u32,
    },
    /// The file is shorter than that.
    #[error(
        "the disk's file has {size} bytes, not {asked}; grow it first, for instance with truncate -s {asked}"
    )]
    BeyondFile {
        /// The size asked for.
        asked: u64,
        /// Bytes in the file.
        size: u64,
    },
    /// The device was removed.
    #[error("the disk is not attached any more")]
    Gone,
    /// The system does not tell the size of the file.
    #[error("the disk's file cannot be inspected")]
    Inspect(#[source] io::Error),
}

/// The next whole number of blocks, or the last that there is.
fn round_up(bytes: u64, block: u32) -> u64 {
    let block = u64::from(block);
    bytes
        .checked_next_multiple_of(block)
        .unwrap_or(u64::MAX / block * block)
}

/// A disk's size, shared by those who need it.
#[derive(Debug)]
pub struct Capacity {
    bytes: AtomicU64,
    block: u32,
    /// Not a share in it: the file, and with it its lock, is gone when the
    /// disk is.
    file: Weak<File>,
}

impl Capacity {
    /// The size of a disk of `bytes` in `file`, in blocks of `block` bytes.
    pub(super) fn new(bytes: u64, block: u32, file: &Arc<File>) -> Self {
        Self {
            bytes: AtomicU64::new(bytes),
            block,
            file: Arc::downgrade(file),
        }
    }

    /// Bytes in the disk.
    pub fn get(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Makes the disk `to` bytes long, or as long as its file is now. Returns
    /// the size. One caller at a time.
    pub(super) fn grow(&self, to: Option<u64>) -> Result<u64, ResizeError> {
        let file = self.file.upgrade().ok_or(ResizeError::Gone)?;
        let size = size_of(&file).map_err(ResizeError::Inspect)?;
        let asked = to.unwrap_or(size);
        let present = self.get();
        if asked < present {
            return Err(ResizeError::Shrunk { present, asked });
        }
        if !asked.is_multiple_of(u64::from(self.block)) {
            let block = self.block;
            return Err(ResizeError::Unaligned { asked, block });
        }
        if asked > size {
            return Err(ResizeError::BeyondFile { asked, size });
        }
        self.bytes.store(asked, Ordering::Release);
        Ok(asked)
    }
}

/// Bytes in a regular file or block device; the metadata of the latter do not
/// say.
pub(super) fn size_of(mut file: &File) -> io::Result<u64> {
    file.seek(SeekFrom::End(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(block: u32) -> (Arc<File>, Capacity) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        let file = Arc::new(file);
        let capacity = Capacity::new(8192, block, &file);
        (file, capacity)
    }

    #[test]
    fn a_disk_grows_as_far_as_its_file_has() {
        let (file, capacity) = disk(512);
        assert_eq!(capacity.grow(None).unwrap(), 8192);
        file.set_len(8192 + 1024).unwrap();
        assert_eq!(capacity.grow(Some(8192 + 512)).unwrap(), 8192 + 512);
        assert_eq!(capacity.grow(None).unwrap(), 8192 + 1024);
        assert_eq!(capacity.get(), 8192 + 1024);
    }

    #[test]
    fn a_size_that_cannot_be_changes_nothing() {
        let (file, capacity) = disk(4096);
        let refused = |to: Option<u64>| {
            let error = capacity.grow(to).unwrap_err();
            assert_eq!(capacity.get(), 8192);
            error
        };
        for smaller in [0, 4096, 8191] {
            let error = refused(Some(smaller));
            assert!(matches!(error, ResizeError::Shrunk { present: 8192, .. }));
        }
        let error = refused(Some(8192 + 512));
        assert!(error.to_string().contains("make it 12288"), "{error}");
        let error = refused(Some(1 << 40));
        assert!(matches!(error, ResizeError::BeyondFile { size: 8192, .. }));
        assert!(matches!(
            refused(Some(u64::MAX)),
            ResizeError::Unaligned { .. }
        ));
        file.set_len(8192 + 512).unwrap();
        assert!(matches!(refused(None), ResizeError::Unaligned { .. }));
        file.set_len(4096).unwrap();
        assert!(matches!(refused(None), ResizeError::Shrunk { .. }));
        drop(file);
        assert!(matches!(refused(None), ResizeError::Gone));
    }
}
