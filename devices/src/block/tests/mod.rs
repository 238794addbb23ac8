//! A block device as its driver sees it, on real files and both engines.
//!
//! io_uring is part of what is tested: a host without it fails these tests
//! rather than passing them by.

mod direct;
mod encrypted;
mod faults;
mod faulty_disk;
pub(super) mod held_disk;
mod hostile;
mod limits;
mod order;
mod queues;
mod requests;
mod resize;
mod volumes;
mod waiting;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use virtio_bindings::virtio_blk::{VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT};

use super::counters::Counters;
use super::device::Block;
use super::handle::BlockHandle;
use super::open::{DiskOptions, Disks, EngineChoice, open_disk};
use super::request::Status;
use super::waits::OnError;
use crate::reactor::{Reactor, ReactorHandle};
use crate::virtio::contract::device_contract;
use crate::virtio::fake_driver::{Buffer, FakeDriver};
use crate::virtio::queue_count::QueueCount;

/// Bytes of the disks under test.
const SIZE: u64 = 4 << 20;

const ENGINES: [EngineChoice; 2] = [EngineChoice::IoUring, EngineChoice::Sync];

const OK: u8 = Status::Ok as u8;
const IOERR: u8 = Status::IoError as u8;
const UNSUPP: u8 = Status::Unsupported as u8;

/// A file full of a pattern that differs from sector to sector.
///
/// It lies next to the test binary, on what is surely a disk: temporary
/// directories may be in memory, where neither direct I/O nor zeroing works.
fn patterned_file() -> File {
    let program = std::env::current_exe().unwrap();
    let file = tempfile::tempfile_in(program.parent().unwrap()).unwrap();
    file.write_all_at(&pattern(0, SIZE), 0).unwrap();
    file
}

/// What is in the patterned file from `sector` on.
fn pattern(sector: u64, len: u64) -> Vec<u8> {
    let start = sector * 512;
    let byte = |at: u64| u8::try_from((at / 512 * 7 + at) % 251).unwrap();
    (start..start + len).map(byte).collect()
}

/// A reactor for each of `count` queues, and how to reach them.
fn reactors(count: usize) -> (Vec<Reactor>, Vec<ReactorHandle>) {
    let reactors: Vec<_> = (0..count)
        .map(|_| Reactor::spawn("test").unwrap())
        .collect();
    let handles = reactors.iter().map(Reactor::handle).collect();
    (reactors, handles)
}

fn device(disks: Disks) -> (Block, Vec<Reactor>) {
    let (reactors, handles) = reactors(disks.len());
    let block = Block::new(
        disks,
        "test-disk".parse().unwrap(),
        OnError::Report,
        handles,
    );
    (block.unwrap(), reactors)
}

/// A driver with a block device. The driver goes first, then the reactors.
struct Bench {
    driver: FakeDriver,
    counters: Arc<Counters>,
    handle: BlockHandle,
    _reactors: Vec<Reactor>,
}

impl Bench {
    fn new(disks: Disks) -> Self {
        Self::with_features(disks, u64::MAX)
    }

    fn with_features(disks: Disks, features: u64) -> Self {
        let (block, reactors) = device(disks);
        Self::on_device(block, reactors, features)
    }

    fn on_device(block: Block, reactors: Vec<Reactor>, features: u64) -> Self {
        Self {
            counters: block.counters(),
            handle: block.handle(),
            driver: FakeDriver::started(block, features),
            _reactors: reactors,
        }
    }

    fn on(file: &File, engine: EngineChoice) -> Self {
        Self::with_options(
            file,
            DiskOptions {
                engine,
                ..DiskOptions::default()
            },
        )
    }

    fn with_options(file: &File, options: DiskOptions) -> Self {
        let (disks, _) = open_disk(file.try_clone().unwrap(), options).unwrap();
        Self::new(disks)
    }

    fn header(&mut self, kind: u32, sector: u64) -> Buffer {
        let mut header = Vec::from(kind.to_le_bytes());
        header.extend([0; 4]);
        header.extend(sector.to_le_bytes());
        self.driver.readable(&header)
    }

    /// Makes a request available. Returns its head and where its status goes.
    fn add(&mut self, kind: u32, sector: u64, data: &[Buffer]) -> (u16, Buffer) {
        self.add_to(0, kind, sector, data)
    }

    /// The same on queue `queue`.
    fn add_to(&mut self, queue: usize, kind: u32, sector: u64, data: &[Buffer]) -> (u16, Buffer) {
        let status = self.driver.writable(1);
        let mut buffers = vec![self.header(kind, sector)];
        buffers.extend(data);
        buffers.push(status);
        (self.driver.add(queue, &buffers), status)
    }

    /// Makes a request and waits for it. Returns its status and how many bytes
    /// the device says it wrote.
    fn request(&mut self, kind: u32, sector: u64, data: &[Buffer]) -> (u8, u32) {
        let (head, status) = self.add(kind, sector, data);
        self.driver.kick(0);
        let used = self.driver.wait(0);
        assert_eq!(used.head, head);
        (self.driver.contents(status)[0], used.written)
    }

    fn read(&mut self, sector: u64, len: u32) -> (u8, Vec<u8>) {
        let data = self.driver.writable(len);
        let (status, _) = self.request(VIRTIO_BLK_T_IN, sector, &[data]);
        (status, self.driver.contents(data))
    }

    fn write(&mut self, sector: u64, data: &[u8]) -> u8 {
        let data = self.driver.readable(data);
        self.request(VIRTIO_BLK_T_OUT, sector, &[data]).0
    }
}

/// A device, and what it stands on.
type Standing = (Block, (Vec<Reactor>, File));

fn contract_device(engine: EngineChoice, queues: u64) -> Standing {
    let file = patterned_file();
    let options = DiskOptions {
        engine,
        queues: QueueCount::new(queues).unwrap(),
        ..DiskOptions::default()
    };
    let (disks, _) = open_disk(file.try_clone().unwrap(), options).unwrap();
    let (block, reactors) = device(disks);
    (block, (reactors, file))
}

mod uring {
    use super::*;

    fn make() -> Standing {
        contract_device(EngineChoice::IoUring, 1)
    }
    device_contract!(make, queues: [0]);
}

mod sync {
    use super::*;

    fn make() -> Standing {
        contract_device(EngineChoice::Sync, 1)
    }
    device_contract!(make, queues: [0]);
}

mod multi_queue {
    use super::*;

    fn make() -> Standing {
        contract_device(EngineChoice::IoUring, 3)
    }
    device_contract!(make, queues: [0, 1, 2]);
}
