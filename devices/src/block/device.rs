//! The front of a block device (virtio 1.3 §5.2): identity, configuration
//! space and life cycle. The work is done by its workers, one for each queue,
//! to which the disk moves while it runs.
//!
//! Queues share what is the disk's: its file, size, cache mode, counters and
//! limits. A driver may set up fewer queues than there are, as Linux does where
//! it has fewer CPUs; the first it must. It chooses the queue of a request, and
//! nothing holds between requests of two queues but what holds between two of
//! one: a flush makes durable what was answered before it (§5.2.6.2).

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH,
    VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_SIZE_MAX,
    VIRTIO_BLK_F_TOPOLOGY, VIRTIO_BLK_F_WRITE_ZEROES,
};
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;
use volume::freeze::{FreezeError, Unsaved};

use super::config::{Space, WRITEBACK, config_space, put_capacity};
use super::counters::Counters;
use super::disk::{Disk, DiskInfo};
use super::handle::BlockHandle;
use super::id::DiskId;
use super::limited_disk::LimitedDisk;
use super::mapped_disk::FreezeFiles;
use super::open::Disks;
use super::resting_disk::RestingDisk;
use super::severed_disk::SeveredDisk;
use super::waiting_disk::WaitingDisk;
use super::waits::{OnError, Waits};
use super::worker::BlockWorker;
use crate::clock::{AlarmClock, Timer};
use crate::rate_limit::Limiter;
use crate::reactor::{ReactorError, ReactorHandle};
use crate::thread;
use crate::virtio::crew::Crew;
use crate::virtio::device::{Activation, DeviceInfo, StartError, VirtioDevice, read_config_from};
use crate::virtio::last_act::LastAct;
use crate::virtio::queue::Queue;

const QUEUE_SIZE: u16 = 256;

/// A virtio block device.
pub struct Block {
    info: DiskInfo,
    /// What the driver reads, but for the disk's size.
    config: Space,
    queues: u16,
    reactors: Vec<ReactorHandle>,
    handle: BlockHandle,
    /// Shared with the workers, which look at it for each write.
    writethrough: Arc<AtomicBool>,
    /// Locked by whoever starts or stops the device, and by the handle while
    /// it is at rest: never while it works.
    state: Arc<Mutex<State>>,
    /// Hung up on when the disk's file is closed.
    departed: Receiver<Infallible>,
}

/// Where the disk is.
pub(super) enum State {
    Stopped(Vec<RestingDisk>),
    Running {
        crew: Crew<BlockWorker>,
        /// For queues that the driver did not set up.
        spare: Vec<RestingDisk>,
    },
    /// With a worker that did not come back.
    Lost,
}

