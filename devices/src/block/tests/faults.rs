//! Disks and volumes on a host that fails now and then.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_WRITE_ZEROES,
};
use vm_memory::GuestMemoryMmap;
use volume::BLOCK;
use volume::entry::State;
use volume::fetch::{self, Answer, Request, Wish};
use volume::freeze::Purpose;
use volume::map::{self, BlockMap};
use volume::size::VolumeSize;

use super::faulty_disk::{Host, PAGE};
use super::held_disk::held_disk;
use super::volumes::{BLOCKS, SECTORS, Snapshot, Volume, byte_of};
use super::*;
use crate::block::disk::{Completion, Disk, Operation, OperationKind, Slot};
use crate::block::joint_flush_disk::JointFlushDisk;
use crate::block::mapped_disk::{MappedDisk, Mapping};
use crate::block::open::open_volume;
use crate::memory::Ram;
use crate::virtio::buffers::Buffers;

impl Volume {
    /// Attached on a host that may fail.
    fn attach_on(&self, host: &Host, loader: Option<OwnedFd>) -> Bench {
        let mapping = Mapping {
            map: self.file("map"),
            freezes: Vec::new(),
            loader,
        };
        let inner = Box::new(JointFlushDisk::new(host.disk()));
        let disk = MappedDisk::new(inner, self.file("data"), mapping).unwrap();
        Bench::new(vec![Box::new(disk)])
    }
}

/// Loads what is asked for, in a thread of its own, while it is `able`.
fn load(volume: &Volume, able: Arc<AtomicBool>) -> OwnedFd {
    let (snapshot, socket) = Snapshot::of(volume);
    thread::spawn(move || {
        let mut message = [0; fetch::SIZE];
        while let Ok((_, length @ 1..)) = recv(&snapshot.socket, &mut message, RecvFlags::empty()) {
            let request = Request::decode(&message[..length]).unwrap();
            if request.wish == Wish::Hurry {
                continue;
            }
            let block = request.block;
            let loaded = able.load(Ordering::SeqCst);
            if loaded {
                let bytes = vec![byte_of(block); usize::try_from(BLOCK).unwrap()];
                let offset = u64::from(block) * BLOCK;
                snapshot.data.write_all_at(&bytes, offset).unwrap();
            }
            let answer = Answer { block, loaded }.encode();
            // The volume may be gone by now.
            let _ = send(&snapshot.socket, &answer, SendFlags::NOSIGNAL);
        }
    });
    socket
}

/// What a driver does, in pages that are numbered from 0, with blocks of them.
#[derive(Clone, Debug)]
enum Step {
    Write(u64, u8),
    Read(u64),
    Zero(u64),
    Discard(u64),
    Flush,
    /// The next flush fails, and loses these pages.
    FailFlush(Vec<bool>),
    /// All but flushes fails from now on, or no more.
    Fail(bool),
    /// Blocks can be had, or no more.
    Load(bool),
}

/// Pages that are used: two in each of some blocks.
fn page() -> impl Strategy<Value = u64> {
    const PAGES: u64 = BLOCK / PAGE as u64;
    (0..4u64, 0..2u64).prop_map(|(block, half)| block * PAGES + half * 5)
}

fn step() -> impl Strategy<Value = Step> {
    let lost = prop::collection::vec(any::<bool>(), 1..4);
    prop_oneof![
        6 => (page(), 1..50u8).prop_map(|(page, byte)| Step::Write(page, byte)),
        4 => page().prop_map(Step::Read),
        1 => page().prop_map(Step::Zero),
        1 => page().prop_map(Step::Discard),
        4 => Just(Step::Flush),
        3 => lost.prop_map(Step::FailFlush),
        1 => any::<bool>().prop_map(Step::Fail),
        1 => any::<bool>().prop_map(Step::Load),
    ]
}

/// What a page may hold.
#[derive(Clone, Debug)]
struct Page {
    allowed: Vec<u8>,
    /// What the next flush that succeeds makes certain.
    fresh: Option<u8>,
}

/// What a driver knows of its disk.
struct Model(BTreeMap<u64, Page>);

impl Model {
    fn page(&mut self, page: u64) -> &mut Page {
        self.0.entry(page).or_insert_with(|| {
            let block = page * PAGE as u64 / BLOCK;
            Page {
                allowed: vec![byte_of(u32::try_from(block).unwrap())],
                fresh: None,
            }
        })
    }

    fn written(&mut self, page: u64, byte: u8, certain: bool) {
        let page = self.page(page);
        page.allowed.push(byte);
        page.fresh = certain.then_some(byte);
    }

    fn flushed(&mut self, succeeded: bool) {
        for page in self.0.values_mut() {
            if let Some(byte) = page.fresh.take().filter(|_| succeeded) {
                page.allowed = vec![byte];
            }
        }
    }

