//! The virtio entropy device (virtio 1.3 §5.4): fills buffers with random
//! bytes from the host's kernel.
//!
//! A request gets at most [`MAX_REQUEST`] bytes, and a wake serves a few
//! requests, so that a greedy guest takes no more than its turn from others
//! on the reactor. One `getrandom` and nothing else is called for a request.

use std::sync::Arc;

use rustix::rand::{GetRandomFlags, getrandom};
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;

use crate::counter::Counter;
use crate::reactor::{Attached, ReactorError, ReactorHandle, Source, Token, Worker};
use crate::virtio::buffers::Buffers;
use crate::virtio::chain::Chain;
use crate::virtio::device::{Activation, DeviceInfo, STOP_PATIENCE, StartError, VirtioDevice};
use crate::virtio::queue::{Queue, QueueFault};
use crate::virtio::turn::{Turn, guarded};

/// The most bytes that one request gets. The device may give fewer than asked
/// for (§5.4.6.2).
pub const MAX_REQUEST: usize = 4096;

/// Requests in one go. Then others on the reactor get their turn.
const BATCH: u32 = 16;

const QUEUE_SIZE: u16 = 256;

/// What an entropy device has done.
#[derive(Debug, Default)]
pub struct RngCounters {
    requests: Counter,
    bytes: Counter,
    unfilled: Counter,
}

impl RngCounters {
    /// Requests that got random bytes.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Random bytes given.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Requests that got nothing: malformed, without a buffer to write to, or
    /// before the host's kernel had gathered entropy.
    pub fn unfilled(&self) -> u64 {
        self.unfilled.get()
    }

    fn count(&self, bytes: u32) {
        let counter = if bytes > 0 {
            &self.requests
        } else {
            &self.unfilled
        };
        counter.increment();
        self.bytes.add(u64::from(bytes));
    }
}

/// An entropy device.
pub struct Rng {
    reactor: ReactorHandle,
    running: Option<Attached<RngWorker>>,
    counters: Arc<RngCounters>,
}

impl Rng {
    /// A stopped device, whose worker will run on `reactor`.
    pub fn new(reactor: ReactorHandle) -> Self {
        Self {
            reactor,
            running: None,
            counters: Arc::default(),
        }
    }

    /// The device's counters, to look at while it runs.
    pub fn counters(&self) -> Arc<RngCounters> {
        Arc::clone(&self.counters)
    }
}

impl VirtioDevice for Rng {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            device_type: VIRTIO_ID_RNG,
            features: 0,
            queue_sizes: vec![QUEUE_SIZE],
        }
    }

    /// There is no configuration space (§5.4.4).
    fn read_config(&self, _: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_config(&mut self, _: u64, _: &[u8]) {}

    fn start(&mut self, mut activation: Activation) -> Result<(), StartError> {
        let queue = activation.take_queue(0)?;
        let worker = RngWorker {
            chain: Chain::new(queue.ram()),
            queue,
            counters: self.counters(),
        };
        self.running = Some(self.reactor.attach(worker)?);
        Ok(())
    }

    fn stop(&mut self) -> Result<Vec<Queue>, ReactorError> {
        let Some(attached) = self.running.take() else {
            return Ok(Vec::new());
        };
        let worker = attached.detach(STOP_PATIENCE)?;
        Ok(vec![worker.queue])
    }
}

struct RngWorker {
    queue: Queue,
    chain: Chain,
    counters: Arc<RngCounters>,
}

impl RngWorker {
    fn run(&mut self) -> Result<(), QueueFault> {
        let mut turn = Turn::begin(&mut self.queue, BATCH)?;
        while turn.next(&mut self.queue, &mut self.chain)? {
            let filled = fill(&mut self.chain.writable);
            self.counters.count(filled);
            self.queue.push(self.chain.head(), filled)?;
        }
        self.counters.unfilled.add(self.queue.new_faults());
        self.queue.notify()
    }
}

