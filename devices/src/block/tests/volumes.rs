//! A volume as its driver sees it: with blocks that are still in a snapshot, and
//! while snapshots are taken of it. The tests themselves are the loader.

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use tempfile::TempDir;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_WRITE_ZEROES,
};
use volume::BLOCK;
use volume::entry::{Entry, Generation, State};
use volume::fetch::{self, Answer, Request, Wish};
use volume::freeze::{self, FreezeError, Plan, Purpose, Share};
use volume::frozen::{Content, FrozenView};
use volume::id::SnapshotId;
use volume::map::{self, BlockMap};
use volume::size::VolumeSize;

use super::*;
use crate::block::error::BlockError;
use crate::block::mapped_disk::{FreezeFiles, Mapping, MappingError};
use crate::block::open::open_volume;

pub(super) const BLOCKS: u64 = SIZE / BLOCK;
pub(super) const SECTORS: u64 = BLOCK / 512;

/// The files of a volume.
pub(super) struct Volume {
    directory: TempDir,
}

impl Volume {
    pub(super) fn new(fresh: State) -> Self {
        let program = std::env::current_exe().unwrap();
        let directory = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        let volume = Self { directory };
        volume.file("data").set_len(SIZE).unwrap();
        let size = VolumeSize::new(SIZE).unwrap();
        let id = "vol-00000000000000001".parse().unwrap();
        map::create(&volume.file("map"), id, size, fresh).unwrap();
        volume
    }

    pub(super) fn file(&self, name: &str) -> File {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true);
        options.open(self.path(name)).unwrap()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes the files of a freeze whose moment is to come.
    pub(super) fn plan_freeze(
        &self,
        name: &str,
        purpose: Purpose,
        parent: Option<(SnapshotId, Generation)>,
    ) {
        let plan = Plan {
            purpose,
            volume: "vol-00000000000000001".parse().unwrap(),
            created: 1,
            boot: [0; 16],
            parent,
        };
        freeze::plan(&self.file(&format!("freeze-{name}")), &plan).unwrap();
    }

    pub(super) fn freeze_files(&self, name: &str) -> FreezeFiles {
        FreezeFiles {
            freeze: self.file(&format!("freeze-{name}")),
            kept: self.file(&format!("kept-{name}")),
        }
    }

    /// Attached to a driver, with a loader's end if there is to be one.
    pub(super) fn attach(&self, engine: EngineChoice, loader: Option<OwnedFd>) -> Bench {
        self.attach_frozen(engine, loader, Vec::new())
    }

    /// The same, with freezes that are under way.
    fn attach_frozen(
        &self,
        engine: EngineChoice,
        loader: Option<OwnedFd>,
        freezes: Vec<FreezeFiles>,
    ) -> Bench {
        let mapping = Mapping {
            map: self.file("map"),
            freezes,
            loader,
        };
        let options = DiskOptions {
            engine,
            ..DiskOptions::default()
        };
        let (disks, _) = open_volume(self.file("data"), mapping, options).unwrap();
        Bench::new(disks)
    }

    /// As it is found by who opens it next.
    pub(super) fn state(&self, block: u32) -> State {
        self.entry(block).state
    }

    pub(super) fn entry(&self, block: u32) -> Entry {
        let mut map = BlockMap::read(self.file("map")).unwrap();
        map.get(block).unwrap()
    }
}

/// The loader's side, by hand.
pub(super) struct Snapshot {
    pub(super) socket: OwnedFd,
    pub(super) data: File,
}

impl Snapshot {
    pub(super) fn of(volume: &Volume) -> (Self, OwnedFd) {
        let (near, far) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let data = volume.file("data");
        (Self { socket: near, data }, far)
    }

    /// The next block that is asked for because a guest waits.
    pub(super) fn urgent(&self) -> u32 {
        loop {
            let request = self.request();
            if request.wish != Wish::Load {
                return request.block;
            }
        }
    }

    pub(super) fn request(&self) -> Request {
        let mut message = [0; fetch::SIZE];
        let (_, length) = recv(&self.socket, &mut message, RecvFlags::empty()).unwrap();
        Request::decode(&message[..length]).expect("the disk goes on asking")
    }