    /// Every sector of the page is as it may be.
    fn check(&mut self, page: u64, bytes: &[u8]) {
        let known = self.page(page);
        for sector in bytes.chunks(512) {
            let uniform = sector.iter().all(|byte| *byte == sector[0]);
            let allowed = known.allowed.contains(&sector[0]);
            assert!(
                uniform && allowed,
                "page {page} has {}: {known:?}",
                sector[0]
            );
        }
    }
}

/// Pages of a block.
const LOOKED_AT: [u64; 3] = [0, 5, 9];

const SECTORS_OF_PAGE: u64 = PAGE as u64 / 512;

fn act(bench: &mut Bench, host: &Host, able: &AtomicBool, model: &mut Model, step: Step) {
    let block_of = |page: u64| page * PAGE as u64 / BLOCK;
    let clear = |bench: &mut Bench, kind, page: u64| {
        bench.range(kind, block_of(page) * SECTORS, SECTORS) == OK
    };
    // Those that are looked at: the last is never written by itself.
    let pages = |page: u64| {
        let first = block_of(page) * (BLOCK / PAGE as u64);
        LOOKED_AT.map(|at| first + at)
    };
    match step {
        Step::Write(page, byte) => {
            let written = bench.write(page * SECTORS_OF_PAGE, &[byte; PAGE]);
            model.written(page, byte, written == OK);
        }
        Step::Read(page) => {
            let (status, bytes) = bench.read(page * SECTORS_OF_PAGE, 4096);
            if status == OK {
                model.check(page, &bytes);
            }
        }
        Step::Zero(page) => {
            let zeroed = clear(bench, VIRTIO_BLK_T_WRITE_ZEROES, page);
            for page in pages(page) {
                model.written(page, 0, zeroed);
            }
        }
        Step::Discard(page) => {
            clear(bench, VIRTIO_BLK_T_DISCARD, page);
            for page in pages(page) {
                model.written(page, 0, false);
            }
        }
        Step::Flush => {
            let flushed = bench.flush() == OK;
            model.flushed(flushed);
        }
        Step::FailFlush(lost) => host.fail_flush(lost),
        Step::Fail(fails) => host.fail(fails.then_some(libc::ENOSPC)),
        Step::Load(loads) => able.store(loads, Ordering::SeqCst),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the host fails and forgets: what a flush acknowledged is there,
    /// what the guest never wrote is as in the snapshot, and nothing else is
    /// ever read; before a power cut and after.
    #[test]
    fn nothing_acknowledged_is_lost_whatever_the_host_forgets(
        steps in prop::collection::vec(step(), 1..40),
        power_cut: bool,
    ) {
        let volume = Volume::new(State::Absent);
        let host = Host::new(volume.file("data"));
        let able = Arc::new(AtomicBool::new(true));
        let mut bench = volume.attach_on(&host, Some(load(&volume, Arc::clone(&able))));
        let mut model = Model(BTreeMap::new());
        for step in steps {
            act(&mut bench, &host, &able, &mut model, step);
        }
        if power_cut {
            // In which order a writer that goes closes its files is no matter.
            let (data, map) = (host.durable(), std::fs::read(volume.path("map")).unwrap());
            drop(bench);
            volume.file("data").write_all_at(&data, 0).unwrap();
            std::fs::write(volume.path("map"), map).unwrap();
        } else {
            drop(bench);
        }
        let host = Host::new(volume.file("data"));
        able.store(true, Ordering::SeqCst);
        let mut bench = volume.attach_on(&host, Some(load(&volume, able)));
        for block in 0..BLOCKS {
            for page in LOOKED_AT.map(|at| block * (BLOCK / PAGE as u64) + at) {
                let (status, bytes) = bench.read(page * SECTORS_OF_PAGE, 4096);
                assert_eq!(status, OK);
                model.check(page, &bytes);
            }
        }
        assert_eq!((bench.write(0, &[1; 512]), bench.flush()), (OK, OK), "it works again");
    }
}

/// One loading of a block must have one answer: whoever is at it after the
/// guest was told that it cannot be had would write over what the guest did
/// then.
#[test]
fn a_block_that_a_guest_waits_for_is_asked_for_once() {
    let volume = Volume::new(State::Absent);
    let (snapshot, socket) = Snapshot::of(&volume);
    let mut bench = volume.attach(EngineChoice::Sync, Some(socket));
    assert_eq!(snapshot.request().block, 0);
    assert_eq!(snapshot.request().block, 1);
    let (status, _) = bench.begin_read(0);
    let hurry = Request {
        block: 0,
        wish: Wish::Hurry,
    };
    assert_eq!(snapshot.request(), hurry);
    snapshot.answer(0, false);
    assert_eq!(bench.end(status), IOERR);
    assert_eq!(bench.range(VIRTIO_BLK_T_DISCARD, 0, SECTORS), OK);
    assert_eq!(bench.write(0, &[9; 512]), OK);
    // Nobody was asked: it is passed over.
    snapshot.answer(0, true);
    assert_eq!(bench.read(0, 1024).1, [[9; 512], [0; 512]].as_flattened());
}

#[test]
fn what_was_loaded_before_a_flush_that_failed_is_loaded_again() {
    let volume = Volume::new(State::Absent);
    let host = Host::new(volume.file("data"));
    let (snapshot, socket) = Snapshot::of(&volume);
    let mut bench = volume.attach_on(&host, Some(socket));
    let (status, _) = bench.begin_read(4 * SECTORS);
    assert_eq!(snapshot.urgent(), 4);
    snapshot.bring(4);
    assert_eq!(bench.end(status), OK);
    host.fail_flush(vec![true]);
    assert_eq!(bench.flush(), IOERR);
    let (status, data) = bench.begin_read(4 * SECTORS);
    assert_eq!(snapshot.urgent(), 4, "it is absent again");
    snapshot.bring(4);
    assert_eq!(bench.end(status), OK);
    assert_eq!(bench.driver.contents(data), vec![byte_of(4); 512]);
    assert_eq!((bench.flush(), volume.state(4)), (OK, State::Present));
}

#[test]
fn a_volume_becomes_complete_though_its_guest_never_flushes() {
    let volume = Volume::new(State::Absent);
    let (snapshot, socket) = Snapshot::of(&volume);
    let _bench = volume.attach(EngineChoice::IoUring, Some(socket));
    for _ in 0..BLOCKS {
        snapshot.bring(snapshot.request().block);
    }
    // A loader that is not needed any more is told so.
    let mut message = [0; fetch::SIZE];
    let (_, length) = recv(&snapshot.socket, &mut message, RecvFlags::empty()).unwrap();
    assert_eq!(length, 0);
    for block in 0..u32::try_from(BLOCKS).unwrap() {
        assert_eq!(volume.state(block), State::Present);
    }
}

#[test]
fn a_flush_of_its_own_that_failed_is_told_with_the_guests_next() {
    let volume = Volume::new(State::Absent);
    let host = Host::new(volume.file("data"));
    let able = Arc::new(AtomicBool::new(true));
    host.fail_flush(vec![true, false]);
    let mut bench = volume.attach_on(&host, Some(load(&volume, able)));
    while host.failed() == 0 {
        thread::yield_now();
    }
    assert_eq!(bench.flush(), IOERR);
    assert_eq!(bench.write(SECTORS, &[9; 512]), OK);
    assert_eq!(bench.flush(), OK);
    for block in 0..u32::try_from(BLOCKS).unwrap() {
        let sector = u64::from(block) * SECTORS + 1;
        assert_eq!(bench.read(sector, 512), (OK, vec![byte_of(block); 512]));
    }
}

/// A disk of eight blocks full of sevens, which a snapshot under way has not taken.
fn frozen(volume: &Volume) -> Box<dyn Disk> {
    let mut map = BlockMap::open(volume.file("map")).unwrap();
    (0..8).for_each(|block| map.touch(block).unwrap());
    map.close().unwrap();
    volume
        .file("data")
        .write_all_at(&vec![7; 4 << 20], 0)
        .unwrap();
    let mapping = Mapping {
        map: volume.file("map"),
        freezes: Vec::new(),
        loader: None,
    };
    let options = DiskOptions::default();
    let (mut disks, _) = open_volume(volume.file("data"), mapping, options).unwrap();
    let mut disk = disks.remove(0);
    let purpose = Purpose::Snapshot("snap-0000000000000000c".parse().unwrap());
    volume.plan_freeze("c", purpose, None);
    let unsaved = disk.freeze(volume.freeze_files("c")).unwrap();
    unsaved.save().unwrap();
    disk
}

fn zeroes(offset: u64, len: u64) -> Operation {
    Operation {
        kind: OperationKind::WriteZeroes { unmap: true },
        offset,
        len,
        data: Buffers::new(Ram::new(GuestMemoryMmap::new())),
    }
}

/// The next operation that is done.
fn finished(disk: &mut dyn Disk) -> Completion {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(done) = disk.next_completion() {
            return done;
        }
        assert!(Instant::now() < deadline);
        disk.wait(deadline);
        disk.start();
    }
}

