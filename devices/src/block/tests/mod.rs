//! A block device as its driver sees it, on real files and both engines.
//!
//! io_uring is part of what is tested: a host without it fails these tests
//! rather than passing them by.

mod direct;
mod hostile;
mod limits;
mod order;
mod requests;
mod resize;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use virtio_bindings::virtio_blk::{VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT};

use super::counters::Counters;
use super::device::Block;
use super::disk::Disk;
use super::handle::BlockHandle;
use super::open::{DiskOptions, EngineChoice, open_disk};
use super::request::Status;
use crate::reactor::Reactor;
use crate::virtio::contract::device_contract;
use crate::virtio::fake_driver::{Buffer, FakeDriver};

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

fn device(disk: Box<dyn Disk>) -> (Block, Reactor) {
    let reactor = Reactor::spawn("test").unwrap();
    let block = Block::new(disk, "test-disk".parse().unwrap(), reactor.handle());
    (block.unwrap(), reactor)
}

/// A driver with a block device. The driver goes first, then the reactor.
struct Bench {
    driver: FakeDriver,
    counters: Arc<Counters>,
    handle: BlockHandle,
    _reactor: Reactor,
}

impl Bench {
    fn new(disk: Box<dyn Disk>) -> Self {
        Self::with_features(disk, u64::MAX)
    }

    fn with_features(disk: Box<dyn Disk>, features: u64) -> Self {
        let (block, reactor) = device(disk);
        Self::on_device(block, reactor, features)
    }

    fn on_device(block: Block, reactor: Reactor, features: u64) -> Self {
        Self {
            counters: block.counters(),
            handle: block.handle(),
            driver: FakeDriver::started(block, features),
            _reactor: reactor,
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
        let (disk, _) = open_disk(file.try_clone().unwrap(), options).unwrap();
        Self::new(disk)
    }

    fn header(&mut self, kind: u32, sector: u64) -> Buffer {
        let mut header = Vec::from(kind.to_le_bytes());
        header.extend([0; 4]);
        header.extend(sector.to_le_bytes());
        self.driver.readable(&header)
    }

    /// Makes a request available. Returns its head and where its status goes.
    fn add(&mut self, kind: u32, sector: u64, data: &[Buffer]) -> (u16, Buffer) {
        let status = self.driver.writable(1);
        let mut buffers = vec![self.header(kind, sector)];
        buffers.extend(data);
        buffers.push(status);
        (self.driver.add(0, &buffers), status)
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

fn contract_device(engine: EngineChoice) -> (Block, (Reactor, File)) {
    let file = patterned_file();
    let options = DiskOptions {
        engine,
        ..DiskOptions::default()
    };
    let (disk, _) = open_disk(file.try_clone().unwrap(), options).unwrap();
    let (block, reactor) = device(disk);
    (block, (reactor, file))
}

mod uring {
    use super::*;

    fn make() -> (Block, (Reactor, File)) {
        contract_device(EngineChoice::IoUring)
    }
    device_contract!(make, queues: [0]);
}

mod sync {
    use super::*;

    fn make() -> (Block, (Reactor, File)) {
        contract_device(EngineChoice::Sync)
    }
    device_contract!(make, queues: [0]);
}
