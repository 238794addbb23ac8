//! A wrapper that has operations go through memory of the host, for disks on
//! which guest buffers will not do as they are.
//!
//! What happens to the bytes on the way is a [`Passage`]: they are only copied
//! ([`aligned_disk`](super::aligned_disk)) or also encrypted
//! ([`encrypted_disk`](super::encrypted_disk)). Operations go piece by piece,
//! through memory that is bounded and reused; those that find none free wait
//! for it, in order, and hold up nobody who does not need it. The pieces of one
//! operation are under way at the same time: the disk works on some while others
//! are on their way to it or from it.
//!
//! Each byte is taken from the guest once, before the disk sees it, and given
//! to the guest when it is what the guest may have: no change that a guest
//! makes meanwhile, to what it wrote or to where it reads to, goes any further.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use volume::freeze::{FreezeError, Unsaved};

use super::bounce::{PIECE, Piece, pieces};
use super::capacity::Capacity;
use super::carrier::{Carrier, Load, Way};
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
    carrier: Carrier<P>,
    inner: Box<dyn Disk>,
    /// Operations of the guest in flight at a time. Slots of `inner` from there
    /// on are the lanes'.
    depth: usize,
    /// Operations that go through, by slot.
    detours: Vec<Option<Detour>>,
    /// Slots of those of which a part waits for memory.
    waiting: VecDeque<Slot>,
    /// Parts under way, by lane.
    parts: Vec<Option<Part>>,
    free: Vec<Lane>,
    /// Wrong from the beginning.
    refused: VecDeque<Completion>,
}

/// An operation that does not go straight.
struct Detour {
    /// What of it has not begun. Its buffers are those of all of it, as far as
    /// they are not with the part that is the last.
    rest: Operation,
    /// Parts that are being carried, or that the disk works on.
    under_way: usize,
    /// Of the parts that are done.
    result: io::Result<()>,
}

/// A part of an operation.
struct Part {
    /// The operation's slot.
    slot: Slot,
    /// The guest's buffers are the operation's own, with what was before this
    /// part.
    is_last: bool,
    /// What the disk has no use for, while it works on the part.
    at_disk: Option<AtDisk>,
}

/// A part that the disk works on.
struct AtDisk {
    offset: u64,
    len: usize,
    guest: Buffers,
    /// Where in the memory it is.
    address: u64,
}

/// A way through: memory, and a slot of `inner`.
struct Lane {
    /// Counted from the first slot that is no operation's of the guest.
    number: usize,
    piece: Piece,
}

