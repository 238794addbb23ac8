//! The half of a block device that works: requests off the queue, operations
//! to the disk, statuses back to the driver. Runs on a reactor, beside those of
//! the device's other queues.
//!
//! It takes on as many requests as it has [slots](super::slots) for; a driver
//! that makes more available waits until some are free.
//!
//! System calls for a batch of requests of any size: one to begin them all
//! (one each without io_uring) and one for the interrupt, if the driver wants
//! it. None for the notification that began it, which the edge-triggered
//! reactor need not read. Where the page cache answers at once, a single
//! request costs these two and no second wake-up.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::capacity::Capacity;
use super::counters::Counters;
use super::disk::{Completion, Disk, DiskInfo, Operation, OperationKind, Slot};
use super::id::DiskId;
use super::request::{Command, Reply, Request, Status};
use super::resting_disk::RestingDisk;
use super::slots::{Pending, Slots};
use crate::clock::{self, Nanos};
use crate::log_limit::LogLimit;
use crate::reactor::{Readiness, Source, Token, Worker};
use crate::virtio::queue::{Queue, QueueFault};

/// Requests begun in one wake, so that other workers get their turn.
const BATCH: u32 = 256;

/// And how long one lasts, but for the requests at hand at last: who wants the
/// disk to come to rest waits for it.
const LONGEST: Nanos = 1_000_000;

const KICK: Token = 0;
const COMPLETION: Token = 1;

/// Why a batch ended.
#[derive(PartialEq, Eq)]
enum End {
    /// There are no more requests.
    Empty,
    /// All slots are taken.
    Full,
    /// It was long enough.
    Spent,
}

/// The worker of a queue.
pub(super) struct BlockWorker {
    queue: Queue,
    disk: Box<dyn Disk>,
    info: DiskInfo,
    capacity: Arc<Capacity>,
    id: DiskId,
    slots: Slots,
    /// Whether writes are to be durable before they are answered.
    writethrough: Arc<AtomicBool>,
    counters: Arc<Counters>,
    errors: LogLimit,
    /// Requests taken on since the reactor last asked.
    taken: u32,
    /// When the requests at hand were taken on, once there are any.
    accepting: Option<Nanos>,
    /// Requests were answered since the driver was last notified.
    answered: bool,
    /// The driver broke the queue: it is left alone until a reset.
    broken: bool,
}

impl BlockWorker {
    pub(super) fn new(
        queue: Queue,
        resting: RestingDisk,
        id: DiskId,
        writethrough: Arc<AtomicBool>,
        counters: Arc<Counters>,
    ) -> Self {
        let RestingDisk { disk, waiting } = resting;
        let info = disk.info();
        let count = info.depth.min(usize::from(queue.size()));
        let slots = waiting.unwrap_or_else(|| Slots::new(count, queue.ram()));
        // Whatever notifications were seen before, look at the queue first.
        queue.kick_again();
        Self {
            queue,
            info,
            capacity: disk.capacity(),
            disk,
            id,
            slots,
            writethrough,
            counters,
            errors: LogLimit::default(),
            taken: 0,
            accepting: None,
            answered: false,
            broken: false,
        }
    }

    /// The queue and the disk, for the next start.
    pub(super) fn into_parts(self) -> (Queue, RestingDisk) {
        let waiting = (!self.slots.are_vacant()).then_some(self.slots);
        let disk = self.disk;
        (self.queue, RestingDisk { disk, waiting })
    }

    /// Works until there is nothing to do at the moment.
    fn turn(&mut self) -> Result<(), QueueFault> {
        let mut budget = BATCH;
        let mut began = None;
        self.queue.disable_notification()?;
        loop {
            let end = self.accept(&mut budget)?;
            let answered = self.collect()?;
            match end {
                End::Spent => {
                    self.queue.kick_again();
                    return Ok(());
                }
                // A completion will wake the worker.
                End::Full if !answered => return Ok(()),
                End::Full => {}
                End::Empty => {
                    if !self.queue.enable_notification()? {
                        return Ok(());
                    }
                    self.queue.disable_notification()?;
                }
            }
            // Most turns are over before.
            let now = clock::now();
            let began = *began.get_or_insert(self.accepting.unwrap_or(now));
            if now.saturating_sub(began) > LONGEST {
                self.queue.kick_again();
                return Ok(());
            }
        }
    }