    /// A snapshot's block is full of its number, and 100.
    pub(super) fn bring(&self, block: u32) {
        let bytes = vec![byte_of(block); usize::try_from(BLOCK).unwrap()];
        let offset = u64::from(block) * BLOCK;
        self.data.write_all_at(&bytes, offset).unwrap();
        self.answer(block, true);
    }

    pub(super) fn answer(&self, block: u32, loaded: bool) {
        let answer = Answer { block, loaded };
        send(&self.socket, &answer.encode(), SendFlags::empty()).unwrap();
    }
}

pub(super) fn byte_of(block: u32) -> u8 {
    100 + u8::try_from(block).unwrap()
}

impl Bench {
    pub(super) fn range(&mut self, kind: u32, sector: u64, sectors: u64) -> u8 {
        let mut range = Vec::from(sector.to_le_bytes());
        range.extend(u32::try_from(sectors).unwrap().to_le_bytes());
        range.extend([0; 4]);
        let data = self.driver.readable(&range);
        self.request(kind, 0, &[data]).0
    }

    pub(super) fn flush(&mut self) -> u8 {
        self.request(VIRTIO_BLK_T_FLUSH, 0, &[]).0
    }

    /// Begins a read of a sector. Returns where its status and data go.
    pub(super) fn begin_read(&mut self, sector: u64) -> (Buffer, Buffer) {
        let data = self.driver.writable(512);
        let (_, status) = self.add(VIRTIO_BLK_T_IN, sector, &[data]);
        self.driver.kick(0);
        (status, data)
    }

    pub(super) fn begin_write(&mut self, sector: u64, byte: u8) -> Buffer {
        let data = self.driver.readable(&[byte; 512]);
        let (_, status) = self.add(VIRTIO_BLK_T_OUT, sector, &[data]);
        self.driver.kick(0);
        status
    }

    pub(super) fn end(&mut self, status: Buffer) -> u8 {
        self.driver.wait(0);
        self.driver.contents(status)[0]
    }
}

#[test]
fn a_blank_volume_is_a_disk_of_zeroes_that_keeps_what_is_written() {
    for engine in ENGINES {
        let volume = Volume::new(State::Zero);
        let mut bench = volume.attach(engine, None);
        assert_eq!(bench.read(5, 512), (OK, vec![0; 512]));
        assert_eq!(bench.write(SECTORS + 1, &[7; 1024]), OK);
        assert_eq!(bench.flush(), OK);
        assert_eq!(bench.read(SECTORS + 1, 1024), (OK, vec![7; 1024]));
        drop(bench);
        assert_eq!(volume.state(0), State::Zero);
        assert_eq!(volume.entry(1).generation.number(), 1);
        let mut again = volume.attach(engine, None);
        assert_eq!(again.read(SECTORS + 2, 512), (OK, vec![7; 512]));
    }
}

#[test]
fn a_block_is_loaded_when_it_is_first_read() {
    for engine in ENGINES {
        let volume = Volume::new(State::Absent);
        let (snapshot, socket) = Snapshot::of(&volume);
        let mut bench = volume.attach(engine, Some(socket));
        let (status, data) = bench.begin_read(4 * SECTORS + 9);
        assert_eq!(snapshot.urgent(), 4);
        assert!(bench.driver.used(0).is_none(), "it waits");
        snapshot.bring(4);
        assert_eq!(bench.end(status), OK);
        assert_eq!(bench.driver.contents(data), vec![byte_of(4); 512]);
        assert_eq!(bench.read(5 * SECTORS - 1, 512).1, vec![byte_of(4); 512]);
    }
}

