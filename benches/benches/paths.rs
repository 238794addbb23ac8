//! The steps that every request takes, each by itself, in this host's own time:
//! `cargo bench -p benches --bench paths`.
//!
//! A request is popped from a queue, and its descriptors become an iovec; its
//! header is parsed; a rate limit lets it pass; it is pushed. And a register
//! access finds its device on a bus. No thread and no system call is in these.

#![allow(missing_docs)] // Of what criterion's macros make.

use std::hint::black_box;
use std::sync::{Arc, Mutex};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use devices::block::disk::DiskInfo;
use devices::bus::{Bus, BusDevice};
use devices::hot_paths::{LimitedPath, parse_block_request};
use devices::memory::Ram;
use devices::rate_limit::{Limit, Limits};
use devices::virtio::chain::Chain;
use devices::virtio::interrupt::{DeviceInterrupt, Signal};
use devices::virtio::queue::{Queue, QueueLayout};
use virtio_bindings::virtio_blk::VIRTIO_BLK_T_IN;
use virtio_bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

const SIZE: u16 = 256;
const DESCRIPTORS: u64 = 0x1000;
const AVAILABLE: u64 = 0x3000;
const USED: u64 = 0x5000;
const HEADER: u64 = 0x8000;
const DATA: u64 = 0x10_0000;
const STATUS: u64 = 0x9000;
const MEMORY: usize = 16 << 20;

/// Descriptors of data between a header and a status.
const SEGMENTS: [u16; 3] = [1, 16, 128];

struct Silent;

impl Signal for Silent {
    fn used_buffer(&self, _: u16) {}
    fn config_change(&self) {}
}

/// A queue in which the same request is made available again and again.
struct Guest {
    ram: Ram,
    queue: Queue,
    chain: Chain,
    available: u16,
}

impl Guest {
    /// The request is a read into as many buffers of a page each.
    fn new(segments: u16) -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]);
        let ram = Ram::new(memory.expect("a small mapping succeeds"));
        let mut buffers = vec![(HEADER, 16, 0)];
        let data = (0..segments).map(|number| (DATA + 4096 * u64::from(number), 4096));
        buffers.extend(data.map(|(address, len)| (address, len, VRING_DESC_F_WRITE)));
        buffers.push((STATUS, 1, VRING_DESC_F_WRITE));
        let last = buffers.len() - 1;
        for (number, (address, len, flags)) in (0_u16..).zip(buffers) {
            let next = usize::from(number) < last;
            let flags = flags | if next { VRING_DESC_F_NEXT } else { 0 };
            write_descriptor(&ram, number, (address, len, flags));
        }
        let mut header = [0; 16];
        header[..4].copy_from_slice(&VIRTIO_BLK_T_IN.to_le_bytes());
        ram.write_slice(&header, GuestAddress(HEADER))
            .expect("the header is in memory");
        let layout = QueueLayout {
            size: SIZE,
            descriptors: DESCRIPTORS,
            available: AVAILABLE,
            used: USED,
            next_available: 0,
            next_used: 0,
        };
        let kick = Arc::new(EventFd::new(0).expect("an eventfd is to be had"));
        let interrupt = DeviceInterrupt::new(Silent);
        let queue = Queue::new(0, &layout, true, &ram, kick, interrupt);
        Self {
            queue: queue.expect("the layout is valid"),
            chain: Chain::new(&ram),
            ram,
            available: 0,
        }
    }

    fn make_available(&mut self) {
        let entry = AVAILABLE + 4 + 2 * u64::from(self.available % SIZE);
        self.available = self.available.wrapping_add(1);
        let written = self
            .ram
            .write_obj(0_u16, GuestAddress(entry))
            .and_then(|()| {
                self.ram
                    .write_obj(self.available, GuestAddress(AVAILABLE + 2))
            });
        written.expect("the ring is in memory");
    }

    fn pop(&mut self) {
        let popped = self.queue.pop(&mut self.chain).expect("the ring is sound");
        assert!(popped, "a request is available");
    }

    fn push(&mut self) {
        let head = self.chain.head();
        self.queue.push(head, 1).expect("the ring is sound");
        self.queue.notify().expect("the ring is sound");
    }
}

fn write_descriptor(ram: &Ram, number: u16, (address, len, flags): (u64, u32, u32)) {
    let flags = u16::try_from(flags).expect("flags are 16 bits");
    let at = GuestAddress(DESCRIPTORS + 16 * u64::from(number));
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&address.to_le_bytes());
    bytes[8..12].copy_from_slice(&len.to_le_bytes());
    bytes[12..14].copy_from_slice(&flags.to_le_bytes());
    bytes[14..].copy_from_slice(&(number + 1).to_le_bytes());
    ram.write_slice(&bytes, at).expect("the table is in memory");
}

/// What the driver does in between is measured as well: two writes.
fn queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue");
    for segments in SEGMENTS {
        let mut guest = Guest::new(segments);
        let id = BenchmarkId::new("pop, chain to iovec, push", segments);
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                guest.make_available();
                guest.pop();
                black_box(guest.chain.writable.iovecs());
                guest.push();
            });
        });
        let mut guest = Guest::new(segments);
        let id = BenchmarkId::new("the same, and parsed", segments);
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                guest.make_available();
                guest.pop();
                assert!(parse_block_request(&mut guest.chain, &disk()));
                guest.push();
            });
        });
    }
}

fn disk() -> DiskInfo {
    DiskInfo {
        capacity: 1 << 30,
        logical_block: 512,
        physical_block: 4096,
        buffer_alignment: 1,
        read_only: false,
        can_discard: true,
        depth: 128,
    }
}

struct Register(u64);

impl BusDevice for Register {
    fn read(&mut self, _: u64, data: &mut [u8]) {
        data.copy_from_slice(&self.0.to_le_bytes()[..data.len()]);
    }

    fn write(&mut self, _: u64, data: &[u8]) {
        self.0 += u64::from(data[0]);
    }
}

fn bus(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bus");
    for devices in [1_u64, 8, 32] {
        let bus = Bus::default();
        for number in 0..devices {
            let device = Arc::new(Mutex::new(Register(number)));
            bus.insert(number * 0x2000, 0x1000, device)
                .expect("no two overlap");
        }
        let last = (devices - 1) * 0x2000;
        for (what, address) in [("write", last + 0x10), ("write to nobody", last + 0x1800)] {
            group.bench_function(BenchmarkId::new(what, devices), |bencher| {
                bencher.iter(|| bus.write(black_box(address), &[1, 0, 0, 0]));
            });
        }
    }
}

fn rate_limit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rate limit");
    // As high as limits go: nothing ever waits.
    let most = 100_000_000_000;
    let limit = || Limit::per_second(most).and_then(|limit| limit.with_burst(most));
    let both = limit().and_then(|one| Ok(Limits::new(Some(one), Some(limit()?))));
    let both = both.expect("the limits are sound");
    for (what, limits) in [("none", None), ("operations and bytes", both)] {
        let mut path = LimitedPath::new(limits).expect("descriptors are to be had");
        group.bench_function(what, |bencher| {
            bencher.iter(|| path.admits(black_box(512)));
        });
    }
}

criterion_group!(benches, queue, bus, rate_limit);
criterion_main!(benches);
