//! The front of a balloon (virtio 1.3 §5.5): identity, configuration space and
//! life cycle.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use virtio_bindings::virtio_ids::VIRTIO_ID_BALLOON;

use super::config::{
    ACTUAL, F_DEFLATE_ON_OOM, F_PAGE_POISON, F_PAGE_REPORTING, F_STATS_VQ, POISON, WORDS,
};
use super::handle::BalloonHandle;
use super::page_queue::{PageQueue, Purpose};
use super::shared::{Shared, lock};
use super::statistics_queue::StatisticsQueue;
use crate::reactor::{Attached, ReactorError, ReactorHandle};
use crate::virtio::device::{
    Activation, DeviceInfo, STOP_PATIENCE, StartError, VirtioDevice, read_config_from,
};
use crate::virtio::queue::Queue;

const INFLATE: u16 = 0;
const DEFLATE: u16 = 1;
const STATISTICS: u16 = 2;
/// The specification has queue 3 for free page hinting, which is not offered,
/// and 4 for reporting. Linux numbers only queues that are used, so that
/// reporting is queue 3 there (`vm_find_vqs`, drivers/virtio/virtio_mmio.c).
/// Both are there, and it is the last one that the driver sets up.
const QUEUES: usize = 5;

/// Linux's driver reports 32 ranges at once and wants as many entries at least.
const QUEUE_SIZE: u16 = 256;

/// A memory balloon.
pub struct Balloon {
    reactor: ReactorHandle,
    shared: Arc<Shared>,
    pages: Vec<Attached<PageQueue>>,
    statistics: Option<Attached<StatisticsQueue>>,
}

impl Balloon {
    /// An empty balloon for a guest with `memory` bytes, stopped; its workers
    /// will run on `reactor`.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new(memory: u64, reactor: ReactorHandle) -> io::Result<Self> {
        Ok(Self {
            reactor,
            shared: Arc::new(Shared::new(memory)?),
            pages: Vec::new(),
            statistics: None,
        })
    }

    /// The host's side of it.
    pub fn handle(&self) -> BalloonHandle {
        BalloonHandle(Arc::clone(&self.shared))
    }

    fn attach(&mut self, queue: Queue, purpose: Purpose) -> Result<(), StartError> {
        let worker = PageQueue::new(queue, purpose, Arc::clone(&self.shared));
        self.pages.push(self.reactor.attach(worker)?);
        Ok(())
    }

    /// The queues that the driver set up, to their workers.
    fn attach_all(&mut self, mut activation: Activation) -> Result<(), StartError> {
        let inflate = activation.take_queue(INFLATE)?;
        let deflate = activation.take_queue(DEFLATE)?;
        let is_new = [&inflate, &deflate].map(|queue| queue.layout().next_available) == [0, 0];
        if is_new {
            // This driver has put nothing in yet.
            self.shared.actual.store(0, Ordering::Release);
        }
        self.attach(inflate, Purpose::Inflate)?;
        self.attach(deflate, Purpose::Deflate)?;
        if activation.has_feature(F_STATS_VQ) {
            let queue = activation.take_queue(STATISTICS)?;
            let worker = StatisticsQueue::new(queue, Arc::clone(&self.shared));
            self.statistics = Some(self.reactor.attach(worker)?);
        }
        if activation.has_feature(F_PAGE_REPORTING) {
            let purpose = if activation.has_feature(F_PAGE_POISON) {
                Purpose::ReportPoisoned
            } else {
                Purpose::Report
            };
            let queue = activation.queues.pop();
            self.attach(queue.ok_or(StartError::MissingQueue(4))?, purpose)?;
        }
        Ok(())
    }
}

impl VirtioDevice for Balloon {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            device_type: VIRTIO_ID_BALLOON,
            features: 1 << F_STATS_VQ
                | 1 << F_DEFLATE_ON_OOM
                | 1 << F_PAGE_POISON
                | 1 << F_PAGE_REPORTING,
            queue_sizes: vec![QUEUE_SIZE; QUEUES],
        }
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let shared = &self.shared;
        let words = [
            shared.target.load(Ordering::Acquire),
            shared.actual.load(Ordering::Acquire),
            0,
            shared.poison.load(Ordering::Acquire),
        ];
        let mut space = [0; 4 * WORDS];
        for (bytes, word) in space.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        read_config_from(&space, offset, data);
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        for (at, word) in [(ACTUAL, &self.shared.actual), (POISON, &self.shared.poison)] {
            let mut bytes = word.load(Ordering::Acquire).to_le_bytes();
            for (byte, place) in bytes.iter_mut().zip(4 * at as u64..) {
                let from = place.checked_sub(offset);
                let from = from.and_then(|from| usize::try_from(from).ok());
                if let Some(value) = from.and_then(|from| data.get(from)) {
                    *byte = *value;
                }
            }
            word.store(u32::from_le_bytes(bytes), Ordering::Release);
        }
    }

    fn start(&mut self, activation: Activation) -> Result<(), StartError> {
        let interrupt = activation.interrupt.clone();
        if let Err(error) = self.attach_all(activation) {
            let _ = self.stop();
            return Err(error);
        }
        let shared = &self.shared;
        *lock(&shared.interrupt) = Some(interrupt.clone());
        // The target may have been set while nobody could be told.
        if shared.target.load(Ordering::Acquire) != shared.actual.load(Ordering::Acquire) {
            interrupt.config_changed();
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<Vec<Queue>, ReactorError> {
        *lock(&self.shared.interrupt) = None;
        let mut queues = Vec::new();
        let mut outcome = Ok(());
        for worker in self.pages.drain(..) {
            match worker.detach(STOP_PATIENCE) {
                Ok(worker) => queues.push(worker.into_queue()),
                Err(error) => outcome = Err(error),
            }
        }
        if let Some(worker) = self.statistics.take() {
            queues.push(worker.detach(STOP_PATIENCE)?.into_queue());
        }
        outcome.map(|()| queues)
    }
}
