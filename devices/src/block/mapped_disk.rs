//! A disk whose blocks a map knows: a volume (crate `volume`).
//!
//! Nearly always it is one comparison: a block that is in `data` is read, and
//! one that was written in this generation already is written. Then the
//! operation goes to the engine as it is. Otherwise
//!
//! - an operation on a block that is still in a snapshot *waits* until the
//!   loader has brought it (a whole block that is discarded needs no loading);
//! - the first write to a block in a generation has each freeze keep the block
//!   first, by plain system calls, on the worker's thread: a bounded copy, which
//!   is waited for where it is for a copy of the volume;
//! - a flush that follows new states has the map made durable before it is
//!   answered.
//!
//! Blocks that nobody asks for are loaded meanwhile, two at a time. How fast is
//! the loader's business, and that a guest's wishes come first.

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FallocateFlags, fallocate};
use volume::BLOCK;
use volume::entry::State;
use volume::freeze::{self, Freeze, FreezeError, Unsaved};
use volume::map::{Batch, BlockMap, MapError};
use volume::size::VolumeSize;

use super::capacity::Capacity;
use super::disk::{Completion, Disk, DiskInfo, Operation, OperationKind, Slot};
use super::loader::{Loader, not_loaded};

/// Snapshots and copies under way at a time: as many snapshots as on EBS (5 for
/// each volume), and as many copies.
pub const MOST_FREEZES: usize = 10;

/// Blocks that are loaded at a time though nobody waits for them.
const BACKGROUND: usize = 2;

/// Blocks that are loaded before the guest flushes: 4 GiB of them.
const MOST_UNSETTLED: usize = 8192;

/// Blocks looked at for one that is absent, in one go.
const SEARCH: u32 = 1 << 20;

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
}

