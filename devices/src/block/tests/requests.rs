//! Every kind of request, and what it does to the file.

use std::os::unix::fs::MetadataExt;

use virtio_bindings::virtio_blk::*;

use super::*;

fn file_range(file: &File, sector: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    file.read_exact_at(&mut data, sector * 512).unwrap();
    data
}

/// The range of a discard or write-zeroes request.
pub(super) fn range(sector: u64, count: u32, flags: u32) -> Vec<u8> {
    let mut range = Vec::from(sector.to_le_bytes());
    range.extend(count.to_le_bytes());
    range.extend(flags.to_le_bytes());
    range
}

#[test]
fn reads_bring_what_the_file_holds() {
    let file = patterned_file();
    for engine in ENGINES {
        let mut bench = Bench::on(&file, engine);
        // Buffers of any size, as long as their sum is whole sectors.
        let data = [100, 412, 1024, 1].map(|len| bench.driver.writable(len));
        let last = bench.driver.writable(511);
        let buffers = [data[0], data[1], data[2], data[3], last];
        let outcome = bench.request(VIRTIO_BLK_T_IN, 5, &buffers);
        assert_eq!(outcome, (OK, 2048 + 1));
        let read: Vec<u8> = buffers.map(|b| bench.driver.contents(b)).concat();
        assert_eq!(read, pattern(5, 2048));
        assert_eq!(bench.counters.reads.get(), 1);
        assert_eq!(bench.counters.read_bytes.get(), 2048);
    }
}

#[test]
fn writes_arrive_in_the_file() {
    for engine in ENGINES {
        let file = patterned_file();
        let mut bench = Bench::on(&file, engine);
        let (a, b) = (vec![0x11; 300], vec![0x22; 724]);
        let data = [bench.driver.readable(&a), bench.driver.readable(&b)];
        let outcome = bench.request(VIRTIO_BLK_T_OUT, 8, &data);
        assert_eq!(outcome, (OK, 1));
        assert_eq!(file_range(&file, 8, 1024), [a, b].concat());
        assert_eq!(file_range(&file, 7, 512), pattern(7, 512), "in front");
        assert_eq!(file_range(&file, 10, 512), pattern(10, 512), "behind");
        assert_eq!(bench.counters.written_bytes.get(), 1024);
    }
}

#[test]
fn the_last_sector_is_there_and_none_behind_it() {
    let file = patterned_file();
    let last = SIZE / 512 - 1;
    for engine in ENGINES {
        let mut bench = Bench::on(&file, engine);
        assert_eq!(bench.read(last, 512), (OK, pattern(last, 512)));
        for (sector, len) in [
            (last, 1024),
            (last + 1, 512),
            (u64::MAX, 512),
            (1 << 55, 512),
        ] {
            let (status, data) = bench.read(sector, len);
            assert_eq!(status, IOERR, "sector {sector:#x}");
            assert!(data.iter().all(|byte| *byte == 0xa5), "nothing was written");
            assert_eq!(bench.write(sector, &vec![1; 1024]), IOERR);
        }
        assert_eq!(file.metadata().unwrap().len(), SIZE);
        assert_eq!(bench.counters.refused.get(), 8);
    }
}

#[test]
fn lengths_that_are_not_whole_sectors_are_refused() {
    let file = patterned_file();
    let mut bench = Bench::on(&file, EngineChoice::Auto);
    for len in [1, 511, 513] {
        assert_eq!(bench.read(0, len).0, IOERR);
        assert_eq!(
            bench.write(0, &vec![1; usize::try_from(len).unwrap()]),
            IOERR
        );
    }
    assert_eq!(file_range(&file, 0, 1024), pattern(0, 1024));
    assert_eq!(
        bench.request(VIRTIO_BLK_T_IN, 0, &[]),
        (OK, 1),
        "nothing is whole"
    );
}

#[test]
fn the_id_is_twenty_bytes() {
    let mut bench = Bench::on(&patterned_file(), EngineChoice::Auto);
    let id = bench.driver.writable(20);
    assert_eq!(bench.request(VIRTIO_BLK_T_GET_ID, 0, &[id]), (OK, 21));
    assert_eq!(
        bench.driver.contents(id),
        b"test-disk\0\0\0\0\0\0\0\0\0\0\0"
    );
    let short = bench.driver.writable(19);
    assert_eq!(bench.request(VIRTIO_BLK_T_GET_ID, 0, &[short]).0, IOERR);
    let long = bench.driver.writable(30);
    assert_eq!(bench.request(VIRTIO_BLK_T_GET_ID, 0, &[long]), (OK, 20));
}

