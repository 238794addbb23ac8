//! A wrapper that holds operations back while a limit says so.
//!
//! Operations keep their order, except that flushes pass by: a flush makes
//! durable what was answered before it, and what waits here was not. What
//! waits is let through when the worker is woken and begins its batch, or when
//! it drains.
//!
//! While there is no limit, an operation costs one load more than without.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use volume::freeze::{FreezeError, Unsaved};

use super::capacity::Capacity;
use super::disk::{Completion, Disk, DiskInfo, Operation, OperationKind, Slot};
use super::mapped_disk::FreezeFiles;
use crate::clock::AlarmClock;
use crate::rate_limit::Gate;

/// A disk behind a gate.
pub(super) struct LimitedDisk<C> {
    inner: Box<dyn Disk>,
    gate: Gate<C>,
    waiting: VecDeque<(Slot, Operation)>,
    /// Dropped last: then the disk's file is closed.
    _presence: Sender<Infallible>,
}

impl<C: AlarmClock> LimitedDisk<C> {
    /// `inner` behind `gate`. Whoever waits at the other end of `presence`
    /// hears when it is gone.
    pub(super) fn new(inner: Box<dyn Disk>, gate: Gate<C>, presence: Sender<Infallible>) -> Self {
        let depth = inner.info().depth;
        Self {
            inner,
            gate,
            waiting: VecDeque::with_capacity(depth),
            _presence: presence,
        }
    }

    /// Hands on what may pass.
    fn let_through(&mut self) {
        while let Some((_, operation)) = self.waiting.front() {
            if !self.gate.admits(bytes(operation)) {
                return;
            }
            if let Some((slot, operation)) = self.waiting.pop_front() {
                self.inner.submit(slot, operation);
            }
        }
    }
}

/// The bytes that an operation is charged for.
fn bytes(operation: &Operation) -> u64 {
    match operation.kind {
        OperationKind::Read | OperationKind::Write => operation.len,
        // These move nothing.
        OperationKind::Flush | OperationKind::Discard | OperationKind::WriteZeroes { .. } => 0,
    }
}

impl<C: AlarmClock> Disk for LimitedDisk<C> {
    fn info(&self) -> DiskInfo {
        self.inner.info()
    }

    fn capacity(&self) -> Arc<Capacity> {
        self.inner.capacity()
    }

    fn submit(&mut self, slot: Slot, operation: Operation) {
        let free = operation.kind == OperationKind::Flush;
        if free || self.waiting.is_empty() && self.gate.admits(bytes(&operation)) {
            self.inner.submit(slot, operation);
        } else {
            self.waiting.push_back((slot, operation));
        }
    }

    fn start(&mut self) {
        self.let_through();
        self.inner.start();
    }

    fn next_completion(&mut self) -> Option<Completion> {
        self.inner.next_completion()
    }

    fn wakers(&self) -> Vec<RawFd> {
        let mut wakers = self.inner.wakers();
        wakers.extend(self.gate.wakers());
        wakers
    }

    fn is_at_rest(&self) -> bool {
        self.waiting.is_empty() && self.inner.is_at_rest()
    }

    fn wait(&mut self, deadline: Instant) {
        if self.waiting.is_empty() {
            return self.inner.wait(deadline);
        }
        while let Some((slot, operation)) = self.waiting.pop_front() {
            self.gate.force(bytes(&operation));
            self.inner.submit(slot, operation);
        }
        // The disk may be at rest with them: not to be told to fail what waits.
        self.inner.start();
    }

    fn sync(&mut self) -> io::Result<()> {
        self.inner.sync()
    }

    fn freeze(&mut self, files: FreezeFiles) -> Result<Unsaved, FreezeError> {
        self.inner.freeze(files)
    }
}
