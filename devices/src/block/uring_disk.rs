#![allow(unsafe_code)] // Submissions carry pointers into guest memory.
//! A disk engine on io_uring.
//!
//! The ring is made while the device is built, before any guest runs, and
//! restricted to five operations on one registered descriptor: whoever takes
//! over the process cannot use it to get around a system call filter.
//!
//! System calls: one `io_uring_enter` for all operations of a batch. What the
//! page cache completes at once is found in the ring right after it, and the
//! eventfd stays silent while the worker is looking. Completions that come
//! later signal the eventfd, which the reactor watches edge-triggered: it is
//! never read.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use io_uring::register::Restriction;
use io_uring::squeue::{Entry, Flags};
use io_uring::{IoUring, opcode, types};
use rustix::event::{PollFd, PollFlags, Timespec};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::backing::{Backing, fallocate_flags};
use super::disk::{Completion, Disk, DiskInfo, Operation, OperationKind, Slot};
use crate::virtio::device::STOP_PATIENCE;

/// Operations in flight at a time: as many as the largest queue holds.
pub(super) const DEPTH: u16 = 256;

/// The registered descriptor's index.
const FILE: types::Fixed = types::Fixed(0);

/// `IORING_UNREGISTER_FILES` (io_uring_register(2)).
const UNREGISTER_FILES: u8 = 3;

/// A ring, restricted to one file, and the eventfd of its completions.
pub(super) struct Ring {
    ring: IoUring,
    ready: EventFd,
}

impl Ring {
    /// # Errors
    /// The kernel has no io_uring, or not for us, or it is too old to
    /// restrict it (before 5.10).
    pub(super) fn new(backing: &Backing) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_r_disabled()
            .build(u32::from(DEPTH))?;
        let ready = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        let submitter = ring.submitter();
        submitter.register_files(&[backing.as_raw_fd()])?;
        submitter.register_eventfd(ready.as_raw_fd())?;
        submitter.register_restrictions(&mut [
            Restriction::sqe_op(opcode::Readv::CODE),
            Restriction::sqe_op(opcode::Writev::CODE),
            Restriction::sqe_op(opcode::Fsync::CODE),
            Restriction::sqe_op(opcode::Fallocate::CODE),
            Restriction::sqe_flags_allowed(Flags::FIXED_FILE.bits()),
            Restriction::sqe_flags_required(Flags::FIXED_FILE.bits()),
            Restriction::register_op(UNREGISTER_FILES),
        ])?;
        submitter.register_enable_rings()?;
        Ok(Self { ring, ready })
    }
}

/// A disk in a file, through io_uring.
pub(super) struct UringDisk {
    ring: IoUring,
    ready: EventFd,
    backing: Backing,
    /// Operations that the kernel works on, by slot. Their buffers' addresses
    /// and lists are in its hands.
    in_flight: Vec<Option<Operation>>,
    active: usize,
    /// Refused without asking the kernel.
    refused: Vec<Completion>,
}

impl UringDisk {
    pub(super) fn new(mut backing: Backing, ring: Ring) -> Self {
        let depth = usize::from(DEPTH);
        backing.info.depth = depth;
        Self {
            ring: ring.ring,
            ready: ring.ready,
            backing,
            in_flight: (0..depth).map(|_| None).collect(),
            active: 0,
            refused: Vec::with_capacity(depth),
        }
    }

    /// Queues the operation in `slot` for the kernel.
    fn push(&mut self, slot: Slot) {
        let operation = self.in_flight[slot].as_ref();
        let operation = operation.expect("the operation was just put here");
        let entry = entry(operation).user_data(slot as u64);
        // SAFETY: the entry points to a list of buffers and to the buffers.
        // Both are in `in_flight`, untouched, until the completion comes;
        // `drop` sees to it.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("the ring has an entry for every slot");
    }

    /// Takes in the kernel's answer for `slot`. `None` if it was a part only
    /// and the rest was submitted.
    fn settle(&mut self, slot: Slot, outcome: i32) -> Option<Completion> {
        let mut operation = self.in_flight[slot]
            .take()
            .expect("the kernel completes what was submitted, once");
        let result = operation.settle(outcome);
        if let Ok(false) = result {
            self.in_flight[slot] = Some(operation);
            self.push(slot);
            self.start();
            return None;
        }
        self.active -= 1;
        Some(Completion {
            slot,
            data: operation.data,
            result: result.map(|_| ()),
        })
    }
}

