//! A disk between two workers: nothing is in flight, but requests may wait for
//! something that can take long, such as a store or a host that is full. They go
//! on waiting, unless their driver or the disk goes meanwhile.

use std::time::{Duration, Instant};

use super::disk::{Completion, Disk};
use super::slots::Slots;
use crate::virtio::device::STOP_PATIENCE;

/// How long to wait for the disk at a time: as long as nothing is waited for that
/// can take longer.
const MOMENT: Duration = Duration::from_millis(100);

/// A disk without a worker.
pub(super) struct RestingDisk {
    pub(super) disk: Box<dyn Disk>,
    /// The requests that wait, if any do.
    pub(super) waiting: Option<Slots>,
}

impl From<Box<dyn Disk>> for RestingDisk {
    fn from(disk: Box<dyn Disk>) -> Self {
        let waiting = None;
        Self { disk, waiting }
    }
}

impl RestingDisk {
    /// Has the disk fail what waits, or do it after all, and gives the outcomes.
    pub(super) fn finish_waiting(&mut self) -> Vec<Completion> {
        self.finish_within(STOP_PATIENCE)
    }

    fn finish_within(&mut self, patience: Duration) -> Vec<Completion> {
        let deadline = Instant::now() + patience;
        let count = self.waiting.as_ref().map_or(0, Slots::occupied);
        let mut done = Vec::with_capacity(count);
        loop {
            self.disk.start();
            while let Some(completion) = self.disk.next_completion() {
                done.push(completion);
            }
            if done.len() >= count {
                return done;
            }
            if Instant::now() >= deadline {
                log::error!("{} disk operations never finished", count - done.len());
                return done;
            }
            self.disk.wait(Instant::now() + MOMENT);
        }
    }

    /// The driver is gone: nothing is to be answered. Returns whether nothing is
    /// in flight any more; else the disk is not to be used again, since its slots
    /// and their driver's memory are.
    pub(super) fn forget_waiting(&mut self) -> bool {
        self.forget_within(STOP_PATIENCE)
    }

    fn forget_within(&mut self, patience: Duration) -> bool {
        let done = self.finish_within(patience).len();
        if self
            .waiting
            .as_ref()
            .is_some_and(|slots| done < slots.occupied())
        {
            return false;
        }
        self.waiting = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::disk::Operation;
    use crate::block::tests::held_disk::held_disk;
    use crate::memory::Ram;
    use crate::virtio::buffers::Buffers;
    use vm_memory::GuestMemoryMmap;

    #[test]
    fn a_disk_that_does_not_finish_is_not_used_again() {
        let ram = Ram::new(GuestMemoryMmap::new());
        let (disks, control) = held_disk(1);
        let mut disk = disks.into_iter().next().unwrap();
        let mut slots = Slots::new(1, &ram);
        slots.occupy();
        disk.submit(0, Operation::flush(Buffers::new(ram)));
        let waiting = Some(slots);
        let mut resting = RestingDisk { disk, waiting };
        let moment = Duration::from_millis(1);
        assert!(!resting.forget_within(moment));
        assert!(resting.waiting.is_some(), "the slot is in use");
        control.finish(&[0], || Ok(()));
        assert!(resting.forget_within(moment));
        assert!(resting.waiting.is_none());
    }
}
