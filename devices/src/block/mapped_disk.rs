//! A disk whose blocks a map knows: a volume (crate `volume`).
//!
//! Nearly always it is one comparison: a block that is in `data` is read, and
//! one that was written in this generation already is written. Then the
//! operation goes to the engine as it is. Otherwise
//!
//! - an operation on a block that is still in a snapshot *waits* until it is
//!   [loaded](super::loading) (a whole block that is discarded need not be);
//! - the first write to a block in a generation has each freeze keep the block
//!   first, by plain system calls, on the worker's thread: a bounded copy, which
//!   is waited for where it is for a copy of the volume. One that needs many
//!   copies waits for its next turn in between;
//! - a flush that follows new states has the map made durable before it is
//!   answered.
//!
//! After a flush that *failed*, what was loaded since the last may be lost in
//! `data`, and the kernel may have forgotten it ([`super::joint_flush_disk`]).
//! So those blocks are absent again, and are loaded another time. The driver is
//! told when everything under way is done: what it writes from then on is as
//! durable as the next flush says.
//!
//! The disk flushes by itself, in a slot of its own, where a driver that never
//! does would have loading stop, or never end.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FallocateFlags, fallocate};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};
use volume::BLOCK;
use volume::entry::State;
use volume::freeze::{self, Freeze, FreezeError, Unsaved};
use volume::map::{Batch, BlockMap, MapError};
use volume::size::VolumeSize;

use super::capacity::Capacity;
use super::disk::{Completion, Disk, DiskInfo, Operation, OperationKind, Slot};
use super::joint_flush_disk::same;
use super::loader::NotLoaded;
use super::loading::{Loading, MOST_UNSETTLED};
use super::own_flush::OwnFlush;
use crate::virtio::device::STOP_PATIENCE;

/// Snapshots and copies under way at a time: as many snapshots as on EBS (5 for
/// each volume), and as many copies.
pub const MOST_FREEZES: usize = 10;

/// What waits for a block when the disk is to come to rest is given up so long
/// before it would count as stuck.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// How long to wait for either of two things that cannot be waited for
/// together.
const GLANCE: Duration = Duration::from_millis(1);

/// What makes a file a volume: open files, which the disk takes over.
#[derive(Debug)]
pub struct Mapping {
    /// The volume's map, open for writing.
    pub map: File,
    /// Freezes that are under way, each with its kept blocks.
    pub freezes: Vec<FreezeFiles>,
    /// A connected socket (SOCK_SEQPACKET) to whoever loads absent blocks.
    pub loader: Option<OwnedFd>,
}

/// The files of a freeze, open for writing.
#[derive(Debug)]
pub struct FreezeFiles {
    /// `freeze-ID`.
    pub freeze: File,
    /// `kept-ID`.
    pub kept: File,
}

impl FreezeFiles {
    /// Makes room in them for a volume of `bytes`, before its disk is at rest.
    ///
    /// # Errors
    /// No volume is so large, or the file system refuses.
    pub fn make_room(&self, bytes: u64) -> Result<(), FreezeError> {
        let size = VolumeSize::new(bytes).map_err(|_| FreezeError::NotAVolume)?;
        freeze::make_room(&self.freeze, &self.kept, size)
    }
}

