//! A driver in miniature, to test devices through their real transport.
//!
//! It sets a device up over MMIO registers as Linux does, lays queues out in
//! a small guest memory, submits chains and waits for used buffers; and it
//! can misbehave in every way that memory and registers allow. Unlike a test
//! of a worker's functions, a test through it survives refactoring.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use virtio_bindings::virtio_mmio as register;
use virtio_bindings::virtio_ring::{VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

use super::device::VirtioDevice;
use super::mmio::MmioTransport;
use super::transport::RegisterMap;
use crate::bus::BusDevice;
use crate::interrupt::InterruptLine;
use crate::memory::Ram;

/// How long to wait for a device before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of guest memory.
pub const MEMORY: usize = 64 << 20;

/// Where one region of guest memory ends and the next begins: a buffer across
/// it is not one piece of host memory.
pub const REGION_BOUNDARY: u64 = MEMORY as u64 / 2;

/// A queue takes 64 KiB at most, from this address on; buffers lie above.
const QUEUE_STRIDE: u64 = 0x1_0000;
const MAX_QUEUES: u32 = 64;
const BUFFERS: u64 = QUEUE_STRIDE * (MAX_QUEUES as u64 + 1);

/// A descriptor's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// The device reads `len` bytes at `address`.
    Readable {
        /// Guest physical address.
        address: u64,
        /// Bytes.
        len: u32,
    },
    /// The device writes `len` bytes at `address`.
    Writable {
        /// Guest physical address.
        address: u64,
        /// Bytes.
        len: u32,
    },
}

/// A raw descriptor, for drivers that break the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawDescriptor {
    /// Guest physical address.
    pub address: u64,
    /// Bytes.
    pub len: u32,
    /// `VRING_DESC_F_*`.
    pub flags: u16,
    /// Index of the next descriptor.
    pub next: u16,
}

/// A used ring entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Head of the chain.
    pub head: u16,
    /// Bytes that the device wrote.
    pub written: u32,
}

/// One queue, as the driver sees it.
struct DriverQueue {
    base: u64,
    size: u16,
    next_descriptor: u16,
    next_available: u16,
    next_used: u16,
}

impl DriverQueue {
    fn available(&self) -> u64 {
        self.base + 16 * u64::from(self.size)
    }
    fn used(&self) -> u64 {
        (self.available() + 6 + 2 * u64::from(self.size)).next_multiple_of(4)
    }
}

/// A driver bound to one device.
pub struct FakeDriver {
    /// The device behind its transport: registers can be accessed at will.
    pub transport: MmioTransport,
    /// Guest memory.
    pub ram: Ram,
    line: InterruptLine,
    queues: Vec<DriverQueue>,
    next_buffer: u64,
}

impl FakeDriver {
    /// A driver for `device`, which is not set up yet.
    pub fn new(device: impl VirtioDevice + 'static) -> Self {
        Self::boxed(Box::new(device))
    }

