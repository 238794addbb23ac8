//! What a device has in place of a disk that was taken away: every operation
//! fails, so that the guest sees errors and not a hang.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use super::capacity::Capacity;
use super::disk::{Completion, Disk, DiskInfo, Operation, Slot};

/// A disk that is gone.
pub(super) struct SeveredDisk {
    info: DiskInfo,
    capacity: Arc<Capacity>,
    done: VecDeque<Completion>,
}

impl SeveredDisk {
    /// In place of a disk with `info` and `capacity`, which failed `waiting`.
    pub(super) fn new(info: DiskInfo, capacity: Arc<Capacity>, waiting: Vec<Completion>) -> Self {
        let mut done = VecDeque::with_capacity(info.depth);
        done.extend(waiting);
        Self {
            info,
            capacity,
            done,
        }
    }
}

impl Disk for SeveredDisk {
    fn info(&self) -> DiskInfo {
        self.info
    }

    fn capacity(&self) -> Arc<Capacity> {
        Arc::clone(&self.capacity)
    }

    fn submit(&mut self, slot: Slot, operation: Operation) {
        self.done.push_back(Completion {
            slot,
            data: operation.data,
            result: Err(io::Error::from_raw_os_error(libc::ENODEV)),
        });
    }

    fn start(&mut self) {}

    fn next_completion(&mut self) -> Option<Completion> {
        self.done.pop_front()
    }

    fn wakers(&self) -> Vec<RawFd> {
        Vec::new()
    }

    fn is_at_rest(&self) -> bool {
        self.done.is_empty()
    }

    fn wait(&mut self, _: Instant) {}

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}