#[test]
fn blocks_are_kept_for_a_snapshot_one_in_each_turn() {
    let volume = Volume::new(State::Zero);
    let mut disk = frozen(&volume);
    let kept = || {
        let kept = volume.file("kept-c");
        let is_kept = |block: &u64| {
            let mut byte = [0];
            kept.read_exact_at(&mut byte, block * BLOCK).unwrap();
            byte == [7]
        };
        (0..BLOCKS).filter(is_kept).count()
    };
    disk.submit(0, zeroes(0, SIZE));
    assert_eq!(kept(), 1, "in the turn in which it came");
    disk.start();
    assert_eq!(kept(), 2, "and in the next");
    finished(&mut *disk).result.unwrap();
    let mut bytes = vec![1; 4 << 20];
    volume.file("data").read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 0));
}

#[test]
fn who_waits_for_a_turn_has_it_before_those_that_come_later() {
    let volume = Volume::new(State::Zero);
    let mut disk = frozen(&volume);
    // One has its turn; the slots of those behind it are in no order.
    for (block, slot) in (0..).zip([10, 11, 9, 8, 5, 4]) {
        disk.submit(slot, zeroes(block * BLOCK, 512));
    }
    let order: Vec<Slot> = (0..6).map(|_| finished(&mut *disk).slot).collect();
    assert_eq!(order, [10, 11, 9, 8, 5, 4]);
    drop(disk);

    let volume = Volume::new(State::Zero);
    let mut disk = frozen(&volume);
    // One that needs more than there are turns for, and one that came later.
    disk.submit(9, zeroes(0, 6 * BLOCK));
    disk.submit(1, zeroes(7 * BLOCK, 512));
    disk.submit(0, zeroes(6 * BLOCK, 512));
    let order: Vec<Slot> = (0..3).map(|_| finished(&mut *disk).slot).collect();
    assert_eq!(order, [9, 1, 0]);
}