    /// Takes on requests.
    fn accept(&mut self, budget: &mut u32) -> Result<End, QueueFault> {
        self.accepting = None;
        loop {
            let Some(slot) = self.slots.vacant() else {
                return Ok(End::Full);
            };
            let Some(left) = budget.checked_sub(1) else {
                return Ok(End::Spent);
            };
            *budget = left;
            let faults = self.queue.faults();
            let popped = self.queue.pop(&mut self.slots[slot].chain);
            let faults = self.queue.faults() - faults;
            self.answered |= faults > 0;
            self.counters.malformed.add(faults);
            if !popped? {
                return Ok(End::Empty);
            }
            self.slots.occupy();
            self.taken += 1;
            self.begin(slot)?;
        }
    }

    /// Begins the request in `slot`, or answers it at once.
    fn begin(&mut self, slot: Slot) -> Result<(), QueueFault> {
        // A driver uses new space as soon as it has heard of it.
        self.info.capacity = self.capacity.get();
        let chain = &mut self.slots[slot].chain;
        let Ok(Request { reply, command }) = Request::parse(chain, &self.info) else {
            self.counters.malformed.increment();
            return self.answer(slot, 0);
        };
        let id = self.id.as_bytes();
        let written = match command {
            Ok(Command::Operate { kind, offset, len }) => {
                self.submit(slot, reply, kind, offset, len);
                return Ok(());
            }
            Ok(Command::Identify) => match chain.writable.write(id) {
                Ok(()) => reply.send(Status::Ok, id.len() as u64),
                Err(_) => self.refuse(reply, Status::IoError),
            },
            Ok(Command::Nothing) => reply.send(Status::Ok, 0),
            Err(status) => self.refuse(reply, status),
        };
        self.answer(slot, written)
    }

    /// Hands the request in `slot` to the disk, together with its buffers.
    fn submit(&mut self, slot: Slot, reply: Reply, kind: OperationKind, offset: u64, len: u64) {
        let since = *self.accepting.get_or_insert_with(clock::now);
        let entry = &mut self.slots[slot];
        entry.pending = Some(Pending {
            reply,
            kind,
            len,
            since,
            syncing: false,
        });
        let data = match kind {
            OperationKind::Read => entry.chain.writable.take(),
            _ => entry.chain.readable.take(),
        };
        let operation = Operation {
            kind,
            offset,
            len,
            data,
        };
        self.disk.submit(slot, operation);
    }

    fn refuse(&self, reply: Reply, status: Status) -> u32 {
        self.counters.refused.increment();
        reply.send(status, 0)
    }

    /// Starts what was submitted, answers what is done, and notifies the
    /// driver once. Returns whether anything was answered.
    fn collect(&mut self) -> Result<bool, QueueFault> {
        let mut outcome = Ok(());
        loop {
            self.disk.start();
            let mut follow_up = false;
            let mut now = None;
            while let Some(completion) = self.disk.next_completion() {
                let now = *now.get_or_insert_with(clock::now);
                match self.complete(completion, now) {
                    Ok(submitted) => follow_up |= submitted,
                    // Collect the others all the same: their slots are only
                    // then free of the disk.
                    Err(fault) => outcome = Err(fault),
                }
            }
            if !follow_up {
                break;
            }
        }
        outcome?;
        let answered = std::mem::take(&mut self.answered);
        if answered {
            self.queue.notify()?;
        }
        Ok(answered)
    }

