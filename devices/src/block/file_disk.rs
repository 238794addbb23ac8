#![allow(unsafe_code)] // preadv and pwritev on guest memory.
//! A disk engine that does each operation at once, with plain system calls:
//! for where io_uring is missing or forbidden.
//!
//! One system call per operation. The I/O thread waits for the file
//! meanwhile, so few operations are taken on before the finished ones are
//! reported.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Instant;

use super::backing::{Backing, fallocate_flags};
use super::capacity::Capacity;
use super::disk::{Completion, Disk, DiskInfo, Operation, OperationKind, Slot};
use crate::virtio::buffers::Buffers;

/// Operations taken on at a time: the first waits for the last.
pub(super) const DEPTH: usize = 8;

/// A disk in a file, without io_uring.
pub(super) struct FileDisk {
    backing: Backing,
    done: VecDeque<Completion>,
}

impl FileDisk {
    pub(super) fn new(backing: Backing) -> Self {
        Self {
            backing,
            done: VecDeque::with_capacity(DEPTH),
        }
    }

    fn perform(&self, operation: &mut Operation) -> io::Result<()> {
        self.info().check(operation)?;
        let file = self.backing.file();
        match operation.kind {
            OperationKind::Read => self.transfer(operation, read_at),
            OperationKind::Write => self.transfer(operation, write_at),
            OperationKind::Flush => Ok(rustix::fs::fdatasync(file)?),
            kind => {
                let flags = fallocate_flags(kind).expect("what is left clears a range");
                let (offset, len) = (operation.offset, operation.len);
                let clear = || rustix::fs::fallocate(file, flags, offset, len);
                Ok(rustix::io::retry_on_intr(clear)?)
            }
        }
    }

    /// Calls `step` until all of the operation's buffers are consumed: a
    /// system call may move less than it was asked to.
    fn transfer(
        &self,
        operation: &mut Operation,
        step: fn(RawFd, &Buffers, u64) -> io::Result<usize>,
    ) -> io::Result<()> {
        while !operation.data.is_empty() {
            match step(self.backing.as_raw_fd(), &operation.data, operation.offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(moved) => operation.advance(moved),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Disk for FileDisk {
    fn info(&self) -> DiskInfo {
        self.backing.info(DEPTH)
    }

    fn capacity(&self) -> Arc<Capacity> {
        Arc::clone(self.backing.capacity())
    }

    fn submit(&mut self, slot: Slot, mut operation: Operation) {
        let result = self.perform(&mut operation);
        self.done.push_back(Completion {
            slot,
            data: operation.data,
            result,
        });
    }

    fn start(&mut self) {}

    fn next_completion(&mut self) -> Option<Completion> {
        self.done.pop_front()
    }

    fn wakers(&self) -> Vec<RawFd> {
        Vec::new()
    }

    fn is_at_rest(&self) -> bool {
        self.done.is_empty()
    }

    fn wait(&mut self, _: Instant) {}

    fn sync(&mut self) -> io::Result<()> {
        self.backing.sync()
    }
}

fn read_at(fd: RawFd, into: &Buffers, offset: u64) -> io::Result<usize> {
    let (pieces, count, offset) = arguments(into, offset)?;
    // SAFETY: the pieces are guest memory that `into` keeps mapped, and which
    // anybody may write at any time.
    moved(unsafe { libc::preadv(fd, pieces, count, offset) })
}

fn write_at(fd: RawFd, from: &Buffers, offset: u64) -> io::Result<usize> {
    let (pieces, count, offset) = arguments(from, offset)?;
    // SAFETY: the pieces are guest memory that `from` keeps mapped.
    moved(unsafe { libc::pwritev(fd, pieces, count, offset) })
}

fn arguments(
    buffers: &Buffers,
    offset: u64,
) -> io::Result<(*const libc::iovec, libc::c_int, libc::off_t)> {
    let pieces = buffers.iovecs();
    let count = libc::c_int::try_from(pieces.len()).expect("a list has 1024 pieces at most");
    let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok((pieces.as_ptr(), count, offset))
}

fn moved(outcome: isize) -> io::Result<usize> {
    usize::try_from(outcome).map_err(|_| io::Error::last_os_error())
}
