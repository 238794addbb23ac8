//! Disks whose operations wait while the host fails.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use virtio_bindings::virtio_blk::VIRTIO_BLK_T_FLUSH;
use volume::cipher::Cipher;
use volume::cipher::key::Key;
use volume::entry::State;

use super::faulty_disk::{Host, PAGE};
use super::held_disk::held_disk;
use super::volumes::{SECTORS, Snapshot, Volume};
use super::*;
use crate::block::id::DiskId;
use crate::block::joint_flush_disk::JointFlushDisk;
use crate::block::mapped_disk::{MappedDisk, Mapping};
use crate::block::open::encrypted;
use crate::clock::fake::FakeClock;
use crate::rate_limit::{Limit, Limits};

const SECOND: Duration = Duration::from_secs(1);

/// A disk that waits, on a host that may fail.
struct Patient {
    bench: Bench,
    host: Host,
    file: File,
    clock: FakeClock,
    /// How often the watcher was called.
    changes: Arc<AtomicUsize>,
}

/// A device that waits for `disks`, and the clock that it waits by.
fn patient(disks: Disks) -> (Bench, FakeClock) {
    let clocks = Mutex::new(Vec::new());
    let make_clock = || {
        let clock = FakeClock::new();
        clocks.lock().unwrap().push(clock.clone());
        Ok(clock)
    };
    let (reactors, handles) = reactors(1);
    let id = DiskId::default();
    let block = Block::with_clocks(disks, id, OnError::Wait, handles, make_clock).unwrap();
    let clock = clocks.lock().unwrap()[0].clone();
    (Bench::on_device(block, reactors, u64::MAX), clock)
}

impl Patient {
    fn new(key: Option<&Key>) -> Self {
        let file = patterned_file();
        let host = Host::new(file.try_clone().unwrap());
        let mut disks: Disks = vec![Box::new(JointFlushDisk::new(host.disk()))];
        if let Some(key) = key {
            disks = encrypted(disks, key).unwrap();
        }
        let (bench, clock) = patient(disks);
        let changes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&changes);
        bench.handle.waits().watch(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        Self {
            bench,
            host,
            file,
            clock,
            changes,
        }
    }

    /// Begins a write of a page. Returns where its status goes.
    fn begin_write(&mut self, sector: u64, byte: u8) -> Buffer {
        let data = self.bench.driver.readable(&[byte; PAGE]);
        let (_, status) = self.bench.add(VIRTIO_BLK_T_OUT, sector, &[data]);
        self.bench.driver.kick(0);
        status
    }

    fn end(&mut self, status: Buffer) -> u8 {
        self.bench.driver.wait(0);
        self.bench.driver.contents(status)[0]
    }

    /// Waits until `count` operations wait.
    fn until_waiting(&self, count: u64) {
        let waits = self.bench.handle.waits();
        while waits.operations() != count {
            std::thread::yield_now();
        }
    }
}

#[test]
fn what_the_host_fails_is_tried_again_until_it_succeeds() {
    let mut disk = Patient::new(None);
    disk.host.fail(Some(libc::ENOSPC));
    let status = disk.begin_write(8, 7);
    disk.until_waiting(1);
    let reason = disk.bench.handle.waits().reason().unwrap();
    assert!(reason.contains("No space left"), "{reason}");
    let failed = disk.host.failed();
    disk.clock.ring_after(SECOND);
    while disk.host.failed() == failed {
        std::thread::yield_now();
    }
    assert!(disk.bench.driver.used(0).is_none());
    disk.host.fail(None);
    disk.clock.ring_after(SECOND);
    assert_eq!(disk.end(status), OK);
    assert_eq!(disk.bench.handle.waits().reason(), None);
    assert_eq!(
        disk.changes.load(Ordering::SeqCst),
        2,
        "it waits, it goes on"
    );
    assert_eq!(disk.bench.handle.waits().held.get(), 1);
    assert_eq!(disk.bench.counters.disk_errors.get(), 0);
    let mut bytes = [0; PAGE];
    disk.file.read_exact_at(&mut bytes, 4096).unwrap();
    assert_eq!(bytes, [7; PAGE], "all of it, from its beginning");
}

