//! A wrapper for disks that care where buffers lie (O_DIRECT).
//!
//! Guest buffers that are not aligned go through aligned memory of the host,
//! piece by piece: slower, never an error. That memory is bounded and reused;
//! operations that find none free wait for it, in order. Aligned buffers pass
//! through untouched.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use vm_memory::{GuestAddress, GuestMemoryMmap};
use volume::freeze::FreezeError;

use super::capacity::Capacity;
use super::disk::{Completion, Disk, DiskInfo, Operation, OperationKind, Slot};
use super::mapped_disk::FreezeFiles;
use crate::memory::Ram;
use crate::virtio::buffers::Buffers;

/// Bytes that go through at a time: a multiple of every block size.
const PIECE: usize = 256 << 10;

/// Operations that go through at a time. Their memory is touched, and so
/// taken, only when it is needed.
const PIECES: usize = 4;

/// A disk that takes buffers at any address.
pub(super) struct AlignedDisk {
    inner: Box<dyn Disk>,
    /// Operations with unaligned buffers, by slot.
    detours: Vec<Option<Detour>>,
    /// Slots of those that wait for memory.
    waiting: VecDeque<Slot>,
    free: Vec<Piece>,
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

/// A piece of aligned memory.
struct Piece {
    address: u64,
    buffers: Buffers,
}

impl Piece {
    /// The first `len` bytes of the piece, as a fresh list.
    fn refill(&mut self, len: usize) {
        self.buffers.clear();
        let len = u32::try_from(len).expect("a piece is small");
        self.buffers
            .append(self.address, len)
            .expect("the piece lies in the memory that it was cut from");
    }
}

impl AlignedDisk {
    /// # Errors
    /// There is no address space for the memory.
    pub(super) fn new(inner: Box<dyn Disk>) -> io::Result<Self> {
        let range = (GuestAddress(0), PIECES * PIECE);
        let memory = GuestMemoryMmap::from_ranges(&[range]).map_err(io::Error::other)?;
        let memory = Ram::new(memory);
        let addresses = (0..).step_by(PIECE).take(PIECES);
        let depth = inner.info().depth;
        Ok(Self {
            inner,
            detours: (0..depth).map(|_| None).collect(),
            waiting: VecDeque::with_capacity(depth),
            free: addresses
                .map(|address| Piece {
                    address,
                    buffers: Buffers::new(memory.clone()),
                })
                .collect(),
        })
    }

    /// Whether direct I/O can use these buffers as they are: each begins
    /// aligned and holds whole blocks.
    fn is_aligned(&self, buffers: &Buffers) -> bool {
        let info = self.inner.info();
        let (Ok(alignment), Ok(block)) = (
            usize::try_from(info.buffer_alignment),
            usize::try_from(info.logical_block),
        ) else {
            return false;
        };
        buffers.iovecs().iter().all(|piece| {
            piece.iov_base.addr().is_multiple_of(alignment) && piece.iov_len.is_multiple_of(block)
        })
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
        let rest = usize::try_from(detour.rest.len).unwrap_or(PIECE);
        detour.part = rest.min(PIECE);
        detour.address = piece.address;
        piece.refill(detour.part);
        if detour.rest.kind == OperationKind::Write {
            let copied = piece.buffers.fill_from(&mut detour.rest.data, detour.part);
            copied.expect("the buffers are as long as the operation");
            piece.refill(detour.part);
        }
        let part = Operation {
            kind: detour.rest.kind,
            offset: detour.rest.offset,
            len: detour.part as u64,
            data: piece.buffers,
        };
        self.inner.submit(slot, part);
    }

    /// Takes in a part that is done. `None` if there are more.
    fn end_part(&mut self, mut detour: Detour, done: Completion) -> Option<Completion> {
        let slot = done.slot;
        let mut piece = Piece {
            address: detour.address,
            buffers: done.data,
        };
        if done.result.is_ok() {
            if detour.rest.kind == OperationKind::Read {
                piece.refill(detour.part);
                let copied = detour.rest.data.fill_from(&mut piece.buffers, detour.part);
                copied.expect("the buffers are as long as the operation");
            }
            detour.rest.offset += detour.part as u64;
            detour.rest.len -= detour.part as u64;
            if detour.rest.len > 0 {
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

impl Disk for AlignedDisk {
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
        // What the disk will refuse goes straight to it.
        let valid = self.inner.info().check(&operation).is_ok();
        if !transfers || !valid || self.is_aligned(&operation.data) {
            self.inner.submit(slot, operation);
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
        self.inner.wait(deadline);
    }

    fn sync(&mut self) -> io::Result<()> {
        self.inner.sync()
    }

    fn freeze(&mut self, files: FreezeFiles) -> Result<(), FreezeError> {
        self.inner.freeze(files)
    }
}