impl<P: Passage + 'static> BouncedDisk<P> {
    /// `inner`, and `carrier` before it, with memory for `count` parts at a time:
    /// fewer operations can then be in flight by as many.
    ///
    /// # Errors
    /// There is no address space for the memory.
    pub(super) fn new(inner: Box<dyn Disk>, carrier: Carrier<P>, count: usize) -> io::Result<Self> {
        let slots = inner.info().depth;
        let count = count.min(slots / 2);
        let depth = slots - count;
        let lanes = pieces(count)?.into_iter().enumerate();
        Ok(Self {
            carrier,
            inner,
            depth,
            detours: (0..depth).map(|_| None).collect(),
            waiting: VecDeque::with_capacity(depth),
            parts: (0..count).map(|_| None).collect(),
            free: lanes
                .map(|(number, piece)| Lane { number, piece })
                .collect(),
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
        while let Some(&slot) = self.waiting.front() {
            let Some(lane) = self.free.pop() else {
                return;
            };
            if self.begin_part(slot, lane) {
                self.waiting.pop_front();
            }
        }
    }

    /// Sends the next part of the detour in `slot` on its way by `lane`. Returns
    /// whether it was the last.
    fn begin_part(&mut self, slot: Slot, lane: Lane) -> bool {
        let detour = self.detours[slot].as_mut().expect("the slot has a detour");
        let Operation { kind, offset, .. } = detour.rest;
        let len = usize::try_from(detour.rest.len).map_or(PIECE, |rest| rest.min(PIECE));
        let guest = detour.rest.data.split_front(len);
        let guest = guest.expect("the buffers are as long as the operation");
        detour.rest.offset += len as u64;
        detour.rest.len -= len as u64;
        detour.under_way += 1;
        let is_last = detour.rest.len == 0;
        self.parts[lane.number] = Some(Part {
            slot,
            is_last,
            at_disk: None,
        });
        let load = Load {
            lane: lane.number,
            way: Way::In,
            offset,
            len,
            guest,
            piece: lane.piece,
        };
        match kind {
            OperationKind::Write => {
                if let Some(load) = self.carrier.carry(load) {
                    self.hand_over(load, kind);
                }
            }
            _ => self.hand_over(load, kind),
        }
        is_last
    }

    /// Has the disk read or write a part.
    fn hand_over(&mut self, load: Load, kind: OperationKind) {
        let Load {
            lane,
            offset,
            len,
            guest,
            mut piece,
            ..
        } = load;
        piece.refill(len);
        let (address, data) = piece.into_parts();
        let part = self.parts[lane].as_mut();
        let part = part.expect("a part has its lane until it is done");
        part.at_disk = Some(AtDisk {
            offset,
            len,
            guest,
            address,
        });
        let operation = Operation {
            kind,
            offset,
            len: len as u64,
            data,
        };
        self.inner.submit(self.depth + lane, operation);
    }

    /// Takes back a part that the disk is done with. Returns its operation if
    /// that is done, too.
    fn take_back(&mut self, lane: usize, done: Completion) -> Option<Completion> {
        let part = self.parts[lane].as_mut();
        let part = part.expect("a part has its lane until it is done");
        let AtDisk {
            offset,
            len,
            guest,
            address,
        } = part.at_disk.take().expect("the disk is done with it once");
        let detour = self.detours[part.slot].as_ref();
        let detour = detour.expect("a part is of an operation that is not done");
        let load = Load {
            lane,
            way: Way::Out,
            offset,
            len,
            guest,
            piece: Piece::from_parts(address, done.data),
        };
        match done.result {
            Ok(()) if detour.rest.kind == OperationKind::Read => {
                let load = self.carrier.carry(load)?;
                self.end_part(load, Ok(()))
            }
            result => self.end_part(load, result),
        }
    }

    /// Goes on with what was carried.
    fn arrive(&mut self, load: Load) -> Option<Completion> {
        if load.way == Way::Out {
            return self.end_part(load, Ok(()));
        }
        self.hand_over(load, OperationKind::Write);
        self.inner.start();
        None
    }

    /// Takes in a part that is done. Returns its operation if that is, too.
    fn end_part(&mut self, load: Load, result: io::Result<()>) -> Option<Completion> {
        let Load {
            lane: number,
            guest,
            piece,
            ..
        } = load;
        let part = self.parts[number].take();
        let Part { slot, is_last, .. } = part.expect("a part is done once");
        let detour = self.detours[slot].as_mut();
        let detour = detour.expect("a part is of an operation that is not done");
        detour.under_way -= 1;
        if is_last {
            detour.rest.data = guest;
        }
        if let Err(error) = result {
            // What has not begun is left.
            detour.result = Err(error);
            detour.rest.len = 0;
            self.waiting.retain(|waiting| *waiting != slot);
        }
        let is_done = detour.under_way == 0 && detour.rest.len == 0;
        self.free.push(Lane { number, piece });
        self.serve_waiting();
        self.inner.start();
        let detour = self.detours[slot].take_if(|_| is_done)?;
        Some(Completion {
            slot,
            data: detour.rest.data,
            result: detour.result,
        })
    }
}

impl<P: Passage + 'static> Disk for BouncedDisk<P> {
    fn info(&self) -> DiskInfo {
        DiskInfo {
            buffer_alignment: 1,
            depth: self.depth,
            ..self.inner.info()
        }
    }

    fn capacity(&self) -> Arc<Capacity> {
        self.inner.capacity()
    }

    fn submit(&mut self, slot: Slot, operation: Operation) {
        let transfers = matches!(operation.kind, OperationKind::Read | OperationKind::Write);
        let disk = self.inner.info();
        if !transfers || !self.carrier.passage().takes(&operation, &disk) {
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
            under_way: 0,
            result: Ok(()),
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
            let completion = if let Some(load) = self.carrier.next_carried() {
                self.arrive(load)
            } else if let Some(done) = self.inner.next_completion() {
                let Some(lane) = done.slot.checked_sub(self.depth) else {
                    return Some(done);
                };
                self.take_back(lane, done)
            } else {
                let load = self.carrier.help()?;
                self.arrive(load)
            };
            if completion.is_some() {
                return completion;
            }
        }
    }

    fn wakers(&self) -> Vec<RawFd> {
        let inner = self.inner.wakers().into_iter();
        inner.chain(self.carrier.waker()).collect()
    }

    fn is_at_rest(&self) -> bool {
        self.refused.is_empty() && self.carrier.is_idle() && self.inner.is_at_rest()
    }

    fn wait(&mut self, deadline: Instant) {
        if !self.refused.is_empty() {
            return;
        }
        // What is being carried arrives soon.
        if self.carrier.is_idle() {
            self.inner.wait(deadline);
        } else {
            self.carrier.wait(deadline);
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.inner.sync()
    }

    fn freeze(&mut self, files: FreezeFiles) -> Result<Unsaved, FreezeError> {
        self.inner.freeze(files)
    }
}