#[test]
fn a_flush_succeeds_and_is_counted() {
    for engine in ENGINES {
        let mut bench = Bench::on(&patterned_file(), engine);
        assert_eq!(bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]), (OK, 1));
        assert_eq!(bench.counters.flushes.get(), 1);
    }
}

#[test]
fn discarded_space_is_given_back() {
    for engine in ENGINES {
        let file = patterned_file();
        file.sync_all().unwrap(); // space is allocated late
        let before = file.metadata().unwrap().blocks();
        let mut bench = Bench::on(&file, engine);
        let data = bench.driver.readable(&range(2048, 2048, 0));
        assert_eq!(bench.request(VIRTIO_BLK_T_DISCARD, 0, &[data]), (OK, 1));
        let after = file.metadata().unwrap();
        assert!(after.blocks() <= before - 2048);
        assert_eq!(after.len(), SIZE);
        assert_eq!(file_range(&file, 2047, 512), pattern(2047, 512));
        assert_eq!(file_range(&file, 4096, 512), pattern(4096, 512));
        assert_eq!(bench.counters.discards.get(), 1);
    }
}

#[test]
fn zeroed_ranges_hold_zeroes_and_keep_their_space_unless_unmapped() {
    let unmap = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
    for (engine, flags) in ENGINES.into_iter().flat_map(|e| [(e, 0), (e, unmap)]) {
        let file = patterned_file();
        file.sync_all().unwrap(); // space is allocated late
        let before = file.metadata().unwrap().blocks();
        let mut bench = Bench::on(&file, engine);
        let data = bench.driver.readable(&range(16, 1024, flags));
        let outcome = bench.request(VIRTIO_BLK_T_WRITE_ZEROES, 0, &[data]);
        assert_eq!(outcome, (OK, 1));
        let zeroes = file_range(&file, 16, 1024 * 512);
        assert!(zeroes.iter().all(|byte| *byte == 0));
        assert_eq!(file_range(&file, 15, 512), pattern(15, 512));
        assert_eq!(file_range(&file, 1040, 512), pattern(1040, 512));
        let freed = before - file.metadata().unwrap().blocks();
        assert_eq!(freed, if flags == unmap { 1024 } else { 0 });
        assert_eq!(bench.counters.cleared_bytes.get(), 1024 * 512);
    }
}

#[test]
fn bad_ranges_to_clear_are_refused_as_the_specification_says() {
    let file = patterned_file();
    let mut bench = Bench::on(&file, EngineChoice::Auto);
    let (discard, zeroes) = (VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES);
    let end = SIZE / 512;
    for (kind, data, status) in [
        (discard, range(0, 1, 1), UNSUPP), // the unmap flag is not for discards
        (discard, range(0, 1, 2), UNSUPP),
        (zeroes, range(0, 1, 2), UNSUPP),
        (zeroes, range(end, 1, 0), IOERR),
        (zeroes, range(u64::MAX, 1, 0), IOERR),
        (zeroes, range(0, u32::MAX, 0), IOERR),
        (discard, range(0, 1, 0)[..15].to_vec(), IOERR),
        (discard, Vec::new(), IOERR),
        (discard, range(0, 1, 0).repeat(2), IOERR), // max_discard_seg is 1
        (discard, range(end, 0, 0), OK),            // nothing, at the end
    ] {
        let buffer = bench.driver.readable(&data);
        assert_eq!(bench.request(kind, 0, &[buffer]).0, status, "{data:?}");
    }
    assert_eq!(file_range(&file, 0, 1 << 20), pattern(0, 1 << 20));
}

#[test]
fn unknown_kinds_are_unsupported() {
    let mut bench = Bench::on(&patterned_file(), EngineChoice::Auto);
    for kind in [2, 3, 14, 0x8000_0000, u32::MAX] {
        assert_eq!(bench.request(kind, 0, &[]), (UNSUPP, 1), "type {kind}");
    }
    assert_eq!(bench.counters.refused.get(), 5);
}