/// Whichever of two asks the kernel first hears of an error, and the other does
/// not.
#[test]
fn a_flush_that_fails_fails_those_that_came_since_it_began() {
    let (disks, control) = held_disk(8);
    let disk = disks.into_iter().next().unwrap();
    let mut bench = Bench::new(vec![Box::new(JointFlushDisk::new(disk))]);
    let flush = |bench: &mut Bench| bench.add(VIRTIO_BLK_T_FLUSH, 0, &[]).1;
    let first = [(); 3].map(|()| flush(&mut bench));
    bench.driver.kick(0);
    let (slot, ..) = control.next();
    assert!(control.arrivals.try_recv().is_err(), "one at a time");
    control.finish(&[slot], || Err(io::Error::from_raw_os_error(libc::EIO)));
    for _ in &first {
        bench.driver.wait(0);
    }
    let failed = first.map(|status| bench.driver.contents(status)[0]);
    assert_eq!(failed, [IOERR; 3]);

    let second = [(); 3].map(|()| flush(&mut bench));
    bench.driver.kick(0);
    let (slot, ..) = control.next();
    control.finish(&[slot], || Ok(()));
    let (slot, ..) = control.next();
    assert!(control.arrivals.try_recv().is_err(), "the others together");
    control.finish(&[slot], || Ok(()));
    for _ in &second {
        bench.driver.wait(0);
    }
    let done = second.map(|status| bench.driver.contents(status)[0]);
    assert_eq!(done, [OK; 3]);
}

/// The driver has not heard of the first when it asks for the second, which the
/// kernel would let pass.
#[test]
fn a_flush_that_comes_before_the_driver_knows_of_a_failure_fails_as_well() {
    let (disks, control) = held_disk(8);
    let inner = Box::new(JointFlushDisk::new(disks.into_iter().next().unwrap()));
    let [data, map_file] = [(); 2].map(|()| tempfile::tempfile().unwrap());
    let id = "vol-00000000000000001".parse().unwrap();
    let size = VolumeSize::new(inner.info().capacity).unwrap();
    map::create(&map_file, id, size, State::Zero).unwrap();
    let mapping = Mapping {
        map: map_file,
        freezes: Vec::new(),
        loader: None,
    };
    let mut disk = MappedDisk::new(inner, data, mapping).unwrap();
    let nothing = || Buffers::new(Ram::new(GuestMemoryMmap::new()));
    let read = Operation {
        kind: OperationKind::Read,
        offset: 0,
        len: 0,
        data: nothing(),
    };
    disk.submit(0, read);
    disk.submit(1, Operation::flush(nothing()));
    control.finish(&[1], || Err(io::Error::from_raw_os_error(libc::EIO)));
    assert!(disk.next_completion().is_none(), "something is in flight");
    disk.submit(2, Operation::flush(nothing()));
    control.finish(&[0], || Ok(()));
    let mut outcomes = [None; 3];
    while let Some(done) = disk.next_completion() {
        outcomes[done.slot] = Some(done.result.is_ok());
    }
    assert_eq!(outcomes, [Some(true), Some(false), Some(false)]);
}
