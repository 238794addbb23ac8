//! Why a file cannot be a disk.

use std::io;

use super::mapped_disk::MappingError;

/// A file or descriptor that was refused as a disk, before any guest ran.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// A directory, a pipe, a character device.
    #[error("the disk is neither a regular file nor a block device")]
    NotADisk,
    /// There is not a single sector.
    #[error("the disk is empty; give it a size, for instance with truncate -s 1G")]
    Empty,
    /// The end of the disk lies within a block.
    #[error("the disk's size, {size} bytes, is not a multiple of {block}; grow it to {}", size.next_multiple_of(u64::from(*block)))]
    BadSize {
        /// Size of the file in bytes.
        size: u64,
        /// Bytes in a block.
        block: u32,
    },
    /// The descriptor cannot write, but the disk is not read-only.
    #[error("the disk is open for reading only; attach it read-only")]
    NotWritable,
    /// The descriptor cannot read.
    #[error("the disk is open for writing only; open it for reading and writing")]
    NotReadable,
    /// The file system cannot bypass the page cache.
    #[error(
        "the disk cannot be used without the page cache (O_DIRECT); attach it without direct I/O"
    )]
    NoDirect(#[source] io::Error),
    /// Nothing is left for the buffers that data goes through.
    #[error("there is no memory for the disk's buffers")]
    NoMemory(#[source] io::Error),
    /// io_uring was asked for and is not to be had.
    #[error("io_uring cannot be used; choose another disk engine")]
    NoIoUring(#[source] io::Error),
    /// The file is not the volume that its map says it is.
    #[error("the volume cannot be used")]
    Volume(#[from] MappingError),
    /// A volume was to have several queues.
    #[error("a volume has one queue, not {0}")]
    OneQueue(u16),
    /// The system does not tell about the file.
    #[error("the disk cannot be inspected")]
    Inspect(#[source] io::Error),
}