impl Operation {
    /// Whether the kernel's answer `outcome` makes the operation whole.
    fn settle(&mut self, outcome: i32) -> io::Result<bool> {
        let Ok(moved) = usize::try_from(outcome) else {
            let error = io::Error::from_raw_os_error(-outcome);
            // Submitted again below, like a short transfer.
            return match error.kind() {
                io::ErrorKind::Interrupted => Ok(false),
                _ => Err(error),
            };
        };
        if !matches!(self.kind, OperationKind::Read | OperationKind::Write) {
            return Ok(true);
        }
        self.advance(moved);
        match (self.data.is_empty(), moved) {
            (true, _) => Ok(true),
            (false, 0) => Err(io::ErrorKind::UnexpectedEof.into()),
            (false, _) => Ok(false),
        }
    }
}

impl Disk for UringDisk {
    fn info(&self) -> DiskInfo {
        self.backing.info
    }

    fn submit(&mut self, slot: Slot, operation: Operation) {
        if let Err(error) = self.backing.info.check(&operation) {
            self.refused.push(Completion {
                slot,
                data: operation.data,
                result: Err(error),
            });
            return;
        }
        self.in_flight[slot] = Some(operation);
        self.active += 1;
        self.push(slot);
    }

    fn start(&mut self) {
        while !self.ring.submission().is_empty() {
            self.ring.completion().disable_eventfd();
            match self.ring.submit() {
                Ok(begun) if begun > 0 => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Short of memory. The entries stay in the ring; the worker
                // comes back to them.
                _ => {
                    let _ = self.ready.write(1);
                    return;
                }
            }
        }
    }

    fn next_completion(&mut self) -> Option<Completion> {
        if let Some(completion) = self.refused.pop() {
            return Some(completion);
        }
        loop {
            let next = self.ring.completion().next();
            if let Some(entry) = next {
                let slot = usize::try_from(entry.user_data()).expect("it was a slot");
                if let Some(completion) = self.settle(slot, entry.result()) {
                    return Some(completion);
                }
            } else {
                // Have the eventfd signalled again, then look again: a
                // completion may have come between the two.
                self.ring.completion().enable_eventfd();
                fence(Ordering::SeqCst);
                if self.ring.completion().is_empty() {
                    return None;
                }
            }
        }
    }

    fn ready_fd(&self) -> Option<RawFd> {
        Some(self.ready.as_raw_fd())
    }

    fn wait(&mut self, deadline: Instant) {
        self.start();
        if self.active == 0 || !self.refused.is_empty() {
            return;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        // SAFETY: the ring's descriptor is open for as long as the ring.
        let ring = unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) };
        let mut sources = [PollFd::from_borrowed_fd(ring.as_fd(), PollFlags::IN)];
        // A signal ends the wait early, which callers expect.
        let _ = rustix::event::poll(&mut sources, Some(&timespec(left)));
    }
}

impl Drop for UringDisk {
    fn drop(&mut self) {
        let deadline = Instant::now() + STOP_PATIENCE;
        while self.active > 0 && Instant::now() < deadline {
            self.wait(deadline);
            while self.next_completion().is_some() {}
        }
        if self.active > 0 {
            log::error!("{} disk operations never finished", self.active);
            // The kernel may yet write to their buffers: keep them mapped.
            self.in_flight.drain(..).for_each(std::mem::forget);
        }
        // Rings end in the background. The file, and with it its lock, is to
        // be free when this returns.
        let _ = self.ring.submitter().unregister_files();
    }
}

/// What the kernel is told to do for `operation`.
fn entry(operation: &Operation) -> Entry {
    let Operation {
        kind, offset, len, ..
    } = *operation;
    let pieces = operation.data.iovecs();
    let count = u32::try_from(pieces.len()).expect("a list has 1024 pieces at most");
    match kind {
        OperationKind::Read => opcode::Readv::new(FILE, pieces.as_ptr(), count)
            .offset(offset)
            .build(),
        OperationKind::Write => opcode::Writev::new(FILE, pieces.as_ptr(), count)
            .offset(offset)
            .build(),
        OperationKind::Flush => opcode::Fsync::new(FILE)
            .flags(types::FsyncFlags::DATASYNC)
            .build(),
        OperationKind::Discard | OperationKind::WriteZeroes { .. } => {
            let flags = fallocate_flags(kind).expect("these clear a range");
            let mode = i32::try_from(flags.bits()).expect("fallocate's flags are few");
            opcode::Fallocate::new(FILE, len)
                .offset(offset)
                .mode(mode)
                .build()
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
