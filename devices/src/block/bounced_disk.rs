//! A wrapper that has operations go through memory of the host, for disks on
//! which guest buffers will not do as they are.
//!
//! What happens to the bytes on the way is a [`Passage`]: they are only copied
//! ([`aligned_disk`](super::aligned_disk)) or also encrypted
//! ([`encrypted_disk`](super::encrypted_disk)). Operations go piece by piece,
//! through memory that is bounded and reused; those that find none free wait
//! for it, in order, and hold up nobody who does not need it.
//!
//! Each byte is taken from the guest once, before the disk sees it, and given
//! to the guest when it is what the guest may have: no change that a guest
//! makes meanwhile, to what it wrote or to where it reads to, goes any further.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use volume::freeze::FreezeError;

use super::bounce::{PIECE, Piece, pieces};
use super::capacity::Capacity;
use super::disk::{Completion, Disk, DiskInfo, Operation, OperationKind, Slot};
use super::mapped_disk::FreezeFiles;
use crate::virtio::buffers::{Buffers, TooShort};

/// What becomes of bytes between guest and disk.
pub(super) trait Passage: Send {
    /// Bytes that it deals with at a time; a power of two. Operations on parts
    /// of that are refused.
    const UNIT: u64;

    /// Whether this operation, a read or a write of `disk`, has to go through.
    fn takes(&self, operation: &Operation, disk: &DiskInfo) -> bool;

    /// Moves `len` bytes on their way to `offset` of the disk.
    ///
    /// # Errors
    /// Either list is too short.
    fn store(
        &mut self,
        offset: u64,
        len: usize,
        guest: &mut Buffers,
        piece: &mut Buffers,
    ) -> Result<(), TooShort>;

    /// Moves `len` bytes that were at `offset` of the disk.
    ///
    /// # Errors
    /// Either list is too short.
    fn load(
        &mut self,
        offset: u64,
        len: usize,
        piece: &mut Buffers,
        guest: &mut Buffers,
    ) -> Result<(), TooShort>;
}

/// A disk behind a passage.
pub(super) struct BouncedDisk<P> {
    inner: Box<dyn Disk>,
    passage: P,
    /// Operations that go through, by slot.
    detours: Vec<Option<Detour>>,
    /// Slots of those that wait for memory.
    waiting: VecDeque<Slot>,
    free: Vec<Piece>,
    /// Wrong from the beginning.
    refused: VecDeque<Completion>,
}

/// An operation that does not go straight.
struct Detour {
    /// What is left of it.
    rest: Operation,
    /// Bytes of the part that the disk works on.
    part: usize,
    /// Where in the memory that part is.
    address: u64,
}

impl<P: Passage> BouncedDisk<P> {
    /// `inner` behind `passage`, with memory for `count` operations at a time.
    ///
    /// # Errors
    /// There is no address space for the memory.
    pub(super) fn new(inner: Box<dyn Disk>, passage: P, count: usize) -> io::Result<Self> {
        let depth = inner.info().depth;
        Ok(Self {
            inner,
            passage,
            detours: (0..depth).map(|_| None).collect(),
            waiting: VecDeque::with_capacity(depth),
            free: pieces(count)?,
            refused: VecDeque::with_capacity(depth),
        })
    }

    /// Vets an operation that might go through.
    fn check(&self, operation: &Operation, disk: &DiskInfo) -> io::Result<()> {
        let whole = [operation.offset, operation.len].map(|n| n.is_multiple_of(P::UNIT));
        match whole {
            [true, true] => disk.check(operation),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Gives free memory to those that wait for it.
    fn serve_waiting(&mut self) {
        while !self.waiting.is_empty() && !self.free.is_empty() {
            let (Some(slot), Some(piece)) = (self.waiting.pop_front(), self.free.pop()) else {
                return;
            };
            self.begin_part(slot, piece);
        }
    }

    /// Has the disk do the next part of the detour in `slot` by way of
    /// `piece`.
    fn begin_part(&mut self, slot: Slot, mut piece: Piece) {
        let detour = self.detours[slot].as_mut().expect("the slot has a detour");
        let Operation { kind, offset, .. } = detour.rest;
        let rest = usize::try_from(detour.rest.len).unwrap_or(PIECE);
        detour.part = rest.min(PIECE);
        if kind == OperationKind::Write {
            let room = piece.refill(detour.part);
            let data = &mut detour.rest.data;
            let stored = self.passage.store(offset, detour.part, data, room);
            stored.expect("the buffers are as long as the operation");
        }
        piece.refill(detour.part);
        let (address, data) = piece.into_parts();
        detour.address = address;
        let part = Operation {
            kind,
            offset,
            len: detour.part as u64,
            data,
        };
        self.inner.submit(slot, part);
    }

    /// Takes in a part that is done. `None` if there are more.
    fn end_part(&mut self, mut detour: Detour, done: Completion) -> Option<Completion> {
        let slot = done.slot;
        let mut piece = Piece::from_parts(detour.address, done.data);
        if done.result.is_ok() {
            let rest = &mut detour.rest;
            if rest.kind == OperationKind::Read {
                let from = piece.refill(detour.part);
                let loaded = self
                    .passage
                    .load(rest.offset, detour.part, from, &mut rest.data);
                loaded.expect("the buffers are as long as the operation");
            }
            rest.offset += detour.part as u64;
            rest.len -= detour.part as u64;
            if rest.len > 0 {
                self.detours[slot] = Some(detour);
                self.begin_part(slot, piece);
                self.inner.start();
                return None;
            }
        }
        self.free.push(piece);
        self.serve_waiting();
        self.inner.start();
        Some(Completion {
            slot,
            data: detour.rest.data,
            result: done.result,
        })
    }
}

impl<P: Passage> Disk for BouncedDisk<P> {
    fn info(&self) -> DiskInfo {
        DiskInfo {
            buffer_alignment: 1,
            ..self.inner.info()
        }
    }

    fn capacity(&self) -> Arc<Capacity> {
        self.inner.capacity()
    }

    fn submit(&mut self, slot: Slot, operation: Operation) {
        let transfers = matches!(operation.kind, OperationKind::Read | OperationKind::Write);
        let disk = self.inner.info();
        if !transfers || !self.passage.takes(&operation, &disk) {
            self.inner.submit(slot, operation);
            return;
        }
        if let Err(error) = self.check(&operation, &disk) {
            self.refused.push_back(Completion {
                slot,
                data: operation.data,
                result: Err(error),
            });
            return;
        }
        self.detours[slot] = Some(Detour {
            rest: operation,
            part: 0,
            address: 0,
        });
        self.waiting.push_back(slot);
        self.serve_waiting();
    }

    fn start(&mut self) {
        self.inner.start();
    }

    fn next_completion(&mut self) -> Option<Completion> {
        if let Some(refused) = self.refused.pop_front() {
            return Some(refused);
        }
        loop {
            let done = self.inner.next_completion()?;
            let Some(detour) = self.detours[done.slot].take() else {
                return Some(done);
            };
            if let Some(completion) = self.end_part(detour, done) {
                return Some(completion);
            }
        }
    }

    fn wakers(&self) -> Vec<RawFd> {
        self.inner.wakers()
    }

    fn wait(&mut self, deadline: Instant) {
        if self.refused.is_empty() {
            self.inner.wait(deadline);
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.inner.sync()
    }

    fn freeze(&mut self, files: FreezeFiles) -> Result<(), FreezeError> {
        self.inner.freeze(files)
    }
}