#[test]
fn what_waits_for_its_block_does_so_while_the_volume_is_frozen() {
    for engine in ENGINES {
        let volume = Volume::new(State::Absent);
        let (snapshot, socket) = Snapshot::of(&volume);
        let mut bench = volume.attach(engine, Some(socket));
        let (status, data) = bench.begin_read(4 * SECTORS + 9);
        assert_eq!(snapshot.urgent(), 4);
        let mut view = freeze(&volume, &mut bench);
        assert!(bench.driver.used(0).is_none(), "it waits");
        snapshot.bring(4);
        assert_eq!(bench.end(status), OK);
        assert_eq!(bench.driver.contents(data), vec![byte_of(4); 512]);
        let mut block = vec![0; usize::try_from(BLOCK).unwrap()];
        assert_eq!(view.read(4, &mut block).unwrap(), Content::Parent);
    }
}

#[test]
fn a_write_to_a_part_of_a_block_leaves_the_rest_as_in_the_snapshot() {
    for engine in ENGINES {
        let volume = Volume::new(State::Absent);
        let (snapshot, socket) = Snapshot::of(&volume);
        let mut bench = volume.attach(engine, Some(socket));
        let status = bench.begin_write(3 * SECTORS + 1, 9);
        assert_eq!(snapshot.urgent(), 3);
        snapshot.bring(3);
        assert_eq!(bench.end(status), OK);
        let (_, bytes) = bench.read(3 * SECTORS, 1536);
        let expected = [[byte_of(3); 512], [9; 512], [byte_of(3); 512]];
        assert_eq!(bytes, expected.as_flattened());
    }
}

#[test]
fn what_was_loaded_is_durable_with_the_next_flush_and_not_before() {
    for engine in ENGINES {
        let volume = Volume::new(State::Absent);
        let (snapshot, socket) = Snapshot::of(&volume);
        let mut bench = volume.attach(engine, Some(socket));
        let status = bench.begin_write(2 * SECTORS, 9);
        assert_eq!(snapshot.urgent(), 2);
        snapshot.bring(2);
        assert_eq!(bench.end(status), OK);
        assert_eq!(volume.state(2), State::Absent);
        assert_eq!(bench.flush(), OK);
        assert_eq!(volume.state(2), State::Present);
    }
}

#[test]
fn whole_blocks_that_are_discarded_are_not_loaded() {
    for engine in ENGINES {
        for kind in [VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES] {
            let volume = Volume::new(State::Absent);
            let (snapshot, socket) = Snapshot::of(&volume);
            let mut bench = volume.attach(engine, Some(socket));
            // Blocks that nobody waits for are asked for as soon as it runs.
            assert_eq!((snapshot.request().block, snapshot.request().block), (0, 1));
            assert_eq!(bench.range(kind, 3 * SECTORS, 2 * SECTORS), OK);
            assert_eq!(bench.read(4 * SECTORS, 512), (OK, vec![0; 512]));
            assert_eq!(bench.flush(), OK);
            assert_eq!([volume.state(3), volume.state(4)], [State::Zero; 2]);
            assert_eq!(volume.state(5), State::Absent);
        }
    }
}

#[test]
fn all_blocks_are_loaded_though_nobody_reads_them() {
    for engine in ENGINES {
        let volume = Volume::new(State::Absent);
        let (snapshot, socket) = Snapshot::of(&volume);
        let mut bench = volume.attach(engine, Some(socket));
        for _ in 0..BLOCKS {
            let request = snapshot.request();
            assert_eq!(request.wish, Wish::Load);
            snapshot.bring(request.block);
        }
        for block in 0..u32::try_from(BLOCKS).unwrap() {
            let sector = u64::from(block) * SECTORS;
            assert_eq!(bench.read(sector, 512), (OK, vec![byte_of(block); 512]));
        }
        assert_eq!(bench.flush(), OK);
        drop(bench);
        let mut map = BlockMap::read(volume.file("map")).unwrap();
        assert_eq!(map.absent_in(0..8).unwrap(), None);
        let mut again = volume.attach(engine, None);
        assert_eq!(again.read(0, 512), (OK, vec![byte_of(0); 512]));
    }
}