/// A volume.
pub(super) struct MappedDisk {
    inner: Box<dyn Disk>,
    data: File,
    /// Taken when it is closed.
    map: Option<BlockMap>,
    freezes: Vec<Freeze>,
    loader: Option<Loader>,
    /// From where on absent blocks are yet to be looked for; `None` if there
    /// are none.
    search: Option<u32>,
    /// Operations that wait for blocks, by slot.
    waiting: Vec<Option<Operation>>,
    waiting_count: usize,
    /// What flushes under way will settle, by slot.
    settling: Vec<Option<Batch>>,
    /// Operations that the engine has not seen.
    done: Vec<Completion>,
}

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
        Ok(Self {
            inner,
            data,
            search: (!map.is_complete()).then_some(0),
            map: Some(map),
            freezes,
            loader: mapping.loader.map(Loader::new),
            waiting: (0..depth).map(|_| None).collect(),
            waiting_count: 0,
            settling: (0..depth).map(|_| None).collect(),
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
        match self.prepare(slot, &operation) {
            Ok(true) => self.inner.submit(slot, operation),
            Ok(false) => {
                self.waiting[slot] = Some(operation);
                self.waiting_count += 1;
            }
            Err(error) => self.fail(slot, operation, error),
        }
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
            let batch = self.map().begin_settling();
            self.settling[slot] = (!batch.is_empty()).then_some(batch);
            return Ok(true);
        }
        self.follow_growth(operation.offset.saturating_add(operation.len))?;
        let blocks = blocks_of(operation);
        match operation.kind {
            OperationKind::Read => return Ok(!self.ask_for(blocks)?),
            OperationKind::Discard | OperationKind::WriteZeroes { .. } => {
                self.clear_absent(operation)?;
            }
            OperationKind::Write | OperationKind::Flush => {}
        }
        if self.ask_for(blocks.clone())? {
            return Ok(false);
        }
        self.touch(blocks, operation.kind == OperationKind::Write)?;
        Ok(true)
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
            self.search = Some(0);
        }
        Ok(())
    }

    /// Asks for those of `blocks` that are absent. Returns whether any is.
    fn ask_for(&mut self, blocks: RangeInclusive<u32>) -> io::Result<bool> {
        if self.search.is_none() {
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
        if self.loader.as_ref().is_none_or(Loader::is_gone) {
            return Err(not_loaded(true));
        }
        self.keep(&[block])?;
        if let Some(loader) = &mut self.loader {
            loader.ask(block, urgent);
        }
        Ok(())
    }

    /// Has freezes keep `blocks`, which are about to change.
    fn keep(&mut self, blocks: &[u32]) -> io::Result<()> {
        let map = self.map.as_mut().expect("it is taken when the disk goes");
        let mut at = 0;
        while let Some(freeze) = self.freezes.get(at) {
            match freeze.before_change(blocks, map, &self.data)? {
                true => at += 1,
                false => drop(self.freezes.swap_remove(at)),
            }
        }
        Ok(())
    }

    /// Notes that `blocks`, of which none is absent, change now; with `data`
    /// they may be other than zeroes from then on.
    fn touch(&mut self, blocks: RangeInclusive<u32>, data: bool) -> io::Result<()> {
        let generation = self.map().header().generation;
        let mut changing = Vec::new();
        for block in blocks {
            let entry = self.map().get(block)?;
            if entry.generation < generation || data && entry.state != State::Present {
                changing.push(block);
            }
        }
        if changing.is_empty() {
            return Ok(());
        }
        // Together: what is kept for a copy is synced.
        self.keep(&changing)?;
        for block in changing {
            self.map().touch(block)?;
        }
        Ok(())
    }

    /// Makes absent blocks that lie wholly in the range zeroes, so that they
    /// need not be loaded.
    fn clear_absent(&mut self, operation: &Operation) -> io::Result<()> {
        if self.search.is_none() {
            return Ok(());
        }
        let end = operation.offset + operation.len;
        let first = operation.offset.div_ceil(BLOCK);
        for block in first..end / BLOCK {
            let block = u32::try_from(block).map_err(io::Error::other)?;
            let asked = |loader: &Loader| loader.is_asked(block);
            let absent = self.map().get(block)?.state == State::Absent;
            // Whoever loads it may be writing to it.
            if absent && !self.loader.as_ref().is_some_and(asked) {
                self.keep(&[block])?;
                let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(&self.data, hole, u64::from(block) * BLOCK, BLOCK)?;
                self.map().cleared(block)?;
            }
        }
        Ok(())
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
        let Some(loader) = &mut self.loader else {
            return;
        };
        loader.send();
        let mut changed = loader.is_gone();
        while let Some(answer) = self.loader.as_mut().and_then(Loader::next_answer) {
            changed = true;
            let absent = match self.map().get(answer.block) {
                Ok(entry) => entry.state == State::Absent,
                Err(_) => false,
            };
            if answer.loaded && absent {
                // Its leaf is known, so this cannot fail.
                let _ = self.map().loaded(answer.block);
            } else if absent {
                self.give_up(|waits| blocks_of(waits).contains(&answer.block));
            }
        }
        if self.loader.as_ref().is_some_and(Loader::is_gone) {
            changed = true;
            if let Some(loader) = &mut self.loader {
                loader.abandon();
            }
        }
        if changed {
            self.retry();
        }
        self.load_ahead();
    }

    /// Fails those of the waiting operations that are `hopeless`.
    fn give_up(&mut self, hopeless: impl Fn(&Operation) -> bool) {
        for slot in 0..self.waiting.len() {
            if let Some(operation) = self.waiting[slot].take_if(|waits| hopeless(waits)) {
                self.waiting_count -= 1;
                self.fail(slot, operation, not_loaded(false));
            }
        }
    }

    /// Tries again what waits.
    fn retry(&mut self) {
        if self.waiting_count == 0 {
            return;
        }
        for slot in 0..self.waiting.len() {
            if let Some(operation) = self.waiting[slot].take() {
                self.waiting_count -= 1;
                self.begin(slot, operation);
            }
        }
    }

    /// Has blocks loaded for which nobody waits yet.
    fn load_ahead(&mut self) {
        let Some(mut from) = self.search else {
            return;
        };
        while self.has_time_to_load() {
            let end = self.map().header().size.blocks();
            let until = end.min(from.saturating_add(SEARCH));
            match self.map().absent_in(from..until) {
                Ok(Some(block)) => {
                    from = block + 1;
                    if self.load(block, false).is_err() {
                        break;
                    }
                }
                Ok(None) if until < end => {
                    from = until;
                    break;
                }
                Ok(None) => {
                    from = end;
                    break;
                }
                // Whoever needs these blocks is told.
                Err(_) => from = until,
            }
        }
        self.search = Some(from);
    }

    /// Whether another block may be loaded that nobody waits for. What is not
    /// durable is kept in mind, so there is an end to it until a flush.
    fn has_time_to_load(&mut self) -> bool {
        let can = |loader: &Loader| !loader.is_gone() && loader.background() < BACKGROUND;
        self.loader.as_ref().is_some_and(can) && self.map().unsettled() < MOST_UNSETTLED
    }

    /// After a flush: if nothing is absent any more, that is remembered.
    fn finish_loading(&mut self) {
        let Some(from) = self.search else {
            return;
        };
        let idle = self.loader.as_ref().is_some_and(Loader::is_idle);
        let end = self.map().header().size.blocks();
        if from < end || !idle || self.map().unsettled() > 0 {
            return;
        }
        // Blocks that could not be loaded are looked for again.
        match self.map().absent_in(0..end) {
            Ok(None) => {
                // If that is not durable, it is looked for again later.
                let _ = self.map().complete();
                self.search = None;
                if let Some(loader) = &self.loader {
                    loader.dismiss();
                }
            }
            _ => self.search = Some(0),
        }
    }
}

