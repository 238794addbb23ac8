//! A wrapper that has one flush under way at a time, and tells all whom it may
//! concern that one failed.
//!
//! After an fdatasync that failed, the next may say that all is well: Linux
//! tells of an error once, to whichever asks first, and forgets the pages that
//! it could not write (fsync(2), ERRORS). So a flush that failed is never tried
//! again by ourselves: that would make a success of it. And it fails every flush
//! that was asked for by then, also one that the kernel would have let pass.
//! What a flush vouches for that is asked for later is what was written after
//! the driver was told: a driver that heard of the error takes everything else
//! to be lost, as it does of any disk.
//!
//! Flushes that come while one is under way begin together when it is done.
//!
//! Each queue of a disk has this for itself. Queues of one disk share an open
//! file, to which Linux tells of an error once: of two that flush at the same
//! time, one may not hear of it. Volumes have one queue.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use volume::freeze::{FreezeError, Unsaved};

use super::capacity::Capacity;
use super::disk::{Completion, Disk, DiskInfo, Operation, OperationKind, Slot};
use super::mapped_disk::FreezeFiles;
use crate::virtio::buffers::Buffers;

/// A flush that somebody else's serves, or will.
type Guest = (Slot, Buffers);

/// A disk whose flushes fail together.
pub(super) struct JointFlushDisk {
    inner: Box<dyn Disk>,
    /// Of the flush under way.
    leader: Option<Slot>,
    /// Those that it serves, too.
    joined: Vec<Guest>,
    /// Those that came since it began.
    waiting: Vec<Guest>,
    done: Vec<Completion>,
}

impl JointFlushDisk {
    pub(super) fn new(inner: Box<dyn Disk>) -> Self {
        Self {
            inner,
            leader: None,
            joined: Vec::new(),
            waiting: Vec::new(),
            done: Vec::new(),
        }
    }

    /// Takes note of the outcome of the flush under way.
    fn end(&mut self, result: &io::Result<()>) {
        self.leader = None;
        if result.is_err() {
            self.joined.append(&mut self.waiting);
        }
        for (slot, data) in self.joined.drain(..) {
            let result = same(result);
            self.done.push(Completion { slot, data, result });
        }
        if let Some((slot, data)) = self.waiting.pop() {
            std::mem::swap(&mut self.joined, &mut self.waiting);
            self.leader = Some(slot);
            self.inner.submit(slot, Operation::flush(data));
            self.inner.start();
        }
    }
}

/// The same outcome, for somebody else.
pub(super) fn same(result: &io::Result<()>) -> io::Result<()> {
    let Err(error) = result else {
        return Ok(());
    };
    let code = error.raw_os_error();
    Err(code.map_or_else(|| error.kind().into(), io::Error::from_raw_os_error))
}

impl Disk for JointFlushDisk {
    fn info(&self) -> DiskInfo {
        self.inner.info()
    }

    fn capacity(&self) -> Arc<Capacity> {
        self.inner.capacity()
    }

    fn submit(&mut self, slot: Slot, operation: Operation) {
        if operation.kind == OperationKind::Flush {
            if self.leader.is_some() {
                return self.waiting.push((slot, operation.data));
            }
            self.leader = Some(slot);
        }
        self.inner.submit(slot, operation);
    }

    fn start(&mut self) {
        self.inner.start();
    }

    fn next_completion(&mut self) -> Option<Completion> {
        if let Some(done) = self.done.pop() {
            return Some(done);
        }
        let completion = self.inner.next_completion()?;
        if self.leader == Some(completion.slot) {
            self.end(&completion.result);
        }
        Some(completion)
    }

    fn wakers(&self) -> Vec<RawFd> {
        self.inner.wakers()
    }

    fn is_at_rest(&self) -> bool {
        self.done.is_empty() && self.inner.is_at_rest()
    }

    fn wait(&mut self, deadline: Instant) {
        if self.done.is_empty() {
            self.inner.wait(deadline);
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.inner.sync()
    }

    fn freeze(&mut self, files: FreezeFiles) -> Result<Unsaved, FreezeError> {
        self.inner.freeze(files)
    }
}
