//! Encrypted disks: a driver sees a disk like any other, its file shows
//! nothing of it.

use std::io;

use proptest::prelude::*;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_WRITE_ZEROES,
    VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
};
use volume::cipher::Cipher;
use volume::cipher::key::Key;

use super::direct::{file_reader, shifted};
use super::held_disk::held_disk;
use super::requests::range;
use super::*;
use crate::block::disk::{Operation, OperationKind};
use crate::block::open::encrypted;
use crate::memory::Ram;
use crate::virtio::buffers::Buffers;
use crate::virtio::fake_driver::MEMORY;

/// Every way to reach a file.
const WAYS: [(EngineChoice, bool); 4] = [
    (EngineChoice::IoUring, false),
    (EngineChoice::IoUring, true),
    (EngineChoice::Sync, false),
    (EngineChoice::Sync, true),
];

fn key() -> Key {
    Key::new(&std::array::from_fn(|at| u8::try_from(at).unwrap())).unwrap()
}

fn cipher() -> Cipher {
    Cipher::new(&key())
}

/// A file of holes.
fn blank_file() -> File {
    let program = std::env::current_exe().unwrap();
    let file = tempfile::tempfile_in(program.parent().unwrap()).unwrap();
    file.set_len(SIZE).unwrap();
    file
}

fn encrypted_disks(file: &File, (engine, direct): (EngineChoice, bool)) -> Disks {
    let options = DiskOptions {
        engine,
        direct,
        ..DiskOptions::default()
    };
    let (disks, _) = open_disk(file.try_clone().unwrap(), options).unwrap();
    encrypted(disks, &key()).unwrap()
}

fn encrypted_on(file: &File, way: (EngineChoice, bool)) -> Bench {
    Bench::new(encrypted_disks(file, way))
}

/// What the file has at `sector`, as it is.
fn stored(file: &File, sector: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    let reader = file_reader(file);
    reader.read_exact_at(&mut data, sector * 512).unwrap();
    data
}

/// The same, decrypted.
fn deciphered(file: &File, sector: u64, len: usize) -> Vec<u8> {
    let mut data = stored(file, sector, len);
    cipher().decrypt(sector, data.as_chunks_mut().0);
    data
}

/// Sectors of which nothing looks like those of `plain`.
fn hides(stored: &[u8], plain: &[u8]) -> bool {
    let mut blocks = stored.chunks(16).zip(plain.chunks(16));
    blocks.all(|(stored, plain)| stored != plain)
}

#[test]
fn what_is_written_is_read_again_and_cannot_be_seen_in_the_file() {
    for way in WAYS {
        let file = blank_file();
        let mut bench = encrypted_on(&file, way);
        // More than goes through memory at a time, from crooked buffers.
        let plain = pattern(3, 600 << 10);
        let (front, back) = plain.split_at(300_001);
        let data = [front, back].map(|part| bench.driver.readable(part));
        assert_eq!(bench.request(VIRTIO_BLK_T_OUT, 8, &data).0, OK);
        assert_eq!(bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]).0, OK);
        let data = [5, 300_000, 314_395].map(|len| shifted(&mut bench, len, 7));
        assert_eq!(bench.request(VIRTIO_BLK_T_IN, 8, &data).0, OK);
        let read = data.map(|data| bench.driver.contents(data)).concat();
        assert!(read == plain, "{way:?}");
        assert!(hides(&stored(&file, 8, plain.len()), &plain), "{way:?}");
        assert!(deciphered(&file, 8, plain.len()) == plain, "{way:?}");
    }
}

#[test]
fn holes_and_what_is_discarded_read_as_zeroes() {
    let unmap = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
    for way in WAYS {
        let file = blank_file();
        let mut bench = encrypted_on(&file, way);
        let zeroes = vec![0; 8192];
        assert_eq!(bench.read(100 * 8, 8192), (OK, zeroes.clone()));
        for (kind, flags) in [
            (VIRTIO_BLK_T_DISCARD, 0),
            (VIRTIO_BLK_T_WRITE_ZEROES, 0),
            (VIRTIO_BLK_T_WRITE_ZEROES, unmap),
        ] {
            assert_eq!(bench.write(96, &pattern(0, 32 << 10)), OK);
            let data = bench.driver.readable(&range(104, 16, flags));
            assert_eq!(bench.request(kind, 0, &[data]).0, OK);
            assert_eq!(bench.read(104, 8192), (OK, zeroes.clone()), "{way:?}");
            assert_eq!(bench.read(96, 4096), (OK, pattern(0, 4096)));
            assert_eq!(stored(&file, 104, 8192), zeroes);
        }
    }
}

