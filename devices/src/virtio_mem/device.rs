//! The front of memory that grows (virtio 1.3 §5.15): identity, configuration
//! space and life cycle. The blocks move to the worker while it runs.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use virtio_bindings::virtio_ids::VIRTIO_ID_MEM;

use super::blocks::{BLOCK, Blocks};
use super::handle::MemHandle;
use super::shared::Shared;
use super::worker::MemWorker;
use crate::reactor::{Attached, ReactorError, ReactorHandle};
use crate::virtio::device::{
    Activation, DeviceInfo, STOP_PATIENCE, StartError, VirtioDevice, read_config_from,
};
use crate::virtio::queue::Queue;

const QUEUE_SIZE: u16 = 256;

/// Memory that grows.
pub struct Mem {
    reactor: ReactorHandle,
    shared: Arc<Shared>,
    state: State,
}

/// Where the blocks are.
enum State {
    Stopped(Blocks),
    Running(Attached<MemWorker>),
    /// With a worker that did not come back.
    Lost,
}

/// A region that is not whole blocks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:#x?} is no region of whole blocks of {BLOCK} bytes")]
pub struct RegionError(Range<u64>);

impl Mem {
    /// A device for the guest memory `region`, of which nothing is plugged;
    /// its worker will run on `reactor`.
    ///
    /// # Errors
    /// The region is not blocks of 2 MiB.
    pub fn new(region: Range<u64>, reactor: ReactorHandle) -> Result<Self, RegionError> {
        let whole = region.start.is_multiple_of(BLOCK) && region.end.is_multiple_of(BLOCK);
        if !whole || region.start >= region.end {
            return Err(RegionError(region));
        }
        Ok(Self {
            reactor,
            shared: Arc::new(Shared::new(region.clone())),
            state: State::Stopped(Blocks::new(region)),
        })
    }

    /// The host's side of it.
    pub fn handle(&self) -> MemHandle {
        MemHandle(Arc::clone(&self.shared))
    }
}

impl VirtioDevice for Mem {
    /// Unplugged memory can be read as well as any: no feature says otherwise.
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            device_type: VIRTIO_ID_MEM,
            features: 0,
            queue_sizes: vec![QUEUE_SIZE],
        }
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let shared = &self.shared;
        let size = shared.region.end - shared.region.start;
        // §5.15.4; all of the region is usable at any time.
        let words = [
            BLOCK,
            0, // node_id and padding
            shared.region.start,
            size,
            size,
            shared.plugged.load(Ordering::Acquire),
            shared.requested.load(Ordering::Acquire),
        ];
        let mut space = [0; 8 * 7];
        for (bytes, word) in space.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = u64::to_le_bytes(word);
        }
        read_config_from(&space, offset, data);
    }

    /// All of it is read-only.
    fn write_config(&mut self, _: u64, _: &[u8]) {}

    fn start(&mut self, mut activation: Activation) -> Result<(), StartError> {
        let queue = activation.take_queue(0)?;
        let blocks = match std::mem::replace(&mut self.state, State::Lost) {
            State::Stopped(blocks) => blocks,
            other => {
                self.state = other;
                return Err(io::Error::other("the blocks are with a worker that is lost").into());
            }
        };
        let worker = MemWorker::new(queue, blocks, Arc::clone(&self.shared));
        match self.reactor.attach(worker) {
            Ok(worker) => self.state = State::Running(worker),
            Err(refused) => {
                self.state = State::Stopped(refused.worker.into_parts().1);
                return Err(refused.reason.into());
            }
        }
        let shared = &self.shared;
        *shared.interrupt() = Some(activation.interrupt.clone());
        // It may have been asked for while nobody could be told.
        if shared.requested.load(Ordering::Acquire) != shared.plugged.load(Ordering::Acquire) {
            activation.interrupt.config_changed();
        }
        Ok(())
    }

    /// The blocks that were plugged went with the memory that they were in. What
    /// is wanted stays, so that the next driver plugs as many.
    fn system_reset(&mut self) {
        if let State::Stopped(blocks) = &mut self.state {
            let unplugged = self.shared.plugged.swap(0, Ordering::AcqRel);
            self.shared.counters.unplugged_bytes.add(unplugged);
            blocks.clear();
        }
    }

    /// A stop changes no block.
    fn stop(&mut self) -> Result<Vec<Queue>, ReactorError> {
        *self.shared.interrupt() = None;
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Running(worker) => {
                let (queue, blocks) = worker.detach(STOP_PATIENCE)?.into_parts();
                self.state = State::Stopped(blocks);
                Ok(vec![queue])
            }
            other => {
                self.state = other;
                Ok(Vec::new())
            }
        }
    }
}
