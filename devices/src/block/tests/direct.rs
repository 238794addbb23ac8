//! Direct I/O on a real file system.

use virtio_bindings::virtio_blk::{VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID};

use super::*;

fn direct(file: &File, engine: EngineChoice) -> Bench {
    let options = DiskOptions {
        engine,
        direct: true,
        read_only: false,
        ..DiskOptions::default()
    };
    Bench::with_options(file, options)
}

/// A buffer for the device to write, `shift` bytes off any alignment.
pub(super) fn shifted(bench: &mut Bench, len: u32, shift: u64) -> Buffer {
    let start = bench.driver.allocate(len + 8192);
    Buffer::Writable {
        address: start.next_multiple_of(4096) + shift,
        len,
    }
}

#[test]
fn aligned_buffers_are_read_directly() {
    let file = patterned_file();
    for engine in ENGINES {
        let mut bench = direct(&file, engine);
        let data = shifted(&mut bench, 8192, 0);
        let outcome = bench.request(VIRTIO_BLK_T_IN, 8, &[data]);
        assert_eq!(outcome, (OK, 8193));
        assert_eq!(bench.driver.contents(data), pattern(8, 8192));
    }
}

#[test]
fn unaligned_buffers_are_read_all_the_same() {
    let file = patterned_file();
    for engine in ENGINES {
        let mut bench = direct(&file, engine);
        // Longer than the memory they go through, in crooked pieces.
        let lens = [1, 4095, 1_000_003, 4096 * 256 + 4096 - 1_000_003];
        let data = lens.map(|len| shifted(&mut bench, len, 3));
        assert_eq!(bench.request(VIRTIO_BLK_T_IN, 8, &data).0, OK);
        let read = data.map(|data| bench.driver.contents(data)).concat();
        assert!(read == pattern(8, 4096 * 258), "{engine:?}");
    }
}

#[test]
fn unaligned_buffers_are_written_all_the_same() {
    for engine in ENGINES {
        let file = patterned_file();
        let mut bench = direct(&file, engine);
        let data: Vec<u8> = pattern(77, 600 * 1024);
        let halves = data.split_at(300_001);
        let skew = bench.driver.readable(&[0; 5]);
        let buffers = [halves.0, halves.1].map(|half| bench.driver.readable(half));
        assert_ne!(skew, buffers[0]);
        assert_eq!(bench.request(VIRTIO_BLK_T_OUT, 16, &buffers).0, OK);
        assert_eq!(bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]).0, OK);
        let mut stored = vec![0; data.len()];
        file_reader(&file)
            .read_exact_at(&mut stored, 16 * 512)
            .unwrap();
        assert!(stored == data, "{engine:?}");
    }
}

/// The same file through the page cache: the descriptor under test demands
/// alignment of everybody.
pub(super) fn file_reader(file: &File) -> File {
    use std::os::fd::AsRawFd;
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

#[test]
fn more_unaligned_requests_than_there_is_memory_for_take_turns() {
    let file = patterned_file();
    for engine in ENGINES {
        let mut bench = direct(&file, engine);
        let mut expected = Vec::new();
        for sector in (0..40).map(|i| i * 8) {
            let data = shifted(&mut bench, 4096, 1 + sector % 7);
            let (head, status) = bench.add(VIRTIO_BLK_T_IN, sector, &[data]);
            expected.push((head, status, data, sector));
        }
        bench.driver.kick(0);
        for _ in &expected {
            bench.driver.wait(0);
        }
        for (_, status, data, sector) in expected {
            assert_eq!(bench.driver.contents(status), [OK]);
            assert_eq!(bench.driver.contents(data), pattern(sector, 4096));
        }
    }
}

#[test]
fn a_stop_waits_for_unaligned_requests_too() {
    let file = patterned_file();
    for engine in ENGINES {
        let mut bench = direct(&file, engine);
        for _ in 0..20 {
            let data = shifted(&mut bench, 64 << 10, 1);
            bench.add(VIRTIO_BLK_T_IN, 0, &[data]);
        }
        bench.driver.kick(0);
        bench.driver.transport.pause().unwrap();
        bench.driver.transport.resume();
        for _ in 0..20 {
            bench.driver.wait(0);
        }
        let id = bench.driver.writable(20);
        assert_eq!(bench.request(VIRTIO_BLK_T_GET_ID, 0, &[id]).0, OK);
    }
}

#[test]
fn a_file_system_without_direct_io_is_named() {
    // Files of /proc are in no page cache, and know of no O_DIRECT.
    let file = File::open("/proc/version").unwrap();
    let options = DiskOptions {
        direct: true,
        read_only: true,
        ..DiskOptions::default()
    };
    let Err(error) = open_disk(file, options) else {
        panic!("/proc/version became a disk");
    };
    assert!(matches!(
        error,
        crate::block::error::BlockError::NoDirect(_)
    ));
}
