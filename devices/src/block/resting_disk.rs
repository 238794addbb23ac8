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
        let deadline = Instant::now() + STOP_PATIENCE;
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

    /// The driver is gone: nothing is to be answered.
    pub(super) fn forget_waiting(&mut self) {
        self.finish_waiting();
        self.waiting = None;
    }
}
