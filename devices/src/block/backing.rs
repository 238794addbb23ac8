//! The file beneath a disk, vetted: what both engines work on.
//!
//! The device opens nothing: it is handed an open descriptor and finds out
//! here what that can do.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::Arc;

use rustix::fs::{AtFlags, FallocateFlags, OFlags, StatxFlags};

use super::capacity::{self, Capacity};
use super::disk::{DiskInfo, OperationKind};
use super::error::BlockError;

/// The unit of virtio-blk, and the smallest block a disk has.
const SECTOR: u32 = 512;

/// The page size: the block of most file systems, and an alignment that every
/// kernel and device accepts for direct I/O.
const PAGE: u32 = 4096;

/// A file that can be a disk. Clones are the same open file.
#[derive(Clone, Debug)]
pub(super) struct Backing {
    file: Arc<File>,
    capacity: Arc<Capacity>,
    blocks: Blocks,
    read_only: bool,
    can_discard: bool,
}

impl Backing {
    /// Vets `file`, and turns direct I/O on if asked for or on already.
    pub(super) fn new(file: File, direct: bool, read_only: bool) -> Result<Self, BlockError> {
        let flags = rustix::fs::fcntl_getfl(&file).map_err(inspect)?;
        let mode = flags & OFlags::RWMODE;
        if mode == OFlags::WRONLY {
            return Err(BlockError::NotReadable);
        }
        if !read_only && mode != OFlags::RDWR {
            return Err(BlockError::NotWritable);
        }
        // With O_APPEND every write goes to the end, whatever its offset
        // (pwrite(2), BUGS), and io_uring fails what would wait on a
        // non-blocking file.
        let plain = flags - OFlags::APPEND - OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(&file, plain).map_err(inspect)?;
        let direct = direct || flags.contains(OFlags::DIRECT);
        if direct {
            rustix::fs::fcntl_setfl(&file, plain | OFlags::DIRECT)
                .map_err(|errno| BlockError::NoDirect(errno.into()))?;
        }
        let blocks = Blocks::of(&file, direct)?;
        let size = capacity::size_of(&file).map_err(BlockError::Inspect)?;
        if size == 0 {
            return Err(BlockError::Empty);
        }
        if !size.is_multiple_of(u64::from(blocks.logical)) {
            return Err(BlockError::BadSize {
                size,
                block: blocks.logical,
            });
        }
        let can_discard = !read_only && can_punch(&file, size);
        let file = Arc::new(file);
        Ok(Self {
            capacity: Arc::new(Capacity::new(size, blocks.logical, &file)),
            file,
            blocks,
            read_only,
            can_discard,
        })
    }

