//! The seam between a block device and what holds its data.
//!
//! The worker submits operations and collects completions; engines
//! (`file_disk`, `uring_disk`) carry them out, and wrappers (`limited_disk`,
//! `encrypted_disk`, `aligned_disk`, from the guest inwards) stand in between.
//! An operation owns its buffers until its completion gives them back: a chain
//! in flight cannot be refilled.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use volume::freeze::{FreezeError, Unsaved};

use super::capacity::Capacity;
use super::mapped_disk::FreezeFiles;
use crate::virtio::buffers::Buffers;

/// Which operation a completion belongs to: below [`DiskInfo::depth`], and
/// used by one operation at a time.
pub type Slot = usize;

/// What a disk is, sizes in bytes. Constant while it is open, but for its
/// capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskInfo {
    /// Size at the moment, a multiple of `logical_block`. It may grow.
    pub capacity: u64,
    /// What offsets and lengths must be multiples of; at least 512.
    pub logical_block: u32,
    /// What offsets and lengths had better be multiples of.
    pub physical_block: u32,
    /// What buffers must be aligned to; 1 if the disk does not care.
    pub buffer_alignment: u32,
    /// Everything but reading and flushing fails.
    pub read_only: bool,
    /// Space can be given back.
    pub can_discard: bool,
    /// Operations that may be in flight at a time.
    pub depth: usize,
}

/// What to do with a range of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// Fill the buffers from the disk.
    Read,
    /// Store what the buffers hold.
    Write,
    /// Make everything durable whose completion was collected before.
    Flush,
    /// The range is not needed any more; it then holds anything.
    Discard,
    /// The range shall hold zeroes.
    WriteZeroes {
        /// Space may be given back.
        unmap: bool,
    },
}

/// Something for a disk to do. The worker has vetted that the range lies
/// within the disk and that `data` is as long as what is read or written.
#[derive(Debug)]
pub struct Operation {
    /// What.
    pub kind: OperationKind,
    /// First byte of the range.
    pub offset: u64,
    /// Bytes in the range; for a flush, nothing.
    pub len: u64,
    /// Where data goes to or comes from; else held without use.
    pub data: Buffers,
}

impl Operation {
    /// A flush that holds on to `data`.
    pub(super) fn flush(data: Buffers) -> Self {
        Self {
            kind: OperationKind::Flush,
            offset: 0,
            len: 0,
            data,
        }
    }

    /// Passes over the first `moved` bytes, which were transferred.
    pub(super) fn advance(&mut self, moved: usize) {
        let rest = self.data.skip(moved);
        rest.expect("nobody transfers more than there are buffers for");
        self.offset += moved as u64;
        self.len -= moved as u64;
    }
}

impl DiskInfo {
    /// Vets an operation, so that nothing wrong reaches the file whoever
    /// submits it.
    pub(super) fn check(&self, operation: &Operation) -> io::Result<()> {
        let Operation {
            kind, offset, len, ..
        } = *operation;
        let reads = matches!(kind, OperationKind::Read | OperationKind::Flush);
        if self.read_only && !reads {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let ends = offset
            .checked_add(len)
            .is_some_and(|end| end <= self.capacity);
        let transfers = matches!(kind, OperationKind::Read | OperationKind::Write);
        if !ends || transfers && operation.data.len() != len {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(())
    }
}

/// An operation that is done.
#[derive(Debug)]
pub struct Completion {
    /// The operation's slot, free again.
    pub slot: Slot,
    /// The operation's buffers, consumed or not.
    pub data: Buffers,
    /// Whether all of it was done.
    pub result: io::Result<()>,
}

/// Something that stores blocks.
pub trait Disk: Send {
    /// Sizes and abilities.
    fn info(&self) -> DiskInfo;

    /// The size, to be followed as it grows.
    fn capacity(&self) -> Arc<Capacity>;

    /// Takes on an operation; its outcome is a completion in `slot`, not
    /// necessarily in order. It may begin only with the next [`start`].
    ///
    /// [`start`]: Disk::start
    fn submit(&mut self, slot: Slot, operation: Operation);

    /// Begins what was submitted: one system call at most, however many
    /// operations.
    fn start(&mut self);

    /// The next operation that is done. After `None`, one of the [`wakers`]
    /// becomes readable when there may be another.
    ///
    /// [`wakers`]: Disk::wakers
    fn next_completion(&mut self) -> Option<Completion>;

    /// Become readable when operations are done or can go on: then the worker
    /// calls [`start`](Disk::start) and collects. Edges count; nobody reads
    /// them. None if operations are done as soon as they are started.
    fn wakers(&self) -> Vec<RawFd>;

    /// Whether nothing is in flight: what is not done waits for something that
    /// can take as long as it likes, and changes nothing meanwhile. Asked after
    /// [`next_completion`](Self::next_completion) gave `None`.
    fn is_at_rest(&self) -> bool;

    /// Waits until an operation is done, or `deadline`. For who cannot do
    /// anything else: nothing is held back any more, and when nothing is in
    /// flight, what waits is failed.
    fn wait(&mut self, deadline: Instant);

    /// Makes everything durable that is done, and waits for it. Called with
    /// nothing in flight.
    ///
    /// # Errors
    /// What was written may be lost.
    fn sync(&mut self) -> io::Result<()>;

    /// What the disk holds now is kept, for a snapshot, while it goes on
    /// changing. Called with nothing in flight; takes next to no time. What it
    /// gives is to be saved when the disk goes on.
    ///
    /// # Errors
    /// It is not kept. Most disks cannot.
    fn freeze(&mut self, files: FreezeFiles) -> Result<Unsaved, FreezeError> {
        let _ = files;
        Err(FreezeError::NotAVolume)
    }
}