/// Why a file and a map are no volume.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// The map is none, or cannot be written.
    #[error(transparent)]
    Map(#[from] MapError),
    /// A snapshot under way is none, or of another volume.
    #[error(transparent)]
    Freeze(#[from] FreezeError),
    /// The data is shorter than the map says.
    #[error("the volume's data was cut short: it has {len} bytes of {size}")]
    Short {
        /// Bytes there are.
        len: u64,
        /// Bytes there should be.
        size: u64,
    },
    /// The data's length is no volume's.
    #[error(transparent)]
    Size(#[from] volume::size::BadSize),
    /// The map could not be made to follow the data.
    #[error("the volume cannot be grown to the size of its data")]
    Grow(#[source] io::Error),
    /// The descriptor could not be duplicated.
    #[error("the volume's data cannot be opened again")]
    Data(#[source] io::Error),
    /// The process has no descriptor left.
    #[error("the volume's worker cannot be woken")]
    Waker(#[source] io::Error),
}

/// A volume.
pub(super) struct MappedDisk {
    inner: Box<dyn Disk>,
    data: File,
    /// Taken when it is closed.
    map: Option<BlockMap>,
    freezes: Vec<Freeze>,
    loading: Loading,
    /// Operations that wait, for blocks or for their turn, the oldest first.
    waiting: VecDeque<(Slot, Operation)>,
    /// Whether there is time in this turn of the worker for a block that freezes
    /// keep, or that is cleared by itself: others want its thread, too.
    has_time: bool,
    /// Something waits for the next turn, and `again` brings that about.
    put_off: bool,
    again: EventFd,
    /// Operations that the engine has, but for flushes.
    in_flight: usize,
    /// Flushes under way and what they will settle, by slot.
    settling: Vec<Option<Batch>>,
    /// Flushes that failed, until nothing is in flight.
    failed: Vec<Completion>,
    own_flush: OwnFlush,
    /// Operations that the engine has not seen, or that are to be told of.
    done: Vec<Completion>,
}

/// A flush has made the data durable, and not yet the map, in which nothing was
/// lost: it may be tried again.
#[derive(Debug, thiserror::Error)]
#[error("the map of the volume's blocks cannot be written: {0}")]
pub(super) struct Unsettled(io::Error);

impl MappedDisk {
    /// `inner`, which is `data`, as the volume that `mapping` makes of it.
    ///
    /// # Errors
    /// These are no volume, or it is damaged.
    pub(super) fn new(
        inner: Box<dyn Disk>,
        data: File,
        mapping: Mapping,
    ) -> Result<Self, MappingError> {
        let mut map = BlockMap::open(mapping.map)?;
        let (len, size) = (inner.info().capacity, map.header().size.bytes());
        if len < size {
            return Err(MappingError::Short { len, size });
        }
        if len > size {
            // Growing was interrupted; whoever asked may have been told.
            let grown = VolumeSize::new(len)?;
            map.grow(grown).map_err(MappingError::Grow)?;
        }
        let freezes = mapping.freezes.into_iter();
        let freezes =
            freezes.filter_map(|files| Freeze::resume(files.freeze, files.kept, &map).transpose());
        let freezes = freezes.collect::<Result<Vec<_>, _>>()?;
        let depth = inner.info().depth;
        let again = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map_err(MappingError::Waker)?;
        Ok(Self {
            inner,
            data,
            loading: Loading::new(&map, mapping.loader),
            map: Some(map),
            freezes,
            waiting: VecDeque::with_capacity(depth),
            has_time: true,
            put_off: false,
            again,
            in_flight: 0,
            settling: (0..depth).map(|_| None).collect(),
            failed: Vec::new(),
            own_flush: OwnFlush::new(),
            done: Vec::with_capacity(depth),
        })
    }

    fn map(&mut self) -> &mut BlockMap {
        self.map.as_mut().expect("it is taken when the disk goes")
    }

    /// Hands `operation` on, now or when it can be done.
    fn begin(&mut self, slot: Slot, operation: Operation) {
        if operation.kind == OperationKind::Discard && self.spares_discards() {
            // The range holds anything then: also what it held.
            let data = operation.data;
            let result = Ok(());
            return self.done.push(Completion { slot, data, result });
        }
        let begins = match self.failed.first() {
            None => self.prepare(slot, &operation),
            // The kernel would let it pass, and the driver does not know yet.
            Some(failed) if operation.kind == OperationKind::Flush => {
                let (data, result) = (operation.data, same(&failed.result));
                return self.failed.push(Completion { slot, data, result });
            }
            // What comes now might be lost with what is absent again soon.
            Some(_) => Ok(false),
        };
        match begins {
            Ok(true) => self.hand_on(slot, operation),
            Ok(false) => self.waiting.push_back((slot, operation)),
            Err(error) => self.fail(slot, operation, error),
        }
    }

    fn hand_on(&mut self, slot: Slot, operation: Operation) {
        self.in_flight += usize::from(operation.kind != OperationKind::Flush);
        self.inner.submit(slot, operation);
    }

    /// Whether space is not worth what giving it back takes at the moment:
    /// copies of blocks for snapshots under way, or more to be kept in mind
    /// until a flush.
    fn spares_discards(&mut self) -> bool {
        !self.freezes.is_empty() || self.map().unsettled() >= MOST_UNSETTLED
    }

    /// Does what has to come before `operation`. Returns whether it can begin.
    fn prepare(&mut self, slot: Slot, operation: &Operation) -> io::Result<bool> {
        if operation.kind == OperationKind::Flush {
            self.own_flush.tell()?;
            self.settling[slot] = Some(self.map().begin_settling());
            return Ok(true);
        }
        self.follow_growth(operation.offset.saturating_add(operation.len))?;
        let blocks = blocks_of(operation);
        match operation.kind {
            OperationKind::Read => return Ok(!self.ask_for(blocks)?),
            OperationKind::Discard | OperationKind::WriteZeroes { .. } => {
                if !self.clear_absent(operation)? {
                    return Ok(false);
                }
            }
            OperationKind::Write | OperationKind::Flush => {}
        }
        if self.ask_for(blocks.clone())? {
            return Ok(false);
        }
        self.touch(blocks, operation.kind == OperationKind::Write)
    }

    /// Takes the time for another block, if there is some in this turn. If not,
    /// what asks is tried again in the next.
    fn take_time(&mut self) -> bool {
        let taken = std::mem::take(&mut self.has_time);
        if !taken {
            self.put_off = true;
            // It is readable at any rate if it is full.
            let _ = self.again.write(1);
        }
        taken
    }

    /// Has the map follow a disk that has grown, so that it reaches to `end`.
    fn follow_growth(&mut self, end: u64) -> io::Result<()> {
        if end <= self.map().header().size.bytes() {
            return Ok(());
        }
        let capacity = self.inner.info().capacity;
        if end > capacity {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let size = VolumeSize::new(capacity).map_err(io::Error::other)?;
        self.map().grow(size)?;
        if !self.map().is_complete() {
            // What was added is absent, like all that nobody has touched.
            self.loading.begin_again();
        }
        Ok(())
    }

    /// Asks for those of `blocks` that are absent. Returns whether any is.
    fn ask_for(&mut self, blocks: RangeInclusive<u32>) -> io::Result<bool> {
        if self.loading.is_over() {
            return Ok(false);
        }
        let mut any = false;
        for block in blocks {
            if self.map().get(block)?.state == State::Absent {
                self.load(block, true)?;
                any = true;
            }
        }
        Ok(any)
    }

    fn load(&mut self, block: u32, urgent: bool) -> io::Result<()> {
        self.loading.can_ask()?;
        self.keep(block)?;
        self.loading.ask(block, urgent);
        Ok(())
    }

    /// Has freezes keep `block`, which is about to change.
    fn keep(&mut self, block: u32) -> io::Result<()> {
        let map = self.map.as_mut().expect("it is taken when the disk goes");
        freeze::before_change(&mut self.freezes, block, map, &self.data)
    }

    /// Notes that `blocks`, of which none is absent, change now; with `data`
    /// they may be other than zeroes from then on. Returns whether that is done.
    fn touch(&mut self, blocks: RangeInclusive<u32>, data: bool) -> io::Result<bool> {
        let generation = self.map().header().generation;
        for block in blocks {
            let entry = self.map().get(block)?;
            if entry.generation < generation || data && entry.state != State::Present {
                if !self.freezes.is_empty() && !self.take_time() {
                    return Ok(false);
                }
                self.keep(block)?;
                self.map().touch(block)?;
            }
        }
        Ok(true)
    }

    /// Makes absent blocks that lie wholly in the range zeroes, so that they
    /// need not be loaded. Returns whether that is done.
    fn clear_absent(&mut self, operation: &Operation) -> io::Result<bool> {
        if self.loading.is_over() {
            return Ok(true);
        }
        let end = operation.offset + operation.len;
        let first = operation.offset.div_ceil(BLOCK);
        for block in first..end / BLOCK {
            let block = u32::try_from(block).map_err(io::Error::other)?;
            let absent = self.map().get(block)?.state == State::Absent;
            // Whoever loads it may be writing to it.
            if absent && !self.loading.is_asked(block) {
                if !self.take_time() {
                    return Ok(false);
                }
                self.keep(block)?;
                let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(&self.data, hole, u64::from(block) * BLOCK, BLOCK)?;
                self.map().cleared(block)?;
            }
        }
        Ok(true)
    }

    fn fail(&mut self, slot: Slot, operation: Operation, error: io::Error) {
        self.done.push(Completion {
            slot,
            data: operation.data,
            result: Err(error),
        });
    }

    /// Takes in what the loader has brought, and begins what waited for it.
    fn take_answers(&mut self) {
        self.loading.send();
        let mut changed = false;
        while let Some(answer) = self.loading.next_answer() {
            changed = true;
            let absent = match self.map().get(answer.block) {
                Ok(entry) => entry.state == State::Absent,
                Err(_) => false,
            };
            if answer.loaded && absent {
                // Its leaf is known, so this cannot fail.
                let _ = self.map().loaded(answer.block);
            } else if absent {
                self.give_up(|waits| waits.len > 0 && blocks_of(waits).contains(&answer.block));
            }
        }
        if self.loading.has_broken_off() || changed {
            self.retry();
        }
        self.load_ahead();
        self.flush_unasked();
    }

    /// Fails those of the waiting operations that are `hopeless`.
    fn give_up(&mut self, hopeless: impl Fn(&Operation) -> bool) {
        for (slot, operation) in std::mem::take(&mut self.waiting) {
            match hopeless(&operation) {
                true => self.fail(slot, operation, io::Error::other(NotLoaded)),
                false => self.waiting.push_back((slot, operation)),
            }
        }
    }

    /// Tries again what waits, the oldest first: what comes while others wait for
    /// their turn is behind them.
    fn retry(&mut self) {
        for (slot, operation) in std::mem::take(&mut self.waiting) {
            self.begin(slot, operation);
        }
    }

    /// Has blocks loaded for which nobody waits yet.
    fn load_ahead(&mut self) {
        while let Some(block) = self.next_ahead() {
            if self.load(block, false).is_err() {
                return;
            }
        }
    }

    fn next_ahead(&mut self) -> Option<u32> {
        let map = self.map.as_mut().expect("it is taken when the disk goes");
        self.loading.next_ahead(map)
    }

    /// Flushes though nobody asked for it, if loading waits for a flush.
    fn flush_unasked(&mut self) {
        let map = self.map.as_ref().expect("it is taken when the disk goes");
        if !self.failed.is_empty() || !self.loading.waits_for_a_flush(map) {
            return;
        }
        if let Some(flush) = self.own_flush.begin() {
            let slot = self.own_slot();
            self.settling[slot] = Some(self.map().begin_settling());
            self.inner.submit(slot, flush);
        }
    }

    /// The slot that no driver's operation has.
    fn own_slot(&self) -> Slot {
        self.settling.len() - 1
    }

    /// Takes in what the engine has done. Gives what the driver is to hear.
    fn end(&mut self, mut completion: Completion) -> Option<Completion> {
        let Some(batch) = self.settling[completion.slot].take() else {
            self.in_flight -= 1;
            self.get_over_failure();
            return Some(completion);
        };
        if completion.result.is_err() {
            self.failed.push(completion);
            self.get_over_failure();
            return None;
        }
        if !batch.is_empty() {
            let settled = self.map().settle(&batch);
            let unsettled = |error: io::Error| io::Error::new(error.kind(), Unsettled(error));
            completion.result = settled.map_err(unsettled);
            self.finish_loading();
        }
        self.tell(completion);
        None
    }

    /// Has the driver hear of a flush, if it asked for it.
    fn tell(&mut self, flush: Completion) {
        if flush.slot != self.own_slot() {
            return self.done.push(flush);
        }
        self.own_flush.end(flush);
        self.load_ahead();
    }

    /// A flush has failed: when nothing is in flight any more, what may be lost
    /// is absent again, and the driver is told.
    fn get_over_failure(&mut self) {
        if self.failed.is_empty() || self.in_flight > 0 {
            return;
        }
        self.forget_unsettled();
        for flush in std::mem::take(&mut self.failed) {
            self.tell(flush);
        }
        self.retry();
        self.load_ahead();
        self.inner.start();
    }

    /// What is not durable may be lost, whatever the next flush says.
    fn forget_unsettled(&mut self) {
        if self.loading.is_over() {
            return;
        }
        self.loading.distrust();
        if self.map().unsettled() == 0 {
            return;
        }
        self.map().forget_unsettled();
        self.loading.begin_again();
        // A snapshot may be storing, or have kept, what is lost.
        self.freezes.retain(|freeze| {
            freeze.give_up().unwrap_or_else(|error| {
                log::error!("a snapshot may hold what was lost: {error}");
                false
            })
        });
    }

    fn finish_loading(&mut self) {
        let map = self.map.as_mut().expect("it is taken when the disk goes");
        self.loading.finish(map);
    }

    /// Waits for the flush that nobody asked for, at rest.
    fn await_own_flush(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + STOP_PATIENCE;
        while self.own_flush.is_under_way() {
            self.inner.start();
            while let Some(completion) = self.inner.next_completion() {
                // At rest there is no other.
                let _ = self.end(completion);
            }
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if self.own_flush.is_under_way() {
                self.inner.wait(deadline);
            }
        }
        self.own_flush.tell()
    }
}

impl Disk for MappedDisk {
    fn info(&self) -> DiskInfo {
        let info = self.inner.info();
        DiskInfo {
            // One slot is its own.
            depth: info.depth - 1,
            ..info
        }
    }

    fn capacity(&self) -> Arc<Capacity> {
        self.inner.capacity()
    }

    fn submit(&mut self, slot: Slot, operation: Operation) {
        self.begin(slot, operation);
    }

    fn start(&mut self) {
        self.has_time = true;
        if std::mem::take(&mut self.put_off) {
            self.retry();
        }
        if !self.loading.is_over() {
            self.take_answers();
        }
        self.inner.start();
    }

    fn next_completion(&mut self) -> Option<Completion> {
        loop {
            if let Some(done) = self.done.pop() {
                return Some(done);
            }
            let completion = self.inner.next_completion()?;
            if let Some(completion) = self.end(completion) {
                return Some(completion);
            }
        }
    }

    fn wakers(&self) -> Vec<RawFd> {
        let mut wakers = self.inner.wakers();
        wakers.extend(self.loading.waker());
        wakers.push(self.again.as_raw_fd());
        wakers
    }

    fn is_at_rest(&self) -> bool {
        // What is put off has not begun, and is woken by its own eventfd.
        self.done.is_empty() && self.inner.is_at_rest()
    }

    fn wait(&mut self, deadline: Instant) {
        if !self.done.is_empty() || self.put_off {
            return;
        }
        let Some(loader) = self.loading.socket().filter(|_| !self.waiting.is_empty()) else {
            return self.inner.wait(deadline);
        };
        if !self.inner.is_at_rest() {
            return self.inner.wait(deadline);
        }
        if deadline.saturating_duration_since(Instant::now()) < LAST_MOMENT {
            // A guest can do with an error, and not without its disk.
            return self.give_up(|_| true);
        }
        // One of the two is waited for, the other looked at now and then.
        let glance = deadline.min(Instant::now() + GLANCE);
        let left = glance.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or_default();
        let mut sources = [PollFd::from_borrowed_fd(loader, PollFlags::IN)];
        // A signal ends the wait early, which callers expect.
        let _ = poll(&mut sources, Some(&timeout));
    }

    fn sync(&mut self) -> io::Result<()> {
        self.await_own_flush()?;
        let batch = self.map().begin_settling();
        if let Err(error) = self.inner.sync() {
            self.forget_unsettled();
            return Err(error);
        }
        self.map().settle(&batch)
    }

    fn freeze(&mut self, files: FreezeFiles) -> Result<Unsaved, FreezeError> {
        self.freezes.retain(|freeze| !freeze.is_over());
        if self.freezes.len() >= MOST_FREEZES {
            return Err(FreezeError::TooMany(MOST_FREEZES));
        }
        // A guest may know of its new size already.
        let capacity = self.inner.info().capacity;
        self.follow_growth(capacity).map_err(FreezeError::Write)?;
        let (freeze, unsaved) = Freeze::begin(files.freeze, files.kept, self.map())?;
        self.freezes.push(freeze);
        Ok(unsaved)
    }
}

impl Drop for MappedDisk {
    /// The next who opens the volume finds everything as it is. If that fails,
    /// the volume counts as one that was not closed, which loses nothing that
    /// was flushed.
    fn drop(&mut self) {
        let closed = self.sync().and_then(|()| {
            // It may have grown without being written to since.
            self.follow_growth(self.inner.info().capacity)?;
            self.finish_loading();
            self.map.take().map_or(Ok(()), BlockMap::close)
        });
        if let Err(error) = closed {
            log::error!("a volume was not closed: {error}");
        }
    }
}

/// The blocks that an operation lies in; one too many for one without length.
fn blocks_of(operation: &Operation) -> RangeInclusive<u32> {
    let last = operation.offset + operation.len.saturating_sub(1);
    let number = |at: u64| u32::try_from(at / BLOCK).unwrap_or(u32::MAX);
    number(operation.offset)..=number(last)
}
