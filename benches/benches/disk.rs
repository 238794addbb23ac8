//! How fast a disk moves 1 MiB at a time, plain and encrypted, in this host's
//! own time: `cargo bench -p benches --bench disk`.
//!
//! It is the real path of a guest's request but for the guest, whose driver is
//! in miniature: queue, worker on its reactor, encryption, io_uring, a file of
//! this host's disk beside the program, by way of the page cache and past it.
//! Instructions, which other benchmarks count, would say nothing here: AES takes few,
//! and long ones.

#![allow(missing_docs)] // Of what criterion's macros make.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use devices::block::device::Block;
use devices::block::open::{DiskOptions, EngineChoice, encrypted, open_disk};
use devices::block::waits::OnError;
use devices::reactor::Reactor;
use devices::virtio::fake_driver::{Buffer, FakeDriver};
use virtio_bindings::virtio_blk::{VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT};
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use volume::cipher::key::Key;

/// Bytes of a request.
const REQUEST: u32 = 1 << 20;

/// Requests in a round, one behind the other on the disk.
const ROUND: u64 = 64;

/// Requests in flight at a time.
const DEPTHS: [usize; 2] = [4, 8];

/// What a disk is.
#[derive(Clone, Copy, Debug)]
struct Way {
    direct: bool,
    encrypted: bool,
}

/// A driver of a disk, and where its requests are in the guest's memory.
struct Guest {
    driver: FakeDriver,
    requests: Vec<Request>,
    _reactor: Reactor,
}

/// A place for a request: header, data, status.
#[derive(Clone, Copy)]
struct Request {
    header: u64,
    data: u64,
    status: u64,
}

impl Guest {
    fn new(file: &File, way: Way) -> io::Result<Self> {
        let options = DiskOptions {
            engine: EngineChoice::IoUring,
            direct: way.direct,
            ..DiskOptions::default()
        };
        // Opened anew: past the page cache is a matter of the open file.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let file = File::options().read(true).write(true).open(path)?;
        let (mut disks, _) = open_disk(file, options).map_err(io::Error::other)?;
        if way.encrypted {
            disks = encrypted(disks, &Key::random()?).map_err(io::Error::other)?;
        }
        let reactor = Reactor::spawn("disk")?;
        let id = "bench".parse().map_err(io::Error::other)?;
        let block = Block::new(disks, id, OnError::Report, vec![reactor.handle()])?;
        // It does not say from which request on it wants to be interrupted.
        let features = !(1 << VIRTIO_RING_F_EVENT_IDX);
        let mut driver = FakeDriver::started(block, features);
        let most = DEPTHS.into_iter().max().unwrap_or_default();
        let requests = (0..most).map(|_| Request::new(&mut driver)).collect();
        Ok(Self {
            driver,
            requests,
            _reactor: reactor,
        })
    }

    /// Moves the first megabytes of the disk, with `depth` requests in flight.
    fn round(&mut self, kind: u32, depth: usize) {
        let mut megabytes = 0..ROUND;
        let places = (0..depth).zip(&mut megabytes);
        let begun = places.map(|(place, megabyte)| Some(self.begin(place, kind, megabyte)));
        let mut heads: Vec<Option<u16>> = begun.collect();
        self.driver.kick(0);
        for _ in 0..ROUND {
            let head = self.wait();
            let place = heads.iter().position(|one| *one == Some(head));
            let place = place.expect("what is used was made available");
            let status = self.driver.peek(self.requests[place].status, 1);
            assert_eq!(status, [0], "the disk failed");
            let next = megabytes.next();
            heads[place] = next.map(|megabyte| self.begin(place, kind, megabyte));
            if next.is_some() {
                self.driver.kick(0);
            }
        }
    }

    fn begin(&mut self, place: usize, kind: u32, megabyte: u64) -> u16 {
        let Request {
            header,
            data,
            status,
        } = self.requests[place];
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes[8..].copy_from_slice(&(megabyte * u64::from(REQUEST) / 512).to_le_bytes());
        self.driver.poke(header, &bytes);
        let (address, len) = (data, REQUEST);
        let data = match kind {
            VIRTIO_BLK_T_IN => Buffer::Writable { address, len },
            _ => Buffer::Readable { address, len },
        };
        let header = Buffer::Readable {
            address: header,
            len: 16,
        };
        let status = Buffer::Writable {
            address: status,
            len: 1,
        };
        self.driver.add(0, &[header, data, status])
    }

    fn wait(&mut self) -> u16 {
        loop {
            if let Some(used) = self.driver.used(0) {
                return used.head;
            }
            self.driver.wait_for_interrupt();
        }
    }
}

impl Request {
    fn new(driver: &mut FakeDriver) -> Self {
        let start = driver.allocate(REQUEST + 4096);
        let data = start.next_multiple_of(4096);
        driver.poke(data, &vec![0x5a; REQUEST as usize]);
        Self {
            header: driver.allocate(16),
            data,
            status: driver.allocate(1),
        }
    }
}

/// A file without holes, beside this program: temporary directories may be in
/// memory.
fn file() -> io::Result<File> {
    let program = std::env::current_exe()?;
    let directory = program.parent().ok_or(io::ErrorKind::NotFound)?;
    let file = tempfile::tempfile_in(directory)?;
    let megabyte = vec![1; REQUEST as usize];
    for number in 0..ROUND {
        file.write_all_at(&megabyte, number * u64::from(REQUEST))?;
    }
    file.sync_all()?;
    Ok(file)
}

fn disk(criterion: &mut Criterion) {
    let file = file().expect("this directory takes a file");
    let mut group = criterion.benchmark_group("disk");
    group.throughput(Throughput::Bytes(ROUND * u64::from(REQUEST)));
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(4));
    for direct in [false, true] {
        for (what, kind) in [("read", VIRTIO_BLK_T_IN), ("write", VIRTIO_BLK_T_OUT)] {
            for depth in DEPTHS {
                // One right after the other: what else this host does changes.
                for encrypted in [false, true] {
                    let way = Way { direct, encrypted };
                    let mut guest = Guest::new(&file, way).expect("the file is a disk");
                    let path = if direct { "direct" } else { "cached" };
                    let contents = if encrypted { "encrypted" } else { "plain" };
                    let id = BenchmarkId::new(format!("{path} {what} {contents}"), depth);
                    group.bench_function(id, |bencher| {
                        bencher.iter(|| guest.round(kind, depth));
                    });
                }
            }
        }
    }
}

criterion_group!(benches, disk);
criterion_main!(benches);