impl Disk for MappedDisk {
    fn info(&self) -> DiskInfo {
        self.inner.info()
    }

    fn capacity(&self) -> Arc<Capacity> {
        self.inner.capacity()
    }

    fn submit(&mut self, slot: Slot, operation: Operation) {
        self.begin(slot, operation);
    }

    fn start(&mut self) {
        if self.search.is_some() {
            self.take_answers();
        }
        self.inner.start();
    }

    fn next_completion(&mut self) -> Option<Completion> {
        if let Some(done) = self.done.pop() {
            return Some(done);
        }
        let mut completion = self.inner.next_completion()?;
        if let Some(batch) = self.settling[completion.slot].take()
            && completion.result.is_ok()
        {
            completion.result = self.map().settle(&batch);
            self.finish_loading();
        }
        Some(completion)
    }

    fn wakers(&self) -> Vec<RawFd> {
        let mut wakers = self.inner.wakers();
        wakers.extend(self.loader.as_ref().map(Loader::waker));
        wakers
    }

    fn wait(&mut self, deadline: Instant) {
        if !self.done.is_empty() {
            return;
        }
        let Some(loader) = self.loader.as_ref().filter(|_| self.waiting_count > 0) else {
            return self.inner.wait(deadline);
        };
        if deadline.saturating_duration_since(Instant::now()) < LAST_MOMENT {
            // A guest can do with an error, and not without its disk.
            return self.give_up(|_| true);
        }
        // One of the two is waited for, the other looked at now and then.
        let glance = deadline.min(Instant::now() + GLANCE);
        let left = glance.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or_default();
        let mut sources = [PollFd::from_borrowed_fd(loader.socket(), PollFlags::IN)];
        // A signal ends the wait early, which callers expect.
        let _ = poll(&mut sources, Some(&timeout));
    }

    fn sync(&mut self) -> io::Result<()> {
        let batch = self.map().begin_settling();
        self.inner.sync()?;
        self.map().settle(&batch)
    }

    fn freeze(&mut self, files: FreezeFiles) -> Result<Unsaved, FreezeError> {
        self.freezes.retain(|freeze| !freeze.is_over());
        if self.freezes.len() == MOST_FREEZES {
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
