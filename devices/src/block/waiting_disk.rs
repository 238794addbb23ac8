//! A wrapper that has operations wait which the host failed, and tries them
//! again every second until it can do them: a file system that is full is given
//! room, a disk that is gone comes back, and the guest never hears of it.
//!
//! What the host can be expected to do later waits ([`may_pass`]); what is the
//! driver's mistake, or never was possible, is answered at once. Others pass by
//! those that wait: nothing orders operations that are under way at the same
//! time (virtio 1.3 §5.2.6.2), and a flush makes durable what was answered
//! before it.
//!
//! A flush never waits. Trying it again would make a success of it though data
//! is lost ([`super::joint_flush_disk`]): it is answered with the error, and the
//! driver knows what that means. So with a page cache that takes writes which
//! the disk behind it then fails, the guest hears of it all the same; without
//! (direct I/O) the write itself fails, and waits.
//!
//! What waits does so through a pause, and is tried again after it. When its
//! driver, or the disk, is to go, everything is tried once more, and what fails
//! then is answered.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use volume::freeze::{FreezeError, Unsaved};

use super::capacity::Capacity;
use super::disk::{Completion, Disk, DiskInfo, Operation, OperationKind, Slot};
use super::loader::NotLoaded;
use super::mapped_disk::{FreezeFiles, Unsettled};
use super::waits::Waits;
use crate::clock::{AlarmClock, Nanos, SECOND};

/// Time between two attempts.
const PAUSE: Nanos = SECOND;

/// A disk that is patient with its host.
pub(super) struct WaitingDisk<C> {
    inner: Box<dyn Disk>,
    clock: C,
    waits: Arc<Waits>,
    /// What each slot's operation is to do.
    asked: Vec<Option<Asked>>,
    /// Operations that wait, in the order in which they failed.
    held: Vec<(Slot, Operation)>,
    /// When they are tried again.
    due: Nanos,
    /// Nothing waits any more: driver or disk go.
    resting: bool,
}

#[derive(Clone, Copy)]
struct Asked {
    kind: OperationKind,
    offset: u64,
    len: u64,
    /// It has failed before.
    waits: bool,
}

impl<C: AlarmClock> WaitingDisk<C> {
    /// `inner`, going by `clock`, with what waits told to `waits`.
    pub(super) fn new(inner: Box<dyn Disk>, clock: C, waits: Arc<Waits>) -> Self {
        let depth = inner.info().depth;
        Self {
            inner,
            clock,
            waits,
            asked: vec![None; depth],
            held: Vec::with_capacity(depth),
            due: 0,
            resting: false,
        }
    }

    /// Tries everything again.
    fn retry(&mut self) {
        for (slot, operation) in self.held.drain(..) {
            self.inner.submit(slot, operation);
        }
    }

    /// Takes in what the disk has done. Gives what the driver is to hear.
    fn end(&mut self, completion: Completion) -> Option<Completion> {
        let asked = self.asked[completion.slot].take();
        let mut asked = asked.expect("a completion is of an operation under way");
        match &completion.result {
            Err(error) if !self.resting && may_pass(asked.kind, error) => {
                if !asked.waits {
                    asked.waits = true;
                    self.waits.enter(error);
                }
                self.hold(completion, asked);
                None
            }
            _ => {
                if asked.waits {
                    self.waits.leave();
                }
                Some(completion)
            }
        }
    }

    fn hold(&mut self, completion: Completion, asked: Asked) {
        let Completion { slot, mut data, .. } = completion;
        let Asked {
            kind, offset, len, ..
        } = asked;
        if matches!(kind, OperationKind::Read | OperationKind::Write) {
            // A part of it may have been done.
            let consumed = len.saturating_sub(data.len());
            data.rewind(usize::try_from(consumed).expect("it was in memory"));
        }
        if self.held.is_empty() {
            self.due = self.clock.now().saturating_add(PAUSE);
            self.clock.set(self.due);
        }
        self.asked[slot] = Some(asked);
        let operation = Operation {
            kind,
            offset,
            len,
            data,
        };
        self.held.push((slot, operation));
    }
}

/// Whether the host may do later what it failed with `error`.
fn may_pass(kind: OperationKind, error: &io::Error) -> bool {
    let is_source = |source: &(dyn std::error::Error + Send + Sync + 'static)| {
        source.is::<NotLoaded>() || source.is::<Unsettled>()
    };
    if error.get_ref().is_some_and(is_source) {
        return true;
    }
    // What block devices and file systems fail with, for reasons of their own
    // (Linux, block/blk-core.c: blk_errors).
    const PASSING: [i32; 14] = [
        libc::EIO,
        libc::ENOSPC,
        libc::EDQUOT,
        libc::ENOMEM,
        libc::EAGAIN,
        libc::EBUSY,
        libc::ETIMEDOUT,
        libc::ENOLINK,
        libc::EREMOTEIO,
        libc::ENODATA,
        libc::EILSEQ,
        libc::ENODEV,
        libc::ESTALE,
        // A file system that protects itself after another of these.
        libc::EROFS,
    ];
    let passing = error
        .raw_os_error()
        .is_some_and(|code| PASSING.contains(&code));
    passing && kind != OperationKind::Flush
}

impl<C: AlarmClock> Disk for WaitingDisk<C> {
    fn info(&self) -> DiskInfo {
        self.inner.info()
    }

    fn capacity(&self) -> Arc<Capacity> {
        self.inner.capacity()
    }

    fn submit(&mut self, slot: Slot, operation: Operation) {
        self.resting = false;
        self.asked[slot] = Some(Asked {
            kind: operation.kind,
            offset: operation.offset,
            len: operation.len,
            waits: false,
        });
        self.inner.submit(slot, operation);
    }

    fn start(&mut self) {
        if !self.held.is_empty() && self.clock.now() >= self.due {
            self.retry();
        }
        self.inner.start();
    }

    fn next_completion(&mut self) -> Option<Completion> {
        loop {
            let completion = self.inner.next_completion()?;
            if let Some(completion) = self.end(completion) {
                return Some(completion);
            }
        }
    }

    fn wakers(&self) -> Vec<RawFd> {
        let mut wakers = self.inner.wakers();
        wakers.push(self.clock.fd());
        wakers
    }

    fn is_at_rest(&self) -> bool {
        self.inner.is_at_rest()
    }

    fn wait(&mut self, deadline: Instant) {
        if !self.inner.is_at_rest() {
            return self.inner.wait(deadline);
        }
        self.resting = true;
        self.retry();
        self.inner.start();
        self.inner.wait(deadline);
    }

    fn sync(&mut self) -> io::Result<()> {
        self.inner.sync()
    }

    fn freeze(&mut self, files: FreezeFiles) -> Result<Unsaved, FreezeError> {
        self.inner.freeze(files)
    }
}

impl<C> Drop for WaitingDisk<C> {
    /// Of a disk that does not come back, nothing waits.
    fn drop(&mut self) {
        let waiting = self.asked.iter().flatten().filter(|asked| asked.waits);
        waiting.for_each(|_| self.waits.leave());
    }
}
