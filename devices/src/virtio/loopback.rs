//! Two devices to test the virtio core with: [`Loopback`] answers requests
//! with what they carry, on a reactor; [`Shelf`] puts its queues where a test
//! can work them by hand, without a thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::chain::Chain;
use super::device::{
    Activation, DeviceInfo, STOP_PATIENCE, StartError, VirtioDevice, read_config_from,
};
use super::fake_driver::FakeDriver;
use super::interrupt::DeviceInterrupt;
use super::queue::{Queue, QueueFault};
use crate::reactor::{Attached, ReactorError, ReactorHandle, Readiness, Source, Token, Worker};

/// A device type that no specification assigns.
pub(super) const DEVICE_TYPE: u32 = 0x7e57;
/// A feature that both devices offer.
pub(super) const FEATURE: u32 = 3;
/// The largest size of their two queues.
pub(super) const QUEUE_SIZE: u16 = 16;

fn info() -> DeviceInfo {
    DeviceInfo {
        device_type: DEVICE_TYPE,
        features: 1 << FEATURE,
        queue_sizes: vec![QUEUE_SIZE, QUEUE_SIZE],
    }
}

/// Copies what is readable to what is writable, as far as either reaches.
/// Returns the bytes written.
pub(super) fn echo(chain: &mut Chain) -> u32 {
    let len = chain.readable.len().min(chain.writable.len());
    // A hostile driver's buffers can be as large as its memory.
    let len = u32::try_from(len).unwrap().min(1 << 16);
    let mut data = vec![0; usize::try_from(len).unwrap()];
    chain.readable.read(&mut data).unwrap();
    chain.writable.write(&data).unwrap();
    len
}

/// What a test shares with a [`Loopback`].
#[derive(Clone, Default)]
pub(super) struct Controls {
    /// While set, requests are taken but not answered.
    pub(super) hold: Arc<AtomicBool>,
    /// How often the worker was woken.
    pub(super) wakes: Arc<AtomicU64>,
    /// How many requests are taken and not answered.
    pub(super) held: Arc<AtomicU64>,
    /// How many times the worker finished or abandoned what it held.
    pub(super) drains: Arc<AtomicU64>,
    /// Configuration space.
    pub(super) config: Arc<Mutex<Vec<u8>>>,
    /// The way to the driver, while the device runs.
    pub(super) interrupt: Arc<Mutex<Option<DeviceInterrupt>>>,
}

/// A device that answers each request with what it carries.
pub(super) struct Loopback {
    reactor: ReactorHandle,
    controls: Controls,
    workers: Vec<Attached<Echo>>,
}

impl Loopback {
    pub(super) fn new(reactor: ReactorHandle, controls: Controls) -> Self {
        Self {
            reactor,
            controls,
            workers: Vec::new(),
        }
    }
}

impl VirtioDevice for Loopback {
    fn info(&self) -> DeviceInfo {
        info()
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_from(&self.controls.config.lock().unwrap(), offset, data);
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        let mut config = self.controls.config.lock().unwrap();
        for (byte, at) in data.iter().zip(offset..) {
            if let Some(target) = usize::try_from(at).ok().and_then(|at| config.get_mut(at)) {
                *target = *byte;
            }
        }
    }

    fn start(&mut self, activation: Activation) -> Result<(), StartError> {
        *self.controls.interrupt.lock().unwrap() = Some(activation.interrupt);
        for queue in activation.queues {
            let worker = Echo {
                chain: Chain::new(queue.ram()),
                queue,
                held: Vec::new(),
                controls: self.controls.clone(),
            };
            self.workers.push(self.reactor.attach(worker)?);
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<Vec<Queue>, ReactorError> {
        *self.controls.interrupt.lock().unwrap() = None;
        let workers = self.workers.drain(..);
        workers
            .map(|worker| worker.detach(STOP_PATIENCE).map(|echo| echo.queue))
            .collect()
    }
}

/// The worker of one queue.
struct Echo {
    queue: Queue,
    chain: Chain,
    held: Vec<u16>,
    controls: Controls,
}

impl Echo {
    fn serve(&mut self) -> Result<(), QueueFault> {
        for _ in 0..self.queue.size() {
            self.queue.disable_notification()?;
            if self.queue.pop(&mut self.chain)? {
                self.answer()?;
                continue;
            }
            self.queue.notify()?;
            if !self.queue.enable_notification()? {
                return Ok(());
            }
        }
        self.queue.kick_again();
        self.queue.notify()
    }

    fn answer(&mut self) -> Result<(), QueueFault> {
        if self.controls.hold.load(Ordering::Acquire) {
            self.held.push(self.chain.head());
            self.controls.held.fetch_add(1, Ordering::AcqRel);
            return Ok(());
        }
        let written = echo(&mut self.chain);
        self.queue.push(self.chain.head(), written)
    }
}

impl Worker for Echo {
    fn sources(&self) -> Vec<Source> {
        vec![Source {
            fd: self.queue.kick_fd(),
            readiness: Readiness::Readable,
            token: 0,
        }]
    }

    fn ready(&mut self, _: Token) {
        self.controls.wakes.fetch_add(1, Ordering::AcqRel);
        if let Err(fault) = self.serve() {
            self.queue.needs_reset(fault);
        }
    }

    /// Leaves the interrupt to the transport.
    fn drain(&mut self, _: Instant) -> bool {
        for head in self.held.drain(..) {
            self.controls.held.fetch_sub(1, Ordering::AcqRel);
            self.queue.push(head, 0).unwrap();
        }
        self.controls.drains.fetch_add(1, Ordering::AcqRel);
        true
    }
}

/// The queues of a running [`Shelf`].
pub(super) type Queues = Arc<Mutex<Vec<Queue>>>;

/// A device that leaves its queues to the test.
pub(super) struct Shelf(pub(super) Queues);

impl VirtioDevice for Shelf {
    fn info(&self) -> DeviceInfo {
        info()
    }

    fn read_config(&self, _: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_config(&mut self, _: u64, _: &[u8]) {}

    fn start(&mut self, activation: Activation) -> Result<(), StartError> {
        if activation.queues.is_empty() {
            return Err(StartError::MissingQueue(0));
        }
        *self.0.lock().unwrap() = activation.queues;
        Ok(())
    }

    fn stop(&mut self) -> Result<Vec<Queue>, ReactorError> {
        Ok(std::mem::take(&mut *self.0.lock().unwrap()))
    }
}

/// A driver that has set up a [`Shelf`] with the features of the transport
/// `features`, and the shelf's first queue.
pub(crate) fn shelved(features: u64) -> (FakeDriver, Queue) {
    let queues = Queues::default();
    let driver = FakeDriver::started(Shelf(Arc::clone(&queues)), features);
    let queue = queues.lock().unwrap().remove(0);
    (driver, queue)
}