impl State {
    /// As [`BlockHandle::freeze`].
    pub(super) fn freeze(&mut self, files: FreezeFiles) -> Result<Unsaved, FreezeError> {
        match self {
            // A volume has one queue.
            Self::Stopped(disks) if disks.len() == 1 => disks[0].disk.freeze(files),
            _ => Err(FreezeError::NotAVolume),
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Block {
    /// A device for the disk that is in `disks` once for each queue, which does
    /// as `on_error` says when the host fails. The workers will run on
    /// `reactors`, in turn.
    ///
    /// # Errors
    /// There is no disk, or the process has no descriptor left.
    pub fn new(
        disks: Disks,
        id: DiskId,
        on_error: OnError,
        reactors: Vec<ReactorHandle>,
    ) -> io::Result<Self> {
        Self::with_clocks(disks, id, on_error, reactors, Timer::new)
    }

    /// The same, with limits that go by clocks from `make_clock`.
    pub(super) fn with_clocks<C: AlarmClock + 'static>(
        disks: Disks,
        id: DiskId,
        on_error: OnError,
        reactors: Vec<ReactorHandle>,
        make_clock: impl Fn() -> io::Result<C>,
    ) -> io::Result<Self> {
        let first = disks.first().ok_or(io::ErrorKind::InvalidInput)?;
        let info = first.info();
        let queues = u16::try_from(disks.len()).map_err(io::Error::other)?;
        let capacity = first.capacity();
        let (presence, departed) = channel();
        let limiter = Arc::new(Limiter::default());
        let waits = Arc::<Waits>::default();
        let limited = disks.into_iter().map(|mut disk| {
            if on_error == OnError::Wait {
                disk = Box::new(WaitingDisk::new(disk, make_clock()?, Arc::clone(&waits)));
            }
            let gate = limiter.gate(make_clock()?)?;
            let limited = LimitedDisk::new(disk, gate, presence.clone());
            Ok(RestingDisk::from(Box::new(limited) as Box<dyn Disk>))
        });
        let state = State::Stopped(limited.collect::<io::Result<_>>()?);
        let state = Arc::new(Mutex::new(state));
        let handle = BlockHandle::new(id, capacity, limiter, waits, Arc::downgrade(&state));
        Ok(Self {
            info,
            config: config_space(&info, queues),
            queues,
            reactors,
            handle,
            writethrough: Arc::default(),
            state,
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

    fn worker(&self, queue: Queue, disk: RestingDisk) -> BlockWorker {
        let writethrough = Arc::clone(&self.writethrough);
        BlockWorker::new(queue, disk, self.handle.id(), writethrough, self.counters())
    }

    /// What the state was; it is `Lost` now.
    fn take(&self) -> State {
        std::mem::replace(&mut *lock(&self.state), State::Lost)
    }

    fn put(&self, state: State) {
        *lock(&self.state) = state;
    }

    /// Is stopped, with what the workers had and the `spare` disks. Gives the
    /// queues.
    fn take_back(&mut self, workers: Vec<BlockWorker>, spare: Vec<RestingDisk>) -> Vec<Queue> {
        let parts = workers.into_iter().map(BlockWorker::into_parts);
        let (queues, mut disks): (Vec<Queue>, Vec<RestingDisk>) = parts.unzip();
        disks.extend(spare);
        self.put(State::Stopped(disks));
        queues
    }

    /// What takes the place of a disk that is taken away: what waited for that
    /// has failed.
    fn severed(&self, disk: &mut RestingDisk) -> RestingDisk {
        let failed = disk.finish_waiting();
        let capacity = Arc::clone(self.handle.shared_capacity());
        let severed = SeveredDisk::new(self.info, capacity, failed);
        RestingDisk {
            disk: Box::new(severed),
            waiting: disk.waiting.take(),
        }
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
        if self.queues > 1 {
            features |= 1 << VIRTIO_BLK_F_MQ;
        }
        if self.info.can_discard {
            features |= 1 << VIRTIO_BLK_F_DISCARD | 1 << VIRTIO_BLK_F_WRITE_ZEROES;
        }
        DeviceInfo {
            device_type: VIRTIO_ID_BLOCK,
            features,
            queue_sizes: vec![QUEUE_SIZE; usize::from(self.queues)],
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
        let queues = std::mem::take(&mut activation.queues);
        if !queues.iter().any(|queue| queue.index() == 0) {
            return Err(StartError::MissingQueue(0));
        }
        self.settle_cache_mode(&activation);
        let mut disks = match self.take() {
            State::Stopped(disks) => disks,
            other => {
                self.put(other);
                return Err(io::Error::other("the disk is with a worker that is stuck").into());
            }
        };
        let spare = disks.split_off(queues.len().min(disks.len()));
        let pairs = queues.into_iter().zip(disks);
        let workers = pairs
            .map(|(queue, disk)| self.worker(queue, disk))
            .collect();
        match Crew::attach(&self.reactors, workers) {
            Ok(crew) => {
                self.put(State::Running { crew, spare });
                self.handle.driver_came(activation.interrupt);
                Ok(())
            }
            Err(refused) => {
                if let Some(workers) = refused.workers {
                    self.take_back(workers, spare);
                }
                Err(refused.reason.into())
            }
        }
    }

    fn sever(&mut self) -> LastAct {
        let handle = self.handle.clone();
        match self.take() {
            State::Stopped(mut disks) => {
                let severed = disks.iter_mut().map(|disk| self.severed(disk));
                self.put(State::Stopped(severed.collect()));
                LastAct::new(move || {
                    // All are the same file.
                    let first = disks.first_mut();
                    let synced = first.map_or(Ok(()), |resting| resting.disk.sync());
                    drop(disks);
                    handle.wait_for_resize();
                    synced
                })
            }
            // Whoever has the disk may still write to it, and then closes it.
            other => {
                self.put(other);
                let departed = std::mem::replace(&mut self.departed, channel().1);
                LastAct::new(move || {
                    let _ = departed.recv();
                    handle.wait_for_resize();
                    Ok(())
                })
            }
        }
    }

    fn reset(&mut self) {
        let mut state = lock(&self.state);
        let State::Stopped(disks) = &mut *state else {
            return;
        };
        let outcomes = disks.iter_mut().map(RestingDisk::forget_waiting);
        if outcomes.filter(|forgotten| !forgotten).count() > 0 {
            let disks = std::mem::replace(&mut *state, State::Lost);
            // As one with a worker that is stuck. That it is closed takes time, too.
            let closed = thread::builder("disk-end").spawn(move || drop(disks));
            if let Err(error) = closed {
                log::error!("disk {}: it cannot be closed: {error}", self.handle.id());
            }
        }
    }

    fn stop(&mut self) -> Result<Vec<Queue>, ReactorError> {
        self.handle.driver_left();
        match self.take() {
            State::Running { crew, spare } => Ok(self.take_back(crew.detach()?, spare)),
            other => {
                self.put(other);
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
        drop(self.take());
        self.handle.wait_for_resize();
    }
}