#[test]
fn a_read_only_disk_is_read_and_nothing_else() {
    for engine in ENGINES {
        // Open for writing: it is the device that must not write.
        let file = patterned_file();
        let options = DiskOptions {
            engine,
            read_only: true,
            ..DiskOptions::default()
        };
        let mut bench = Bench::with_options(&file, options);
        let features = bench.driver.offered_features();
        assert_ne!(features & 1 << VIRTIO_BLK_F_RO, 0);
        assert_eq!(features & 1 << VIRTIO_BLK_F_DISCARD, 0);
        assert_eq!(bench.write(0, &[0xff; 512]), IOERR);
        assert_eq!(bench.write(0, &[]), IOERR);
        for kind in [VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES] {
            let data = bench.driver.readable(&range(0, 8, 0));
            assert_eq!(bench.request(kind, 0, &[data]).0, IOERR);
        }
        assert_eq!(bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]).0, OK);
        assert_eq!(bench.read(3, 512), (OK, pattern(3, 512)));
        assert_eq!(file_range(&file, 0, 1 << 20), pattern(0, 1 << 20));
    }
}

#[test]
fn a_file_that_shrank_fails_reads_and_is_not_grown() {
    for engine in ENGINES {
        let file = patterned_file();
        let mut bench = Bench::on(&file, engine);
        file.set_len(SIZE / 2).unwrap();
        let half = SIZE / 1024;
        assert_eq!(bench.read(half - 1, 1024).0, IOERR, "half of it is there");
        assert_eq!(bench.read(half, 512).0, IOERR);
        assert_eq!(bench.counters.disk_errors.get(), 2);
        assert_eq!(bench.read(half - 1, 512), (OK, pattern(half - 1, 512)));
    }
}

#[test]
fn the_driver_chooses_whether_writes_are_durable_at_once() {
    for engine in ENGINES {
        let mut bench = Bench::on(&patterned_file(), engine);
        assert_eq!(bench.driver.config(32, 1), [1], "writeback");
        assert_eq!(bench.write(0, &[1; 512]), OK);
        assert_eq!(bench.counters.flushes.get(), 0);
        bench.driver.set_config(32, &[0]);
        assert_eq!(bench.write(0, &[2; 512]), OK);
        assert_eq!(bench.counters.flushes.get(), 1);
        assert_eq!(bench.read(0, 512).0, OK);
        assert_eq!(bench.counters.flushes.get(), 1, "reads need none");
        // The choice outlasts a pause.
        bench.driver.transport.pause().unwrap();
        bench.driver.transport.resume();
        let zero = bench.driver.readable(&range(0, 1, 0));
        assert_eq!(bench.request(VIRTIO_BLK_T_WRITE_ZEROES, 0, &[zero]).0, OK);
        assert_eq!(bench.counters.flushes.get(), 2);
        bench.driver.set_config(32, &[1]);
        assert_eq!(bench.write(0, &[3; 512]), OK);
        assert_eq!(bench.counters.flushes.get(), 2);
    }
}

#[test]
fn a_driver_that_cannot_flush_gets_durable_writes() {
    let (disk, _) = open_disk(patterned_file(), DiskOptions::default()).unwrap();
    let mut bench = Bench::with_features(disk, 0);
    assert_eq!(bench.driver.config(32, 1), [0], "writethrough");
    assert_eq!(bench.write(0, &[1; 512]), OK);
    assert_eq!(bench.counters.flushes.get(), 1);
}

#[test]
fn a_chain_in_an_indirect_table_is_a_request_too() {
    let mut bench = Bench::on(&patterned_file(), EngineChoice::Auto);
    let data = bench.driver.writable(512);
    let status = bench.driver.writable(1);
    let header = bench.header(VIRTIO_BLK_T_IN, 9);
    bench.driver.add_indirect(0, &[header, data, status]);
    bench.driver.kick(0);
    assert_eq!(bench.driver.wait(0).written, 513);
    assert_eq!(bench.driver.contents(data), pattern(9, 512));
}

#[test]
fn ids_are_short_and_printable() {
    use crate::block::id::DiskId;
    let longest = "12345678901234567890";
    assert_eq!(longest.parse::<DiskId>().unwrap().to_string(), longest);
    for bad in ["123456789012345678901", "a b", "tab\t", "ümlaut"] {
        assert!(bad.parse::<DiskId>().is_err(), "{bad}");
    }
}