#[test]
fn zeroes_that_are_written_are_encrypted() {
    let file = blank_file();
    let mut bench = encrypted_on(&file, WAYS[0]);
    assert_eq!(bench.write(8, &[0; 4096]), OK);
    assert!(hides(&stored(&file, 8, 4096), &[0; 4096]));
    assert_eq!(bench.read(8, 4096), (OK, vec![0; 4096]));
}

#[test]
fn the_same_data_under_another_key_is_not_to_be_read() {
    let file = blank_file();
    assert_eq!(encrypted_on(&file, WAYS[0]).write(8, &[1; 4096]), OK);
    let (disks, _) = open_disk(file, DiskOptions::default()).unwrap();
    let other = encrypted(disks, &Key::random().unwrap()).unwrap();
    let (status, read) = Bench::new(other).read(8, 4096);
    assert_eq!(status, OK);
    assert!(hides(&read, &[1; 4096]));
}

#[test]
fn more_requests_than_there_is_memory_for_take_turns() {
    for way in WAYS {
        let file = blank_file();
        let mut bench = encrypted_on(&file, way);
        for round in 0..2 {
            let mut expected = Vec::new();
            for sector in (0..80).map(|i| i * 8) {
                let (kind, data) = match round {
                    0 => (
                        VIRTIO_BLK_T_OUT,
                        bench.driver.readable(&pattern(sector, 4096)),
                    ),
                    _ => (VIRTIO_BLK_T_IN, bench.driver.writable(4096)),
                };
                let (_, status) = bench.add(kind, sector, &[data]);
                expected.push((status, data, sector));
            }
            bench.driver.kick(0);
            for _ in &expected {
                bench.driver.wait(0);
            }
            for (status, data, sector) in expected {
                assert_eq!(bench.driver.contents(status), [OK]);
                assert_eq!(bench.driver.contents(data), pattern(sector, 4096));
            }
        }
    }
}

#[test]
fn large_requests_in_flight_together_come_back_whole() {
    const LEN: u32 = 512 << 10;
    for way in WAYS {
        let file = blank_file();
        let mut bench = encrypted_on(&file, way);
        for kind in [VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_IN] {
            let sectors = (0..SIZE / 512).step_by(LEN as usize / 512);
            let requests: Vec<_> = sectors
                .map(|sector| {
                    let data = match kind {
                        VIRTIO_BLK_T_OUT => bench.driver.readable(&pattern(sector, LEN.into())),
                        _ => bench.driver.writable(LEN),
                    };
                    let (_, status) = bench.add(kind, sector, &[data]);
                    (sector, data, status)
                })
                .collect();
            bench.driver.kick(0);
            for _ in &requests {
                bench.driver.wait(0);
            }
            for (sector, data, status) in requests {
                assert_eq!(bench.driver.contents(status), [OK]);
                assert!(bench.driver.contents(data) == pattern(sector, LEN.into()));
            }
        }
    }
}

/// The memory is all in use, and a flush needs none.
#[test]
fn who_waits_for_memory_holds_up_nobody_who_needs_none() {
    let (disks, control) = held_disk(128);
    let mut bench = Bench::new(encrypted(disks, &key()).unwrap());
    for sector in 0..40 {
        let data = bench.driver.writable(512);
        bench.add(VIRTIO_BLK_T_IN, sector, &[data]);
    }
    let (flush, _) = bench.add(VIRTIO_BLK_T_FLUSH, 0, &[]);
    bench.driver.kick(0);
    let reads: Vec<_> = (0..32).map(|_| control.next()).collect();
    assert!(
        reads
            .iter()
            .all(|(_, kind, _)| *kind == OperationKind::Read)
    );
    let (slot, kind, _) = control.next();
    assert_eq!(kind, OperationKind::Flush);
    control.finish(&[slot], || Ok(()));
    assert_eq!(bench.driver.wait(0).head, flush);
    for (slot, ..) in reads {
        control.finish(&[slot], || Ok(()));
        bench.driver.wait(0);
    }
    for sector in 32..40 {
        let (slot, _, offset) = control.next();
        assert_eq!(offset, sector * 512, "in the order they came");
        control.finish(&[slot], || Ok(()));
        bench.driver.wait(0);
    }
}