#[test]
fn a_block_that_cannot_be_had_is_an_error_for_who_needs_it() {
    for engine in ENGINES {
        let volume = Volume::new(State::Absent);
        let (snapshot, socket) = Snapshot::of(&volume);
        let mut bench = volume.attach(engine, Some(socket));
        let (status, _) = bench.begin_read(6 * SECTORS);
        assert_eq!(snapshot.urgent(), 6);
        snapshot.answer(6, false);
        assert_eq!(bench.end(status), IOERR);
        let (status, data) = bench.begin_read(7 * SECTORS);
        assert_eq!(snapshot.urgent(), 7);
        snapshot.bring(7);
        assert_eq!(bench.end(status), OK);
        assert_eq!(bench.driver.contents(data), vec![byte_of(7); 512]);
        let (status, _) = bench.begin_read(6 * SECTORS);
        assert_eq!(snapshot.urgent(), 6, "it is tried again");
        snapshot.bring(6);
        assert_eq!(bench.end(status), OK);
    }
}

#[test]
fn a_loader_that_ends_leaves_what_it_brought() {
    for engine in ENGINES {
        let volume = Volume::new(State::Absent);
        let (snapshot, socket) = Snapshot::of(&volume);
        let mut bench = volume.attach(engine, Some(socket));
        let (status, _) = bench.begin_read(6 * SECTORS);
        assert_eq!(snapshot.urgent(), 6);
        snapshot.bring(6);
        assert_eq!(bench.end(status), OK);
        let (status, _) = bench.begin_read(7 * SECTORS);
        assert_eq!(snapshot.urgent(), 7);
        drop(snapshot);
        assert_eq!(bench.end(status), IOERR);
        assert_eq!(bench.read(6 * SECTORS, 512), (OK, vec![byte_of(6); 512]));
        assert_eq!(bench.read(7 * SECTORS, 512).0, IOERR);
    }
}

#[test]
fn a_hostile_loader_changes_nothing() {
    for engine in ENGINES {
        let volume = Volume::new(State::Absent);
        let (snapshot, socket) = Snapshot::of(&volume);
        let mut bench = volume.attach(engine, Some(socket));
        for message in [&[][..], &[1], &[0xff; 8], &[0; 100]] {
            // One without bytes would be the end.
            if !message.is_empty() {
                send(&snapshot.socket, message, SendFlags::empty()).unwrap();
            }
        }
        snapshot.answer(u32::MAX, true);
        snapshot.answer(5, true);
        let (status, _) = bench.begin_read(5 * SECTORS);
        assert_eq!(snapshot.urgent(), 5, "nobody had asked for it");
        snapshot.bring(5);
        assert_eq!(bench.end(status), OK);
    }
}

#[test]
fn a_volume_is_frozen_at_rest_and_goes_on() {
    for engine in ENGINES {
        let volume = Volume::new(State::Zero);
        let mut bench = volume.attach(engine, None);
        assert_eq!(bench.write(SECTORS, &[1; 512]), OK);
        let purpose = Purpose::Snapshot("snap-0000000000000000a".parse().unwrap());
        volume.plan_freeze("a", purpose, None);
        let running = bench.handle.freeze(volume.freeze_files("a"));
        assert!(matches!(running, Err(FreezeError::NotAVolume)));
        bench.driver.transport.pause().unwrap();
        let unsaved = bench.handle.freeze(volume.freeze_files("a")).unwrap();
        unsaved.save().unwrap();
        bench.driver.transport.resume();
        assert_eq!(bench.write(SECTORS, &[2; 512]), OK);
        assert_eq!(bench.write(2 * SECTORS, &[2; 512]), OK);

        let files = volume.freeze_files("a");
        let (map, data) = (volume.file("map"), volume.file("data"));
        let mut view = FrozenView::open(map, data, files.freeze, files.kept).unwrap();
        let mut block = vec![0; usize::try_from(BLOCK).unwrap()];
        assert_eq!(view.read(1, &mut block).unwrap(), Content::Data);
        assert_eq!(block[..512], [1; 512]);
        assert_eq!(view.read(2, &mut block).unwrap(), Content::Zero);
        assert_eq!(bench.read(SECTORS, 512).1, vec![2; 512]);
    }
}

