#![allow(unsafe_code)] // Submissions carry pointers into guest memory.
//! A disk engine on io_uring.
//!
//! System calls: one `io_uring_enter` for all operations of a batch. What the
//! page cache completes at once is found in the ring right after it, and the
//! eventfd stays silent while the worker is looking. Completions that come
//! later signal the eventfd, which the reactor watches edge-triggered: it is
//! never read.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types};
use rustix::event::{PollFd, PollFlags, Timespec};
use vmm_sys_util::eventfd::EventFd;

use super::backing::{Backing, fallocate_flags};
use super::capacity::Capacity;
use super::disk::{Completion, Disk, DiskInfo, Operation, OperationKind, Slot};
use super::ring::{DEPTH, FILE, Ring};
use crate::virtio::device::STOP_PATIENCE;

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
    pub(super) fn new(backing: Backing, ring: Ring) -> Self {
        let depth = usize::from(DEPTH);
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
        self.backing.info(self.in_flight.len())
    }

    fn capacity(&self) -> Arc<Capacity> {
        Arc::clone(self.backing.capacity())
    }

    fn submit(&mut self, slot: Slot, operation: Operation) {
        if let Err(error) = self.info().check(&operation) {
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

    fn wakers(&self) -> Vec<RawFd> {
        vec![self.ready.as_raw_fd()]
    }

    fn is_at_rest(&self) -> bool {
        self.active == 0 && self.refused.is_empty()
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

    fn sync(&mut self) -> io::Result<()> {
        self.backing.sync()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::lock::{Access, lock};
    use crate::memory::Ram;
    use crate::virtio::buffers::Buffers;
    use std::fs::File;
    use vm_memory::{GuestAddress, GuestMemoryMmap};

    fn ring_on(file: File) -> (Backing, Ring) {
        file.set_len(1 << 20).unwrap();
        let backing = Backing::new(file, false, false).unwrap();
        let ring = Ring::new(&backing).expect("this host has io_uring");
        (backing, ring)
    }

    fn operation(kind: OperationKind, len: u32) -> Operation {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let mut data = Buffers::new(Ram::new(memory));
        data.append(0, len).unwrap();
        Operation {
            kind,
            offset: 0,
            len: u64::from(len),
            data,
        }
    }

    #[test]
    fn a_dropped_disk_has_finished_and_let_go_of_its_file() {
        let path = tempfile::NamedTempFile::new().unwrap();
        for _ in 0..10 {
            let file = path.reopen().unwrap();
            lock(&file, Access::Exclusive).expect("the last disk is gone");
            let (backing, ring) = ring_on(file);
            let mut disk = UringDisk::new(backing, ring);
            for slot in 0..usize::from(DEPTH) {
                disk.submit(slot, operation(OperationKind::Write, 1 << 16));
            }
            disk.start();
            drop(disk);
        }
    }

    #[test]
    fn an_operation_out_of_range_is_refused_without_the_kernel() {
        let (backing, ring) = ring_on(tempfile::tempfile().unwrap());
        let mut disk = UringDisk::new(backing, ring);
        let mut beyond = operation(OperationKind::Write, 512);
        beyond.offset = 1 << 20;
        disk.submit(3, beyond);
        let refused = disk.next_completion().unwrap();
        assert_eq!(refused.slot, 3);
        assert!(refused.result.is_err());
        assert_eq!(disk.active, 0);
    }

    #[test]
    fn waiting_ends_with_a_completion() {
        let (backing, ring) = ring_on(tempfile::tempfile().unwrap());
        let mut disk = UringDisk::new(backing, ring);
        disk.submit(9, operation(OperationKind::Flush, 0));
        disk.start();
        let deadline = Instant::now() + Duration::from_secs(30);
        let done = loop {
            if let Some(done) = disk.next_completion() {
                break done;
            }
            assert!(Instant::now() < deadline);
            disk.wait(deadline);
        };
        assert_eq!(done.slot, 9);
        done.result.unwrap();
    }
}