#[test]
fn parts_are_under_way_together_and_may_be_done_in_any_order() {
    let (disks, control) = held_disk(8);
    let mut bench = Bench::new(encrypted(disks, &key()).unwrap());
    let data = shifted(&mut bench, 600 << 10, 5);
    let (_, status) = bench.add(VIRTIO_BLK_T_IN, 0, &[data]);
    bench.driver.kick(0);
    let parts: Vec<_> = (0..3).map(|_| control.next()).collect();
    for part in [1, 2, 0] {
        control.finish(&[parts[part].0], || Ok(()));
    }
    bench.driver.wait(0);
    assert_eq!(bench.driver.contents(status), [OK]);
    // What the disk holds is the number of its sector, over and over.
    let mut expected = vec![0; 600 << 10];
    for (sector, number) in expected.as_chunks_mut().0.iter_mut().zip(0..1200) {
        *sector = [u8::try_from(number % 256).unwrap(); 512];
    }
    cipher().decrypt(0, expected.as_chunks_mut().0);
    assert!(bench.driver.contents(data) == expected);
}

#[test]
fn a_guest_that_changes_its_buffers_in_flight_changes_nothing() {
    let (disks, control) = held_disk(8);
    let mut bench = Bench::new(encrypted(disks, &key()).unwrap());
    let data = bench.driver.readable(&[1; 512]);
    let (_, status) = bench.add(VIRTIO_BLK_T_OUT, 5, &[data]);
    bench.driver.kick(0);
    let (slot, ..) = control.next();
    let Buffer::Readable { address, .. } = data else {
        unreachable!("it was made readable");
    };
    bench.driver.poke(address, &[2; 512]);
    control.finish(&[slot], || Ok(()));
    bench.driver.wait(0);
    assert_eq!(bench.driver.contents(status), [OK]);
    let mut expected = [[1; 512]];
    cipher().encrypt(5, &mut expected);
    let written = std::mem::take(&mut control.shared.state.lock().unwrap().written);
    assert_eq!(written, [expected[0].to_vec()]);
}

#[test]
fn a_guest_sees_its_buffers_change_to_plaintext_only() {
    let (disks, control) = held_disk(8);
    let mut bench = Bench::new(encrypted(disks, &key()).unwrap());
    let data = bench.driver.writable(512);
    bench.add(VIRTIO_BLK_T_IN, 7, &[data]);
    bench.driver.kick(0);
    let (slot, ..) = control.next();
    let read_into = {
        let state = control.shared.state.lock().unwrap();
        state.held[&slot].data.iovecs()[0].iov_base.addr()
    };
    let elsewhere = |start: *mut u8, len| {
        let guest = start.addr()..start.addr() + len;
        assert!(!guest.contains(&read_into));
    };
    bench.driver.ram.pieces(0, MEMORY, elsewhere).unwrap();
    control.finish(&[slot], || Ok(()));
    bench.driver.wait(0);
    let mut expected = [[7; 512]];
    cipher().decrypt(7, &mut expected);
    assert_eq!(bench.driver.contents(data), expected[0]);
}

#[test]
fn what_the_disk_fails_fails_as_a_whole() {
    let (disks, control) = held_disk(6);
    let mut bench = Bench::new(encrypted(disks, &key()).unwrap());
    // Four parts, of which three find memory: half of what the disk takes.
    let data = bench.driver.readable(&vec![1; 1 << 20]);
    let (_, status) = bench.add(VIRTIO_BLK_T_OUT, 0, &[data]);
    bench.driver.kick(0);
    let mut parts: Vec<_> = (0..3).map(|_| control.next()).collect();
    parts.sort_by_key(|(_, _, offset)| *offset);
    let offsets: Vec<u64> = parts.iter().map(|(_, _, offset)| offset >> 10).collect();
    assert_eq!(offsets, [0, 256, 512]);
    control.finish(&[parts[1].0], || {
        Err(io::Error::from_raw_os_error(libc::ENOSPC))
    });
    control.wait_until_taken_in();
    for part in [2, 0] {
        assert_eq!(bench.driver.contents(status), [0xa5], "some is under way");
        control.finish(&[parts[part].0], || Ok(()));
    }
    bench.driver.wait(0);
    assert_eq!(bench.driver.contents(status), [IOERR]);
    assert!(control.arrivals.try_recv().is_err(), "the rest is left");

    let data = bench.driver.writable(512);
    let (_, status) = bench.add(VIRTIO_BLK_T_IN, 7, &[data]);
    bench.driver.kick(0);
    let failed = || Err(io::Error::from_raw_os_error(libc::EIO));
    control.finish(&[control.next().0], failed);
    bench.driver.wait(0);
    assert_eq!(bench.driver.contents(status), [IOERR]);
    assert_eq!(bench.driver.contents(data), [0xa5; 512], "nothing came");
}