#[test]
fn others_pass_by_what_waits_and_reads_wait_as_well() {
    let mut disk = Patient::new(None);
    disk.host.fail(Some(libc::EIO));
    let write = disk.begin_write(8, 7);
    disk.until_waiting(1);
    let data = disk.bench.driver.writable(512);
    let (_, read) = disk.bench.add(VIRTIO_BLK_T_IN, 3, &[data]);
    disk.bench.driver.kick(0);
    disk.until_waiting(2);
    disk.host.fail(None);
    assert_eq!(disk.bench.write(64, &[9; 512]), OK);
    disk.clock.ring_after(SECOND);
    assert_eq!(disk.end(write), OK);
    while disk.bench.handle.waits().operations() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(disk.end(read), OK);
    assert_eq!(disk.bench.driver.contents(data), pattern(3, 512));
}

#[test]
fn encrypted_data_is_encrypted_again() {
    let key = Key::random().unwrap();
    let mut disk = Patient::new(Some(&key));
    disk.host.fail(Some(libc::ENOSPC));
    let status = disk.begin_write(8, 7);
    disk.until_waiting(1);
    disk.host.fail(None);
    disk.clock.ring_after(SECOND);
    assert_eq!(disk.end(status), OK);
    assert_eq!(disk.bench.read(8, 4096), (OK, vec![7; PAGE]));
}

/// Parts of an operation are done in any order, and some may not have begun.
#[test]
fn a_large_encrypted_operation_waits_as_a_whole() {
    const LEN: usize = 1 << 20;
    let key = Key::random().unwrap();
    let (disks, control) = held_disk(6);
    let (mut bench, clock) = patient(encrypted(disks, &key).unwrap());
    let sectors: Vec<[u8; 512]> = (0..=255)
        .cycle()
        .take(LEN / 512)
        .map(|n| [n; 512])
        .collect();
    let data = bench.driver.readable(sectors.as_flattened());
    let (_, status) = bench.add(VIRTIO_BLK_T_OUT, 0, &[data]);
    bench.driver.kick(0);
    // Of four parts, three find memory.
    let parts: Vec<_> = (0..3).map(|_| control.next()).collect();
    let full = || Err(io::Error::from_raw_os_error(libc::ENOSPC));
    for part in [1, 2, 0] {
        control.finish(&[parts[part].0], full);
    }
    while bench.handle.waits().operations() == 0 {
        std::thread::yield_now();
    }
    control.shared.state.lock().unwrap().written.clear();
    clock.ring_after(SECOND);
    let mut offsets = Vec::new();
    for _ in 0..4 {
        let (slot, _, offset) = control.next();
        offsets.push(offset);
        control.finish(&[slot], || Ok(()));
    }
    bench.driver.wait(0);
    assert_eq!(bench.driver.contents(status), [OK]);
    let mut expected = sectors;
    Cipher::new(&key).encrypt(0, &mut expected);
    let written = std::mem::take(&mut control.shared.state.lock().unwrap().written);
    let mut written: Vec<_> = offsets.into_iter().zip(written).collect();
    written.sort();
    let written: Vec<_> = written.into_iter().map(|(_, part)| part).collect();
    assert!(written.concat() == expected.as_flattened());
}

#[test]
fn a_flush_that_failed_is_not_tried_again() {
    let mut disk = Patient::new(None);
    assert_eq!(disk.bench.write(8, &[7; PAGE]), OK);
    disk.host.fail_flush(vec![true]);
    assert_eq!(disk.bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]).0, IOERR);
    assert_eq!(disk.bench.handle.waits().held.get(), 0);
    assert_eq!(disk.bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]).0, OK);
}

#[test]
fn a_drivers_mistake_is_answered_at_once() {
    let mut disk = Patient::new(None);
    assert_eq!(disk.bench.write(SIZE / 512, &[7; 512]), IOERR);
    assert_eq!(disk.bench.handle.waits().held.get(), 0);
}

