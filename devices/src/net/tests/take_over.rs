//! A port that takes its queues over, as one does that the kernel serves.

use rustix::event::{EventfdFlags, eventfd};

use super::*;
use crate::virtio::queue::Queue;

/// What such a port was asked, and answers.
#[derive(Default)]
struct Account {
    /// The available entries that were the next when it got the queues.
    taken_at: Vec<[u16; 2]>,
    handed_back: u32,
}

struct Greedy {
    account: Arc<Mutex<Account>>,
    broken: Arc<OwnedFd>,
    silence: OwnedFd,
}

impl Port for Greedy {
    fn arrivals(&self) -> BorrowedFd<'_> {
        self.silence.as_fd()
    }
    fn wakers(&self) -> Vec<std::os::fd::RawFd> {
        vec![std::os::fd::AsRawFd::as_raw_fd(&*self.broken)]
    }
    fn offloads(&self) -> Offloads {
        Offloads::ALL
    }
    fn set_offloads(&mut self, _: Offloads) -> io::Result<()> {
        Ok(())
    }
    fn send(&mut self, _: &Buffers) -> io::Result<Sent> {
        panic!("it has the queue, and sends itself")
    }
    fn receive(&mut self, _: &mut Posted) -> io::Result<usize> {
        panic!("it has the queue, and receives itself")
    }
    fn take_over(&mut self, queues: [&mut Queue; 2], features: u64) -> bool {
        assert_ne!(features & MERGEABLE, 0);
        let _ = rustix::io::read(&*self.broken, &mut [0; 8]);
        let at = queues.map(|queue| queue.layout().next_available);
        self.account.lock().unwrap().taken_at.push(at);
        true
    }
    fn hand_back(&mut self, _: [&mut Queue; 2]) {
        self.account.lock().unwrap().handed_back += 1;
    }
}

struct Device {
    driver: FakeDriver,
    account: Arc<Mutex<Account>>,
    broken: Arc<OwnedFd>,
    _reactor: Reactor,
}

fn device() -> Device {
    let eventfd = || eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
    let (account, broken) = (Arc::<Mutex<Account>>::default(), Arc::new(eventfd()));
    let port = Greedy {
        account: Arc::clone(&account),
        broken: Arc::clone(&broken),
        silence: eventfd(),
    };
    let reactor = Reactor::spawn("test").unwrap();
    let net = Net::new(vec![Box::new(port)], options(None), vec![reactor.handle()]);
    let net = net.unwrap();
    // As whoever makes a device does. It must not be taken for a broken queue.
    net.handle().set_limits(None, None);
    Device {
        driver: FakeDriver::started(net, u64::MAX),
        account,
        broken,
        _reactor: reactor,
    }
}

#[test]
fn a_worker_leaves_queues_alone_that_its_port_has() {
    let mut device = device();
    let buffer = device.driver.readable(&packet(3, 100));
    device.driver.add(TRANSMIT, &[buffer]);
    device.driver.kick(TRANSMIT);
    let buffer = device.driver.writable(2000);
    device.driver.add(RECEIVE, &[buffer]);
    device.driver.kick(RECEIVE);
    assert!(!device.driver.needs_reset());
    // A reset is answered by the I/O thread: it has had its turn by then, and would
    // have panicked.
    device.driver.start(u64::MAX);
    assert_eq!(device.driver.used(TRANSMIT), None);
    assert_eq!(device.account.lock().unwrap().handed_back, 1);
    assert_eq!(device.account.lock().unwrap().taken_at, [[0, 0]; 2]);
}

#[test]
fn a_queue_that_its_port_finds_broken_needs_a_reset() {
    let mut device = device();
    assert!(!device.driver.needs_reset());
    rustix::io::write(&*device.broken, &1u64.to_ne_bytes()).unwrap();
    device.driver.wait_for_needs_reset();
    device.driver.start(u64::MAX);
    assert!(!device.driver.needs_reset());
}