/// A freeze of a volume at rest.
fn freeze(volume: &Volume, bench: &mut Bench) -> FrozenView {
    let purpose = Purpose::Snapshot("snap-0000000000000000b".parse().unwrap());
    let parent = "snap-0000000000000000a".parse().unwrap();
    volume.plan_freeze("b", purpose, Some((parent, Generation::ORIGIN)));
    bench.driver.transport.pause().unwrap();
    let unsaved = bench.handle.freeze(volume.freeze_files("b")).unwrap();
    unsaved.save().unwrap();
    bench.driver.transport.resume();
    let files = volume.freeze_files("b");
    let (map, data) = (volume.file("map"), volume.file("data"));
    FrozenView::open(map, data, files.freeze, files.kept).unwrap()
}

#[test]
fn what_is_written_where_a_block_was_discarded_is_in_the_snapshot() {
    for engine in ENGINES {
        let volume = Volume::new(State::Absent);
        let (_snapshot, socket) = Snapshot::of(&volume);
        let mut bench = volume.attach(engine, Some(socket));
        assert_eq!(
            bench.range(VIRTIO_BLK_T_DISCARD, 3 * SECTORS, 2 * SECTORS),
            OK
        );
        assert_eq!(bench.write(3 * SECTORS, &[7; 512]), OK);
        let mut view = freeze(&volume, &mut bench);
        assert_eq!(view.share(3).unwrap(), Share::Data);
        assert_eq!(view.share(4).unwrap(), Share::Zero);
        assert_eq!(view.share(5).unwrap(), Share::Parent);
    }
}

#[test]
fn what_is_added_to_a_loaded_volume_is_in_its_snapshots() {
    for engine in ENGINES {
        let volume = Volume::new(State::Absent);
        let (snapshot, socket) = Snapshot::of(&volume);
        let mut bench = volume.attach(engine, Some(socket));
        for _ in 0..BLOCKS {
            snapshot.bring(snapshot.request().block);
        }
        for block in 0..BLOCKS {
            assert_eq!(bench.read(block * SECTORS, 512).0, OK);
        }
        assert_eq!(bench.flush(), OK);
        drop(bench);
        let mut bench = volume.attach(engine, None);
        volume.file("data").set_len(2 * SIZE).unwrap();
        bench.handle.resize(None).unwrap();
        assert_eq!(bench.write(9 * SECTORS, &[7; 512]), OK);
        let mut view = freeze(&volume, &mut bench);
        assert_eq!(view.share(9).unwrap(), Share::Data);
    }
}

#[test]
fn a_discard_costs_no_copies_while_a_snapshot_is_under_way() {
    for engine in ENGINES {
        let volume = Volume::new(State::Zero);
        let mut bench = volume.attach(engine, None);
        assert_eq!(bench.write(SECTORS, &[7; 512]), OK);
        let mut view = freeze(&volume, &mut bench);
        assert_eq!(bench.range(VIRTIO_BLK_T_DISCARD, SECTORS, SECTORS), OK);
        assert_eq!(bench.read(SECTORS, 512), (OK, vec![7; 512]));
        assert_eq!(view.share(1).unwrap(), Share::Data);
        let zeroes = bench.range(VIRTIO_BLK_T_WRITE_ZEROES, SECTORS, SECTORS);
        assert_eq!((zeroes, bench.read(SECTORS, 512)), (OK, (OK, vec![0; 512])));
        let mut block = vec![0; usize::try_from(BLOCK).unwrap()];
        assert_eq!(view.read(1, &mut block).unwrap(), Content::Data);
        assert_eq!(block[..512], [7; 512]);
    }
}