/// Fills `buffers` from the front. Returns how many bytes it wrote.
fn fill(buffers: &mut Buffers) -> u32 {
    let mut random = [0; MAX_REQUEST];
    let wanted = usize::try_from(buffers.len()).map_or(MAX_REQUEST, |len| len.min(MAX_REQUEST));
    // This must not wait, as it would on a host that has only just booted.
    let given = getrandom(&mut random[..wanted], GetRandomFlags::NONBLOCK).unwrap_or(0);
    buffers
        .write(&random[..given])
        .expect("no more was asked for than there is room");
    u32::try_from(given).expect("a request is short")
}

impl Worker for RngWorker {
    fn sources(&self) -> Vec<Source> {
        vec![Source::readable(self.queue.kick_fd(), 0)]
    }

    fn ready(&mut self, _: Token) {
        guarded(self, |worker| &worker.queue, Self::run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::Reactor;
    use crate::virtio::contract::device_contract;
    use crate::virtio::fake_driver::{Buffer, FakeDriver};

    fn rng() -> (Rng, Reactor) {
        let reactor = Reactor::spawn("test").unwrap();
        (Rng::new(reactor.handle()), reactor)
    }

    device_contract!(rng, queues: [0]);

    fn driver() -> (FakeDriver, Arc<RngCounters>, Reactor) {
        let (rng, reactor) = rng();
        let counters = rng.counters();
        (FakeDriver::started(rng, u64::MAX), counters, reactor)
    }

    #[test]
    fn buffers_are_filled_with_random_bytes() {
        let (mut driver, counters, _reactor) = driver();
        let buffers = [driver.writable(40), driver.writable(24)];
        assert_eq!(driver.request(0, &buffers).written, 64);
        let first: Vec<u8> = buffers.iter().flat_map(|b| driver.contents(*b)).collect();
        assert_eq!(driver.request(0, &buffers).written, 64);
        let second: Vec<u8> = buffers.iter().flat_map(|b| driver.contents(*b)).collect();
        assert_ne!(first, vec![0xa5; 64]);
        assert_ne!(first, second);
        assert!(driver.take_interrupts() > 0);
        assert_eq!((counters.requests(), counters.bytes()), (2, 128));
    }

    #[test]
    fn a_large_request_gets_a_part() {
        let (mut driver, _, _reactor) = driver();
        let buffer = driver.writable(10_000);
        let used = driver.request(0, &[buffer]);
        assert_eq!(usize::try_from(used.written), Ok(MAX_REQUEST));
        assert_eq!(
            driver.contents(buffer)[MAX_REQUEST..],
            [0xa5; 10_000 - MAX_REQUEST]
        );
    }

    #[test]
    fn requests_without_room_are_returned_and_counted() {
        let (mut driver, counters, _reactor) = driver();
        let readable = driver.readable(b"entropy, please");
        assert_eq!(driver.request(0, &[readable]).written, 0);
        let outside = Buffer::Writable {
            address: u64::MAX - 7,
            len: 8,
        };
        assert_eq!(driver.request(0, &[outside]).written, 0);
        assert_eq!((counters.requests(), counters.unfilled()), (0, 2));
        let good = driver.writable(8);
        assert_eq!(driver.request(0, &[good]).written, 8);
    }

    #[test]
    fn more_requests_than_a_batch_are_all_served() {
        let (mut driver, counters, _reactor) = driver();
        let buffer = driver.writable(1);
        for _ in 0..usize::from(QUEUE_SIZE) {
            driver.add(0, &[buffer]);
        }
        driver.kick(0);
        for _ in 0..usize::from(QUEUE_SIZE) {
            assert_eq!(driver.wait(0).written, 1);
        }
        assert_eq!(counters.requests(), u64::from(QUEUE_SIZE));
    }

    #[test]
    fn it_goes_on_after_a_pause() {
        let (mut driver, _, _reactor) = driver();
        let buffer = driver.writable(8);
        driver.request(0, &[buffer]);
        driver.transport.pause().unwrap();
        driver.add(0, &[buffer]);
        driver.kick(0);
        driver.transport.resume();
        assert_eq!(driver.wait(0).written, 8);
    }
}