    /// Answers the request that `completion` is of, at `now`. Returns true if
    /// instead it was submitted again, to be made durable first.
    fn complete(&mut self, completion: Completion, now: Nanos) -> Result<bool, QueueFault> {
        let Completion { slot, data, result } = completion;
        let pending = self.slots[slot].pending.take();
        let mut pending = pending.expect("a completion is of an operation in flight");
        if result.is_ok() && !pending.syncing && self.must_sync(pending.kind) {
            pending.syncing = true;
            self.slots[slot].pending = Some(pending);
            self.disk.submit(slot, Operation::flush(data));
            return Ok(true);
        }
        // The lists go back to where they came from, to be reused.
        let chain = &mut self.slots[slot].chain;
        match pending.kind {
            OperationKind::Read => chain.writable = data,
            _ => chain.readable = data,
        }
        let latency = self.counters.latency.of(pending.kind);
        latency.record(now.saturating_sub(pending.since));
        let written = match result {
            Ok(()) => self.succeed(pending),
            Err(error) => self.fail(pending, &error),
        };
        self.answer(slot, written).map(|()| false)
    }

    fn succeed(&self, pending: Pending) -> u32 {
        self.counters.count(pending.kind, pending.len);
        if pending.syncing {
            self.counters.count(OperationKind::Flush, 0);
        }
        let filled = match pending.kind {
            OperationKind::Read => pending.len,
            _ => 0,
        };
        pending.reply.send(Status::Ok, filled)
    }

    fn fail(&mut self, pending: Pending, error: &io::Error) -> u32 {
        self.counters.disk_errors.increment();
        let (id, kind) = (self.id, pending.kind);
        self.errors.warn(|| format!("disk {id}: {kind:?}: {error}"));
        let status = match error.kind() {
            io::ErrorKind::Unsupported => Status::Unsupported,
            _ => Status::IoError,
        };
        pending.reply.send(status, 0)
    }

    /// Whether what changes the disk is durable only after a flush that the
    /// driver will not ask for.
    fn must_sync(&self, kind: OperationKind) -> bool {
        let changes = !matches!(kind, OperationKind::Read | OperationKind::Flush);
        changes && self.writethrough.load(Ordering::Acquire)
    }

    /// Returns the request in `slot` to the driver, and frees the slot.
    fn answer(&mut self, slot: Slot, written: u32) -> Result<(), QueueFault> {
        self.slots.release(slot);
        self.answered = true;
        self.queue.push(self.slots[slot].chain.head(), written)
    }

    fn break_down(&mut self, fault: QueueFault) {
        if !self.broken {
            self.broken = true;
            self.queue.needs_reset(fault);
        }
    }
}

impl Worker for BlockWorker {
    fn sources(&self) -> Vec<Source> {
        let source = |fd, token| Source {
            fd,
            readiness: Readiness::Readable,
            token,
        };
        let mut sources = vec![source(self.queue.kick_fd(), KICK)];
        let wakers = self.disk.wakers().into_iter();
        sources.extend(wakers.map(|fd| source(fd, COMPLETION)));
        sources
    }

    fn ready(&mut self, _: Token) {
        let outcome = if self.broken {
            self.collect().map(|_| ())
        } else {
            self.turn()
        };
        if let Err(fault) = outcome {
            self.break_down(fault);
        }
    }

    fn taken(&mut self) -> u32 {
        std::mem::take(&mut self.taken)
    }

    /// What waits for something else than the disk's work goes on waiting.
    fn drain(&mut self, deadline: Instant) -> bool {
        loop {
            if let Err(fault) = self.collect() {
                self.break_down(fault);
            }
            if self.slots.are_vacant() || self.disk.is_at_rest() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            self.disk.wait(deadline);
        }
    }

    /// The disk is about to be closed, and its front cannot see to this.
    fn outlived(&mut self) {
        if let Err(error) = self.disk.sync() {
            let id = self.id;
            log::error!("disk {id}: what was written may not be durable: {error}");
        }
    }
}