    /// The same for a device that has a box already.
    pub fn boxed(device: Box<dyn VirtioDevice>) -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[
            (GuestAddress(0), MEMORY / 2),
            (GuestAddress(REGION_BOUNDARY), MEMORY / 2),
        ])
        .expect("a small mapping succeeds");
        let ram = Ram::new(memory);
        let line = InterruptLine::new().expect("an eventfd is to be had");
        let transport =
            MmioTransport::new(device, ram.clone(), line.clone()).expect("eventfds are to be had");
        Self {
            transport,
            ram,
            line,
            queues: Vec::new(),
            next_buffer: BUFFERS,
        }
    }

    /// A driver that has set `device` up with those `features` that it
    /// offers, and every queue at its largest size.
    pub fn started(device: impl VirtioDevice + 'static, features: u64) -> Self {
        let mut driver = Self::new(device);
        driver.start(features);
        driver
    }

    /// Sets the device up (virtio 1.3 §3.1.1) with those of `features` that it
    /// offers, and version 1.
    pub fn start(&mut self, features: u64) {
        self.start_with(features, MAX_QUEUES);
    }

    /// The same with the first `queues` queues only.
    pub fn start_with(&mut self, features: u64, queues: u32) {
        self.write(register::VIRTIO_MMIO_STATUS, 0);
        self.write(register::VIRTIO_MMIO_STATUS, 1);
        self.write(register::VIRTIO_MMIO_STATUS, 3);
        let accepted = self.offered_features() & (features | 1 << 32);
        self.accept_features(accepted);
        self.write(register::VIRTIO_MMIO_STATUS, 11);
        assert_eq!(self.status(), 11, "the device accepts its own features");
        self.queues.clear();
        for index in 0..queues {
            self.write(register::VIRTIO_MMIO_QUEUE_SEL, index);
            let max = self.read(register::VIRTIO_MMIO_QUEUE_NUM_MAX);
            let Some(max) = u16::try_from(max).ok().filter(|max| *max > 0) else {
                break;
            };
            self.set_up_queue(index, max.min(256));
        }
        self.write(register::VIRTIO_MMIO_STATUS, 15);
    }

    fn set_up_queue(&mut self, index: u32, size: u16) {
        let queue = DriverQueue {
            base: QUEUE_STRIDE * u64::from(index + 1),
            size,
            next_descriptor: 0,
            next_available: 0,
            next_used: 0,
        };
        let zeroes = vec![0; usize::try_from(QUEUE_STRIDE).expect("small")];
        self.poke(queue.base, &zeroes);
        self.write(register::VIRTIO_MMIO_QUEUE_NUM, u32::from(size));
        for (low, address) in [
            (register::VIRTIO_MMIO_QUEUE_DESC_LOW, queue.base),
            (register::VIRTIO_MMIO_QUEUE_AVAIL_LOW, queue.available()),
            (register::VIRTIO_MMIO_QUEUE_USED_LOW, queue.used()),
        ] {
            self.write(low, u32::try_from(address).expect("below 4 GiB"));
            self.write(low + 4, 0);
        }
        self.write(register::VIRTIO_MMIO_QUEUE_READY, 1);
        self.queues.push(queue);
    }

    /// The features that the device offers.
    pub fn offered_features(&mut self) -> u64 {
        let mut features = 0;
        for page in [1, 0] {
            self.write(register::VIRTIO_MMIO_DEVICE_FEATURES_SEL, page);
            features = features << 32 | u64::from(self.read(register::VIRTIO_MMIO_DEVICE_FEATURES));
        }
        features
    }

    /// Writes the accepted features.
    pub fn accept_features(&mut self, features: u64) {
        for (page, shift) in [(0, 0), (1, 32)] {
            self.write(register::VIRTIO_MMIO_DRIVER_FEATURES_SEL, page);
            let bits = u32::try_from(features >> shift & 0xffff_ffff).expect("masked");
            self.write(register::VIRTIO_MMIO_DRIVER_FEATURES, bits);
        }
    }

    /// Reads a register.
    pub fn read(&mut self, offset: u32) -> u32 {
        let mut word = [0; 4];
        self.transport.read(u64::from(offset), &mut word);
        u32::from_le_bytes(word)
    }

    /// Writes a register.
    pub fn write(&mut self, offset: u32, value: u32) {
        self.transport
            .write(u64::from(offset), &value.to_le_bytes());
    }

    /// The device status.
    pub fn status(&mut self) -> u32 {
        self.read(register::VIRTIO_MMIO_STATUS)
    }

    /// Whether the device says that it needs a reset.
    pub fn needs_reset(&mut self) -> bool {
        self.status() & 64 != 0
    }

    /// Takes from the device what it stands on, as a forced detach does, and
    /// waits until that is durable and closed.
    pub fn take_backend_away(&mut self) {
        let last_act = self.transport.transport().sever();
        last_act.perform().expect("the backend closes");
    }

    /// Reads `len` bytes of configuration space.
    pub fn config(&mut self, offset: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.transport.read(0x100 + offset, &mut data);
        data
    }

    /// Writes configuration space.
    pub fn set_config(&mut self, offset: u64, data: &[u8]) {
        self.transport.write(0x100 + offset, data);
    }

    /// Reserves `len` bytes of guest memory, never used before.
    pub fn allocate(&mut self, len: u32) -> u64 {
        let address = self.next_buffer;
        self.next_buffer += u64::from(len).next_multiple_of(16);
        assert!(self.next_buffer <= MEMORY as u64, "guest memory is used up");
        address
    }

    /// Reserves a buffer for the device to read, holding `data`.
    pub fn readable(&mut self, data: &[u8]) -> Buffer {
        let len = u32::try_from(data.len()).expect("a small buffer");
        let address = self.allocate(len);
        self.poke(address, data);
        Buffer::Readable { address, len }
    }

    /// Reserves a buffer of `len` bytes for the device to write, filled with
    /// 0xa5.
    pub fn writable(&mut self, len: u32) -> Buffer {
        let address = self.allocate(len);
        self.poke(
            address,
            &vec![0xa5; usize::try_from(len).expect("a small buffer")],
        );
        Buffer::Writable { address, len }
    }

    /// Reads guest memory.
    pub fn peek(&self, address: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.ram
            .read_slice(&mut data, GuestAddress(address))
            .expect("the range is in guest memory");
        data
    }

    /// Reads what a buffer holds.
    pub fn contents(&self, buffer: Buffer) -> Vec<u8> {
        let (Buffer::Readable { address, len } | Buffer::Writable { address, len }) = buffer;
        self.peek(address, usize::try_from(len).expect("a small buffer"))
    }

    /// Writes guest memory.
    pub fn poke(&self, address: u64, data: &[u8]) {
        self.ram
            .write_slice(data, GuestAddress(address))
            .expect("the range is in guest memory");
    }

    /// Makes a chain of `buffers` available on queue `queue`, without
    /// notifying. Returns its head.
    pub fn add(&mut self, queue: usize, buffers: &[Buffer]) -> u16 {
        let size = self.queues[queue].size;
        let head = self.queues[queue].next_descriptor;
        let descriptors: Vec<_> = self.link(buffers, |i| (head + i + 1) % size);
        for (descriptor, i) in descriptors.iter().zip(0..) {
            self.set_descriptor(queue, (head + i) % size, *descriptor);
        }
        let count = u16::try_from(descriptors.len()).expect("fits the queue");
        self.queues[queue].next_descriptor = (head + count) % size;
        self.make_available(queue, head);
        head
    }

    /// The same, through an indirect table.
    pub fn add_indirect(&mut self, queue: usize, buffers: &[Buffer]) -> u16 {
        let descriptors = self.link(buffers, |i| i + 1);
        let len = 16 * u32::try_from(descriptors.len()).expect("a short table");
        let table = self.allocate(len);
        self.poke_table(table, &descriptors);
        let head = self.queues[queue].next_descriptor;
        self.queues[queue].next_descriptor = (head + 1) % self.queues[queue].size;
        let flags = flag(VRING_DESC_F_INDIRECT);
        self.set_descriptor(
            queue,
            head,
            RawDescriptor {
                address: table,
                len,
                flags,
                next: 0,
            },
        );
        self.make_available(queue, head);
        head
    }

    fn link(&self, buffers: &[Buffer], next: impl Fn(u16) -> u16) -> Vec<RawDescriptor> {
        let last = buffers.len().saturating_sub(1);
        let linked = buffers.iter().zip(0..).map(|(buffer, i)| {
            let (address, len, write) = match *buffer {
                Buffer::Readable { address, len } => (address, len, 0),
                Buffer::Writable { address, len } => (address, len, flag(VRING_DESC_F_WRITE)),
            };
            let more = usize::from(i) != last;
            RawDescriptor {
                address,
                len,
                flags: write | if more { flag(VRING_DESC_F_NEXT) } else { 0 },
                next: if more { next(i) } else { 0 },
            }
        });
        linked.collect()
    }

    /// Writes descriptor `index` of queue `queue`, whatever it says.
    pub fn set_descriptor(&mut self, queue: usize, index: u16, descriptor: RawDescriptor) {
        let address = self.queues[queue].base + 16 * u64::from(index);
        self.poke_descriptor(address, descriptor);
    }

    /// Writes an indirect table at `address`, whatever it says.
    pub fn poke_table(&self, address: u64, descriptors: &[RawDescriptor]) {
        for (descriptor, i) in descriptors.iter().zip(0..) {
            self.poke_descriptor(address + 16 * i, *descriptor);
        }
    }

    fn poke_descriptor(&self, address: u64, descriptor: RawDescriptor) {
        let mut bytes = Vec::with_capacity(16);
        bytes.extend(descriptor.address.to_le_bytes());
        bytes.extend(descriptor.len.to_le_bytes());
        bytes.extend(descriptor.flags.to_le_bytes());
        bytes.extend(descriptor.next.to_le_bytes());
        self.poke(address, &bytes);
    }

    /// Puts `head` on the available ring, whatever it is.
    pub fn make_available(&mut self, queue: usize, head: u16) {
        let q = &mut self.queues[queue];
        let slot = q.available() + 4 + 2 * u64::from(q.next_available % q.size);
        q.next_available = q.next_available.wrapping_add(1);
        let index = q.next_available;
        self.poke(slot, &head.to_le_bytes());
        self.set_available_index(queue, index);
    }

    /// Writes the available ring's index, whatever it is.
    pub fn set_available_index(&mut self, queue: usize, index: u16) {
        self.ram
            .store(
                index.to_le(),
                GuestAddress(self.queues[queue].available() + 2),
                std::sync::atomic::Ordering::Release,
            )
            .expect("the ring is in guest memory");
    }

    /// Writes the available ring's flags and, behind the ring, `used_event`.
    pub fn suppress_interrupts(&mut self, queue: usize, flags: u16, used_event: u16) {
        let q = &self.queues[queue];
        let event = q.available() + 4 + 2 * u64::from(q.size);
        self.poke(q.available(), &flags.to_le_bytes());
        self.poke(event, &used_event.to_le_bytes());
    }

    /// The used ring's flags and, behind the ring, `avail_event`: whether the
    /// device wants to be notified.
    pub fn notification_wishes(&self, queue: usize) -> (u16, u16) {
        let q = &self.queues[queue];
        let event = q.used() + 4 + 8 * u64::from(q.size);
        let word = |address| {
            let word: u16 = self
                .ram
                .load(GuestAddress(address), std::sync::atomic::Ordering::Acquire)
                .expect("the ring is in guest memory");
            u16::from_le(word)
        };
        (word(q.used()), word(event))
    }

    /// Notifies queue `queue`.
    pub fn kick(&mut self, queue: usize) {
        let index = u32::try_from(queue).expect("few queues");
        self.write(register::VIRTIO_MMIO_QUEUE_NOTIFY, index);
    }

    /// The next used buffer of queue `queue`, if there is one already.
    pub fn used(&mut self, queue: usize) -> Option<Used> {
        let q = &mut self.queues[queue];
        let index: u16 = self
            .ram
            .load(
                GuestAddress(q.used() + 2),
                std::sync::atomic::Ordering::Acquire,
            )
            .expect("the ring is in guest memory");
        if u16::from_le(index) == q.next_used {
            return None;
        }
        let entry = q.used() + 4 + 8 * u64::from(q.next_used % q.size);
        q.next_used = q.next_used.wrapping_add(1);
        let bytes = self.peek(entry, 8);
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Some(Used {
            head: u16::try_from(word(0)).expect("a head fits 16 bits"),
            written: word(4),
        })
    }

    /// Waits for the next used buffer of queue `queue`.
    pub fn wait(&mut self, queue: usize) -> Used {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(used) = self.used(queue) {
                return used;
            }
            assert!(Instant::now() < deadline, "queue {queue}: nothing was used");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sleeps until the device raises its interrupt; one that it raised since the
    /// last call counts. For who must not take a processor from the device.
    pub fn wait_for_interrupt(&mut self) {
        let epoll = Epoll::new().expect("a descriptor is to be had");
        let event = EpollEvent::new(EventSet::IN, 0);
        let fd = self.line.as_raw_fd();
        epoll
            .ctl(ControlOperation::Add, fd, event)
            .expect("an eventfd can be waited for");
        let patience = i32::try_from(PATIENCE.as_millis()).expect("it is short");
        let ready = loop {
            match epoll.wait(patience, &mut [event]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                ready => break ready.expect("an eventfd can be waited for"),
            }
        };
        assert_eq!(ready, 1, "the device raised no interrupt");
        self.take_interrupts();
    }

    /// Waits until the device says that it needs a reset.
    pub fn wait_for_needs_reset(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.needs_reset() {
            assert!(
                Instant::now() < deadline,
                "the device did not ask for a reset"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Submits one chain, notifies, and waits for it.
    pub fn request(&mut self, queue: usize, buffers: &[Buffer]) -> Used {
        let head = self.add(queue, buffers);
        self.kick(queue);
        let used = self.wait(queue);
        assert_eq!(used.head, head, "the device used another chain");
        used
    }

    /// Interrupts since the last call; acknowledges them.
    pub fn take_interrupts(&mut self) -> u64 {
        let status = self.read(register::VIRTIO_MMIO_INTERRUPT_STATUS);
        self.write(register::VIRTIO_MMIO_INTERRUPT_ACK, status);
        self.line.take()
    }
}

fn flag(bit: u32) -> u16 {
    u16::try_from(bit).expect("descriptor flags are 16 bits")
}
