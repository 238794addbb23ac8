//! The front of a block device (virtio 1.3 §5.2): identity, configuration
//! space and life cycle. The work is done by its
//! worker, to which the disk moves while it runs.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH,
    VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_SIZE_MAX, VIRTIO_BLK_F_TOPOLOGY,
    VIRTIO_BLK_F_WRITE_ZEROES,
};
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;

use super::config::{Space, WRITEBACK, config_space, put_capacity};
use super::counters::Counters;
use super::disk::{Disk, DiskInfo};
use super::handle::BlockHandle;
use super::id::DiskId;
use super::limited_disk::LimitedDisk;
use super::severed_disk::SeveredDisk;
use super::worker::BlockWorker;
use crate::clock::{AlarmClock, Timer};
use crate::reactor::{Attached, ReactorError, ReactorHandle};
use crate::virtio::device::{
    Activation, DeviceInfo, STOP_PATIENCE, StartError, VirtioDevice, read_config_from,
};
use crate::virtio::last_act::LastAct;
use crate::virtio::queue::Queue;

const QUEUE_SIZE: u16 = 256;

/// A virtio block device.
pub struct Block {
    info: DiskInfo,
    /// What the driver reads, but for the disk's size.
    config: Space,
    reactor: ReactorHandle,
    handle: BlockHandle,
    /// Shared with the worker, which looks at it for each write.
    writethrough: Arc<AtomicBool>,
    state: State,
    /// Hung up on when the disk's file is closed.
    departed: Receiver<Infallible>,
}

/// Where the disk is.
enum State {
    Stopped(Box<dyn Disk>),
    Running(Attached<BlockWorker>),
    /// With a worker that did not come back.
    Lost,
}

impl Block {
    /// A device for `disk`, whose worker will run on `reactor`.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new(disk: Box<dyn Disk>, id: DiskId, reactor: ReactorHandle) -> io::Result<Self> {
        Self::with_clock(disk, id, reactor, Timer::new()?)
    }

    /// The same, with limits that go by `clock`.
    pub(super) fn with_clock(
        disk: Box<dyn Disk>,
        id: DiskId,
        reactor: ReactorHandle,
        clock: impl AlarmClock + 'static,
    ) -> io::Result<Self> {
        let info = disk.info();
        let handle = BlockHandle::new(id, disk.capacity());
        let (presence, departed) = channel();
        let disk = LimitedDisk::new(disk, handle.limiter().gate(clock)?, presence);
        Ok(Self {
            info,
            config: config_space(&info),
            reactor,
            handle,
            writethrough: Arc::default(),
            state: State::Stopped(Box::new(disk)),
            departed,
        })
    }

    /// What the device has done so far.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(self.handle.counters())
    }

    /// To watch and change the device while it runs.
    pub fn handle(&self) -> BlockHandle {
        self.handle.clone()
    }

    /// Settles the cache mode for what the driver negotiated (§5.2.5.2,
    /// §5.2.6.2): one that does not know of flushes gets writethrough, and
    /// one that cannot choose the mode gets what its flushes are for.
    fn settle_cache_mode(&mut self, activation: &Activation) {
        if !activation.has_feature(VIRTIO_BLK_F_FLUSH) {
            self.config[WRITEBACK] = 0;
        } else if !activation.has_feature(VIRTIO_BLK_F_CONFIG_WCE) {
            self.config[WRITEBACK] = 1;
        }
        self.publish_cache_mode();
    }

    fn publish_cache_mode(&self) {
        let writethrough = self.config[WRITEBACK] == 0;
        self.writethrough.store(writethrough, Ordering::Release);
    }
}

impl VirtioDevice for Block {
    fn info(&self) -> DeviceInfo {
        let mut features = 1 << VIRTIO_BLK_F_SIZE_MAX
            | 1 << VIRTIO_BLK_F_SEG_MAX
            | 1 << VIRTIO_BLK_F_BLK_SIZE
            | 1 << VIRTIO_BLK_F_FLUSH
            | 1 << VIRTIO_BLK_F_TOPOLOGY
            | 1 << VIRTIO_BLK_F_CONFIG_WCE;
        if self.info.read_only {
            features |= 1 << VIRTIO_BLK_F_RO;
        }
        if self.info.can_discard {
            features |= 1 << VIRTIO_BLK_F_DISCARD | 1 << VIRTIO_BLK_F_WRITE_ZEROES;
        }
        DeviceInfo {
            device_type: VIRTIO_ID_BLOCK,
            features,
            queue_sizes: vec![QUEUE_SIZE],
        }
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let mut config = self.config;
        put_capacity(&mut config, self.handle.capacity());
        read_config_from(&config, offset, data);
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        // Only one byte is writable; of an access that spans it, it alone.
        let at = (WRITEBACK as u64).checked_sub(offset);
        let at = at.and_then(|at| usize::try_from(at).ok());
        if let Some(value) = at.and_then(|at| data.get(at)) {
            self.config[WRITEBACK] = u8::from(*value != 0);
            self.publish_cache_mode();
        }
    }

    fn start(&mut self, mut activation: Activation) -> Result<(), StartError> {
        let queue = activation.take_queue(0)?;
        self.settle_cache_mode(&activation);
        let disk = match std::mem::replace(&mut self.state, State::Lost) {
            State::Stopped(disk) => disk,
            other => {
                self.state = other;
                return Err(io::Error::other("the disk is with a worker that is stuck").into());
            }
        };
        let worker = BlockWorker::new(
            queue,
            disk,
            self.handle.id(),
            Arc::clone(&self.writethrough),
            self.counters(),
        );
        match self.reactor.attach(worker) {
            Ok(attached) => {
                self.state = State::Running(attached);
                self.handle.driver_came(activation.interrupt);
                Ok(())
            }
            Err(refused) => {
                let (_, disk) = refused.worker.into_parts();
                self.state = State::Stopped(disk);
                Err(refused.reason.into())
            }
        }
    }

    fn sever(&mut self) -> LastAct {
        let handle = self.handle.clone();
        let capacity = Arc::clone(handle.shared_capacity());
        let severed = State::Stopped(Box::new(SeveredDisk::new(self.info, capacity)));
        match std::mem::replace(&mut self.state, severed) {
            State::Stopped(mut disk) => LastAct::new(move || {
                let synced = disk.sync();
                drop(disk);
                handle.wait_for_resize();
                synced
            }),
            // Whoever has the disk may still write to it, and then closes it.
            other => {
                self.state = other;
                let departed = std::mem::replace(&mut self.departed, channel().1);
                LastAct::new(move || {
                    let _ = departed.recv();
                    handle.wait_for_resize();
                    Ok(())
                })
            }
        }
    }

    fn stop(&mut self) -> Result<Vec<Queue>, ReactorError> {
        self.handle.driver_left();
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Running(worker) => {
                let (queue, disk) = worker.detach(STOP_PATIENCE)?.into_parts();
                self.state = State::Stopped(disk);
                Ok(vec![queue])
            }
            other => {
                self.state = other;
                Ok(Vec::new())
            }
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            log::error!("disk {}: {error}", self.handle.id());
        }
        self.state = State::Lost;
        self.handle.wait_for_resize();
    }
}
