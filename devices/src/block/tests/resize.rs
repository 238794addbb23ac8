//! A disk that grows under its driver.

use virtio_bindings::virtio_mmio::{
    VIRTIO_MMIO_CONFIG_GENERATION, VIRTIO_MMIO_INT_CONFIG, VIRTIO_MMIO_INTERRUPT_ACK,
    VIRTIO_MMIO_INTERRUPT_STATUS,
};

use super::*;
use crate::block::capacity::ResizeError;
use crate::block::lock::{Access, lock};

impl Bench {
    /// The disk's size as the driver reads it, in bytes.
    fn told(&mut self) -> u64 {
        let sectors = self.driver.config(0, 8);
        u64::from_le_bytes(sectors.try_into().unwrap()) * 512
    }

    fn generation(&mut self) -> u32 {
        self.driver.read(VIRTIO_MMIO_CONFIG_GENERATION)
    }

    /// Whether the driver was told of a change since the last call.
    fn config_interrupt(&mut self) -> bool {
        let status = self.driver.read(VIRTIO_MMIO_INTERRUPT_STATUS);
        self.driver.write(VIRTIO_MMIO_INTERRUPT_ACK, status);
        status & VIRTIO_MMIO_INT_CONFIG != 0
    }
}

#[test]
fn new_space_is_announced_and_usable_at_once() {
    for engine in ENGINES {
        let file = patterned_file();
        let mut bench = Bench::on(&file, engine);
        let generation = bench.generation();
        let end = SIZE / 512;
        assert_eq!(bench.write(end, &[7; 512]), IOERR);
        file.set_len(2 * SIZE).unwrap();
        assert_eq!(bench.told(), SIZE, "until somebody says so");
        assert_eq!(bench.write(end, &[7; 512]), IOERR);

        assert_eq!(bench.handle.resize(None).unwrap(), 2 * SIZE);
        assert!(bench.config_interrupt());
        assert_ne!(bench.generation(), generation);
        assert_eq!(bench.told(), 2 * SIZE);
        assert_eq!(bench.write(end, &[7; 512]), OK);
        assert_eq!(bench.read(end, 512), (OK, vec![7; 512]));
        let last = 2 * SIZE / 512 - 1;
        assert_eq!(bench.read(last, 512), (OK, vec![0; 512]));
        assert_eq!(bench.read(last + 1, 512).0, IOERR);
    }
}

#[test]
fn direct_disks_and_read_only_disks_grow_too() {
    for engine in ENGINES {
        let file = patterned_file();
        let mut bench = Bench::with_options(
            &file,
            DiskOptions {
                engine,
                direct: true,
                read_only: true,
                ..DiskOptions::default()
            },
        );
        file.set_len(2 * SIZE).unwrap();
        bench.handle.resize(Some(2 * SIZE)).unwrap();
        assert_eq!(bench.read(SIZE / 512, 4096), (OK, vec![0; 4096]));
    }
}

#[test]
fn a_size_that_is_refused_changes_nothing() {
    let file = patterned_file();
    let mut bench = Bench::on(&file, EngineChoice::Auto);
    let generation = bench.generation();
    let shrunk = bench.handle.resize(Some(SIZE - 512)).unwrap_err();
    assert!(matches!(shrunk, ResizeError::Shrunk { .. }), "{shrunk}");
    let beyond = bench.handle.resize(Some(SIZE + 512)).unwrap_err();
    assert!(matches!(beyond, ResizeError::BeyondFile { .. }), "{beyond}");
    let unaligned = bench.handle.resize(Some(SIZE + 1)).unwrap_err();
    assert!(matches!(unaligned, ResizeError::Unaligned { .. }));
    file.set_len(SIZE / 2).unwrap();
    assert!(bench.handle.resize(None).is_err());
    assert_eq!((bench.told(), bench.handle.capacity()), (SIZE, SIZE));
    assert!(!bench.config_interrupt());
    assert_eq!(bench.generation(), generation);
}

#[test]
fn the_same_size_again_is_not_announced() {
    let file = patterned_file();
    let mut bench = Bench::on(&file, EngineChoice::Auto);
    assert_eq!(bench.handle.resize(None).unwrap(), SIZE);
    assert_eq!(bench.handle.resize(Some(SIZE)).unwrap(), SIZE);
    assert!(!bench.config_interrupt());
}

#[test]
fn a_disk_that_grew_during_a_pause_is_announced_after_it() {
    let file = patterned_file();
    let mut bench = Bench::on(&file, EngineChoice::Auto);
    bench.driver.transport.pause().unwrap();
    file.set_len(2 * SIZE).unwrap();
    bench.handle.resize(None).unwrap();
    assert!(!bench.config_interrupt());
    bench.driver.transport.resume();
    assert!(bench.config_interrupt());
    assert_eq!(bench.read(SIZE / 512, 512).0, OK);
    bench.driver.transport.pause().unwrap();
    bench.driver.transport.resume();
    assert!(!bench.config_interrupt(), "once");
}

#[test]
fn a_disk_grows_under_load() {
    let file = patterned_file();
    let mut bench = Bench::on(&file, EngineChoice::Auto);
    let handle = bench.handle.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for step in 1..=64 {
                file.set_len(SIZE + step * 4096).unwrap();
                handle.resize(None).unwrap();
            }
        });
        while bench.told() < SIZE + 64 * 4096 {
            let sector = bench.told() / 512 - 1;
            assert_eq!(bench.write(sector, &[1; 512]), OK);
        }
    });
}

#[test]
fn a_handle_does_not_keep_the_file_of_a_disk_that_is_gone() {
    let path = tempfile::NamedTempFile::new().unwrap();
    path.as_file().set_len(SIZE).unwrap();
    let file = path.reopen().unwrap();
    lock(&file, Access::Exclusive).unwrap();
    let (disk, _) = open_disk(file, DiskOptions::default()).unwrap();
    let bench = Bench::new(disk);
    let handle = bench.handle.clone();
    drop(bench);
    assert!(matches!(handle.resize(None), Err(ResizeError::Gone)));
    lock(&path.reopen().unwrap(), Access::Exclusive).expect("the lock is free");
}

#[test]
fn a_disk_that_was_taken_away_does_not_grow() {
    let file = patterned_file();
    let mut bench = Bench::on(&file, EngineChoice::Auto);
    bench.driver.take_backend_away();
    file.set_len(2 * SIZE).unwrap();
    let gone = bench.handle.resize(None);
    assert!(matches!(gone, Err(ResizeError::Gone)));
    assert_eq!(bench.told(), SIZE);
}