#[test]
fn a_write_fails_rather_than_that_a_copy_of_the_volume_loses_what_it_overwrites() {
    for engine in ENGINES {
        let volume = Volume::new(State::Zero);
        let mut bench = volume.attach(engine, None);
        assert_eq!(bench.write(SECTORS, &[1; 512]), OK);
        let purpose = Purpose::Copy("vol-00000000000000002".parse().unwrap());
        volume.plan_freeze("c", purpose, None);
        bench.driver.transport.pause().unwrap();
        let unsaved = bench.handle.freeze(volume.freeze_files("c")).unwrap();
        unsaved.save().unwrap();
        drop(bench);

        // Opened for reading, it takes nothing.
        let mut files = volume.freeze_files("c");
        files.kept = File::open(volume.directory.path().join("kept-c")).unwrap();
        let mut bench = volume.attach_frozen(engine, None, vec![files]);
        assert_eq!(bench.write(SECTORS, &[2; 512]), IOERR);
        assert_eq!(bench.read(SECTORS, 512), (OK, vec![1; 512]));
        // What was zeroes need not be kept.
        assert_eq!(bench.write(2 * SECTORS, &[2; 512]), OK);
        drop(bench);

        let mut bench = volume.attach_frozen(engine, None, vec![volume.freeze_files("c")]);
        assert_eq!(bench.write(SECTORS, &[3; 512]), OK);
        let files = volume.freeze_files("c");
        let (map, data) = (volume.file("map"), volume.file("data"));
        let mut view = FrozenView::open(map, data, files.freeze, files.kept).unwrap();
        let mut block = vec![0; usize::try_from(BLOCK).unwrap()];
        assert_eq!(view.read(1, &mut block).unwrap(), Content::Data);
        assert_eq!(block[..512], [1; 512]);
        assert_eq!(view.read(2, &mut block).unwrap(), Content::Zero);
    }
}

#[test]
fn a_plain_disk_cannot_be_frozen() {
    let volume = Volume::new(State::Zero);
    let bench = Bench::on(&patterned_file(), EngineChoice::Sync);
    let frozen = bench.handle.freeze(volume.freeze_files("a"));
    assert!(matches!(frozen, Err(FreezeError::NotAVolume)));
}

#[test]
fn a_volume_grows_under_its_driver() {
    for engine in ENGINES {
        let volume = Volume::new(State::Zero);
        let mut bench = volume.attach(engine, None);
        volume.file("data").set_len(2 * SIZE).unwrap();
        bench.handle.resize(None).unwrap();
        let last = 2 * SIZE / 512 - 1;
        assert_eq!(bench.write(last, &[3; 512]), OK);
        drop(bench);
        assert_eq!(volume.state(15), State::Present);

        // Also if nobody writes there.
        let bench = volume.attach(engine, None);
        volume.file("data").set_len(3 * SIZE).unwrap();
        bench.handle.resize(None).unwrap();
        drop(bench);
        let map = BlockMap::read(volume.file("map")).unwrap();
        assert_eq!(map.header().size.bytes(), 3 * SIZE);
    }
}

#[test]
fn files_that_are_no_volume_are_refused() {
    let open = |volume: &Volume, queues| {
        let mapping = Mapping {
            map: volume.file("map"),
            freezes: Vec::new(),
            loader: None,
        };
        let options = DiskOptions {
            queues: QueueCount::new(queues).unwrap(),
            ..DiskOptions::default()
        };
        open_volume(volume.file("data"), mapping, options).err()
    };
    let volume = Volume::new(State::Zero);
    assert!(matches!(open(&volume, 2), Some(BlockError::OneQueue(2))));
    volume.file("data").set_len(SIZE / 2).unwrap();
    let refused = open(&volume, 1);
    let short = matches!(
        refused,
        Some(BlockError::Volume(MappingError::Short { .. }))
    );
    assert!(short, "{refused:?}");
    volume.file("map").set_len(0).unwrap();
    let refused = open(&volume, 1);
    let none = matches!(refused, Some(BlockError::Volume(MappingError::Map(_))));
    assert!(none, "{refused:?}");
}

/// A volume and what a device on it stands on.
type Standing = (Block, (Vec<Reactor>, Volume));

fn make() -> Standing {
    let volume = Volume::new(State::Zero);
    let mapping = Mapping {
        map: volume.file("map"),
        freezes: Vec::new(),
        loader: None,
    };
    let options = DiskOptions::default();
    let (disks, _) = open_volume(volume.file("data"), mapping, options).unwrap();
    let (block, reactors) = device(disks);
    (block, (reactors, volume))
}

device_contract!(make, queues: [0]);