/// The worker asks for nothing of the kind; if something did, plaintext must
/// not pass by.
#[test]
fn an_operation_that_is_wrong_never_reaches_the_disk() {
    let (disks, control) = held_disk(8);
    let mut disk = encrypted(disks, &key()).unwrap().remove(0);
    let memory = vm_memory::GuestMemoryMmap::from_ranges(&[(vm_memory::GuestAddress(0), 4096)]);
    let ram = Ram::new(memory.unwrap());
    for (offset, len, given) in [
        (1 << 20, 512, 512),
        (256, 512, 512),
        (0, 256, 256),
        (0, 1024, 512),
        (u64::MAX - 511, 512, 512),
    ] {
        let mut data = Buffers::new(ram.clone());
        data.append(0, given).unwrap();
        let operation = Operation {
            kind: OperationKind::Write,
            offset,
            len,
            data,
        };
        disk.submit(3, operation);
        let refused = disk.next_completion().expect("it is refused at once");
        assert_eq!((refused.slot, refused.data.len()), (3, u64::from(given)));
        assert!(refused.result.is_err(), "{offset} {len}");
    }
    assert!(control.arrivals.try_recv().is_err());
}

/// A thing to do to a disk.
#[derive(Clone, Debug)]
enum Step {
    Read,
    Write(u8),
    Clear(u32, u32),
}

fn steps() -> impl Strategy<Value = Vec<(Step, u64, u32)>> {
    let step = prop_oneof![
        3 => Just(Step::Read),
        4 => any::<u8>().prop_map(Step::Write),
        1 => Just(Step::Clear(VIRTIO_BLK_T_DISCARD, 0)),
        1 => (0u32..2).prop_map(|unmap| Step::Clear(VIRTIO_BLK_T_WRITE_ZEROES, unmap)),
    ];
    let pages = prop_oneof![4 => 1u32..20, 1 => 60u32..140];
    prop::collection::vec((step, 0u64..1024 - 140, pages), 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_encrypted_disk_is_like_any_other_and_its_file_shows_nothing(
        way in prop::sample::select(&WAYS),
        steps in steps(),
    ) {
        let file = blank_file();
        let mut bench = encrypted_on(&file, way);
        let mut model = vec![0; usize::try_from(SIZE).unwrap()];
        for (step, page, pages) in steps {
            let (sector, len) = (page * 8, pages * 4096);
            let start = usize::try_from(sector * 512).unwrap();
            let model = &mut model[start..start + usize::try_from(len).unwrap()];
            match step {
                Step::Read => {
                    let (status, read) = bench.read(sector, len);
                    prop_assert_eq!(status, OK);
                    prop_assert!(read == model);
                }
                Step::Write(seed) => {
                    let data: Vec<u8> = pattern(sector, len.into());
                    let data: Vec<u8> = data.iter().map(|byte| byte ^ seed).collect();
                    prop_assert_eq!(bench.write(sector, &data), OK);
                    model.copy_from_slice(&data);
                }
                Step::Clear(kind, flags) => {
                    let data = bench.driver.readable(&range(sector, pages * 8, flags));
                    prop_assert_eq!(bench.request(kind, 0, &[data]).0, OK);
                    model.fill(0);
                }
            }
        }
        drop(bench);
        prop_assert!(deciphered(&file, 0, model.len()) == model);
        let stored = stored(&file, 0, model.len());
        for (stored, plain) in stored.chunks(512).zip(model.chunks(512)) {
            let hole = stored.iter().chain(plain).all(|byte| *byte == 0);
            prop_assert!(hole || hides(stored, plain));
        }
    }
}

fn make() -> Standing {
    let file = patterned_file();
    let (block, reactors) = device(encrypted_disks(&file, WAYS[0]));
    (block, (reactors, file))
}
device_contract!(make, queues: [0]);