#[test]
fn what_waits_goes_on_waiting_through_a_pause() {
    let mut disk = Patient::new(None);
    disk.host.fail(Some(libc::ENOSPC));
    let status = disk.begin_write(8, 7);
    disk.until_waiting(1);
    disk.bench.driver.transport.pause().unwrap();
    assert!(disk.bench.driver.used(0).is_none());
    disk.bench.driver.transport.resume();
    // Others pass by it.
    disk.host.fail(None);
    assert_eq!(disk.bench.write(32, &[1; PAGE]), OK);
    assert_eq!(disk.bench.handle.waits().operations(), 1);
    disk.clock.ring_after(SECOND);
    assert_eq!(disk.end(status), OK);
    let mut bytes = [0; PAGE];
    disk.file.read_exact_at(&mut bytes, 4096).unwrap();
    assert_eq!(bytes, [7; PAGE]);
}

/// What a limit held back is let through by a pause, and may wait in its turn.
#[test]
fn a_limit_does_not_have_a_pause_fail_what_waits() {
    let volume = Volume::new(State::Absent);
    let host = Host::new(volume.file("data"));
    let (snapshot, socket) = Snapshot::of(&volume);
    let mapping = Mapping {
        map: volume.file("map"),
        freezes: Vec::new(),
        loader: Some(socket),
    };
    let inner = Box::new(JointFlushDisk::new(host.disk()));
    let disk = MappedDisk::new(inner, volume.file("data"), mapping).unwrap();
    let (mut bench, _clock) = patient(vec![Box::new(disk)]);
    let (status, _) = bench.begin_read(0);
    assert_eq!(snapshot.urgent(), 0);
    snapshot.bring(0);
    assert_eq!(bench.end(status), OK);
    host.fail(Some(libc::ENOSPC));
    let data = bench.driver.readable(&[7; PAGE]);
    bench.add(VIRTIO_BLK_T_OUT, 0, &[data]);
    bench.driver.kick(0);
    while bench.handle.waits().operations() == 0 {
        std::thread::yield_now();
    }
    let limit = Limit::per_second(1).unwrap().with_burst(1).unwrap();
    let limits = Limits::new(Some(limit), None);
    bench.handle.limiter().set_at(limits, 1);
    for block in [3, 4] {
        let data = bench.driver.writable(512);
        bench.add(VIRTIO_BLK_T_IN, block * SECTORS, &[data]);
    }
    bench.driver.kick(0);
    // In the turn in which the other is held back.
    assert_eq!(snapshot.urgent(), 3);
    bench.driver.transport.pause().unwrap();
    assert!(bench.driver.used(0).is_none());
    assert_eq!(bench.handle.waits().operations(), 1);
}

#[test]
fn what_waits_is_forgotten_with_its_driver() {
    let mut disk = Patient::new(None);
    disk.host.fail(Some(libc::ENOSPC));
    let status = disk.begin_write(8, 7);
    disk.until_waiting(1);
    disk.bench.driver.start(u64::MAX);
    assert_eq!(disk.bench.handle.waits().operations(), 0);
    assert_ne!(disk.bench.driver.contents(status)[0], OK);
    // The next is as well off, and has all slots.
    for _ in 0..2 {
        let status = disk.begin_write(8, 7);
        disk.until_waiting(1);
        disk.host.fail(None);
        disk.clock.ring_after(SECOND);
        assert_eq!(disk.end(status), OK);
        disk.host.fail(Some(libc::ENOSPC));
    }
}

#[test]
fn what_waits_fails_when_the_disk_is_taken_away() {
    let mut disk = Patient::new(None);
    disk.host.fail(Some(libc::ENOSPC));
    let status = disk.begin_write(8, 7);
    disk.until_waiting(1);
    disk.bench.driver.take_backend_away();
    assert_eq!(disk.end(status), IOERR);
    assert_eq!(disk.bench.write(8, &[7; PAGE]), IOERR);
    assert_eq!(disk.bench.handle.waits().operations(), 0);
}