    /// Makes durable what was written.
    pub(super) fn sync(&self) -> io::Result<()> {
        match self.read_only {
            true => Ok(()),
            false => Ok(rustix::fs::fdatasync(&*self.file)?),
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn capacity(&self) -> &Arc<Capacity> {
        &self.capacity
    }

    /// The disk as an engine offers it that takes on `depth` operations.
    pub(super) fn info(&self, depth: usize) -> DiskInfo {
        DiskInfo {
            capacity: self.capacity.get(),
            logical_block: self.blocks.logical,
            physical_block: self.blocks.physical,
            buffer_alignment: self.blocks.buffers,
            read_only: self.read_only,
            can_discard: self.can_discard,
            depth,
        }
    }
}

impl AsRawFd for Backing {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// How `kind` is done with fallocate(2); `None` if it is done otherwise.
pub(super) fn fallocate_flags(kind: OperationKind) -> Option<FallocateFlags> {
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match kind {
        OperationKind::Discard | OperationKind::WriteZeroes { unmap: true } => Some(hole),
        OperationKind::WriteZeroes { unmap: false } => {
            Some(FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE)
        }
        OperationKind::Read | OperationKind::Write | OperationKind::Flush => None,
    }
}

/// Block sizes and buffer alignment of a file.
#[derive(Clone, Copy, Debug)]
struct Blocks {
    logical: u32,
    physical: u32,
    buffers: u32,
}

impl Blocks {
    fn of(file: &File, direct: bool) -> Result<Self, BlockError> {
        let metadata = file.metadata().map_err(BlockError::Inspect)?;
        let mut blocks = if metadata.file_type().is_block_device() {
            Self {
                logical: rustix::fs::ioctl_blksszget(file).map_err(inspect)?,
                physical: rustix::fs::ioctl_blkpbszget(file).map_err(inspect)?,
                buffers: 1,
            }
        } else if metadata.is_file() {
            // Some file systems name their preferred transfer size here, which
            // may be megabytes.
            let physical = u32::try_from(metadata.blksize()).unwrap_or(PAGE);
            Self {
                logical: SECTOR,
                physical: physical.min(PAGE),
                buffers: 1,
            }
        } else {
            return Err(BlockError::NotADisk);
        };
        if direct {
            blocks.demand_direct(file)?;
        }
        blocks.logical = blocks.logical.max(SECTOR);
        blocks.physical = blocks.physical.max(blocks.logical).next_power_of_two();
        Ok(blocks)
    }

    /// Takes the alignment of direct I/O into account. Kernels before 6.1 do
    /// not tell; a page is good for all of them.
    fn demand_direct(&mut self, file: &File) -> Result<(), BlockError> {
        let stat = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)
            .map_err(inspect)?;
        let told = stat.stx_mask & StatxFlags::DIOALIGN.bits() != 0 && stat.stx_dio_mem_align != 0;
        let (offsets, buffers) = if told {
            (stat.stx_dio_offset_align, stat.stx_dio_mem_align)
        } else {
            (PAGE, PAGE)
        };
        self.logical = self.logical.max(offsets);
        self.buffers = buffers;
        Ok(())
    }
}

/// Whether holes can be punched. Found out beyond the end of a file, where
/// nothing is; a block device has no beyond, and answers when it is asked.
fn can_punch(file: &File, capacity: u64) -> bool {
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(file, hole, capacity, u64::from(PAGE))
        != Err(rustix::io::Errno::OPNOTSUPP)
}

fn inspect(errno: rustix::io::Errno) -> BlockError {
    BlockError::Inspect(io::Error::from(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(size: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        file
    }

    fn open(file: File, read_only: bool) -> Result<Backing, BlockError> {
        Backing::new(file, false, read_only)
    }

    #[test]
    fn a_file_of_whole_sectors_is_a_disk() {
        let backing = open(sized(3 * 512), false).unwrap();
        let info = backing.info(1);
        assert_eq!(info.capacity, 3 * 512);
        assert_eq!(info.logical_block, 512);
        assert!(info.physical_block.is_power_of_two());
        assert_eq!(info.buffer_alignment, 1);
        assert_eq!(
            backing.file().metadata().unwrap().len(),
            3 * 512,
            "the probe for holes leaves the size alone"
        );
    }

    #[test]
    fn broken_and_empty_files_are_refused() {
        assert!(matches!(open(sized(0), false), Err(BlockError::Empty)));
        let error = open(sized(1000), false).unwrap_err();
        assert!(matches!(
            error,
            BlockError::BadSize {
                size: 1000,
                block: 512
            }
        ));
        assert!(error.to_string().contains("1024"), "{error}");
    }

    #[test]
    fn directories_and_pipes_are_refused() {
        let directory = File::open(tempfile::tempdir().unwrap().path()).unwrap();
        assert!(matches!(open(directory, true), Err(BlockError::NotADisk)));
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let pipe = File::from(reader);
        assert!(matches!(open(pipe, true), Err(BlockError::NotADisk)));
    }

    #[test]
    fn a_descriptor_for_reading_makes_a_read_only_disk_only() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(512).unwrap();
        let reader = || File::open(file.path()).unwrap();
        assert!(matches!(
            open(reader(), false),
            Err(BlockError::NotWritable)
        ));
        let backing = open(reader(), true).unwrap();
        let info = backing.info(1);
        assert!(info.read_only && !info.can_discard);
    }

    #[test]
    fn a_descriptor_that_appends_or_does_not_wait_does_neither_as_a_disk() {
        let file = sized(4096);
        let flags = OFlags::APPEND | OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(&file, OFlags::RDWR | flags).unwrap();
        let backing = Backing::new(file, false, false).unwrap();
        rustix::io::pwrite(backing.file(), b"x", 0).unwrap();
        assert_eq!(backing.file().metadata().unwrap().len(), 4096);
        let flags = rustix::fs::fcntl_getfl(backing.file()).unwrap();
        assert!(!flags.contains(OFlags::NONBLOCK));
    }

    #[test]
    fn a_descriptor_for_writing_makes_no_disk() {
        let named = tempfile::NamedTempFile::new().unwrap();
        named.as_file().set_len(4096).unwrap();
        for read_only in [false, true] {
            let file = File::options().write(true).open(named.path()).unwrap();
            let outcome = Backing::new(file, false, read_only);
            assert!(matches!(outcome, Err(BlockError::NotReadable)));
        }
    }
}
