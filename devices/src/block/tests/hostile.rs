//! Drivers that break the rules: the request fails, the device goes on.

use super::*;

#[test]
fn a_request_without_a_whole_header_is_returned_unused() {
    let mut bench = Bench::on(&patterned_file(), EngineChoice::Auto);
    let short = bench.driver.readable(&[0; 15]);
    let data = bench.driver.writable(513);
    for buffers in [&[short, data][..], &[data], &[short]] {
        let used = bench.driver.request(0, buffers);
        assert_eq!(used.written, 0);
    }
    let untouched = bench.driver.contents(data);
    assert!(untouched.iter().all(|byte| *byte == 0xa5));
    assert_eq!(bench.counters.malformed.get(), 3);
    assert_eq!(bench.read(1, 512), (OK, pattern(1, 512)));
}

#[test]
fn a_request_without_room_for_a_status_is_returned_unused() {
    let file = patterned_file();
    let mut bench = Bench::on(&file, EngineChoice::Auto);
    let header = bench.header(VIRTIO_BLK_T_OUT, 0);
    let data = bench.driver.readable(&[0xff; 512]);
    assert_eq!(bench.driver.request(0, &[header, data]).written, 0);
    assert_eq!(bench.counters.malformed.get(), 1);
    assert_eq!(bench.read(0, 512), (OK, pattern(0, 512)));
}

#[test]
fn malformed_chains_fail_alone_and_are_counted() {
    let mut bench = Bench::on(&patterned_file(), EngineChoice::Auto);
    let header = bench.header(VIRTIO_BLK_T_IN, 2);
    let outside = Buffer::Writable {
        address: u64::MAX - 100,
        len: 512,
    };
    let status = bench.driver.writable(1);
    let bad = bench.driver.add(0, &[header, outside, status]);
    let data = bench.driver.writable(512);
    let (good, _) = bench.add(VIRTIO_BLK_T_IN, 2, &[data]);
    bench.driver.kick(0);
    let mut used = [bench.driver.wait(0), bench.driver.wait(0)];
    used.sort_by_key(|used| used.head);
    assert_eq!((used[0].head, used[0].written), (bad, 0));
    assert_eq!((used[1].head, used[1].written), (good, 513));
    assert_eq!(bench.driver.contents(data), pattern(2, 512));
    assert_eq!(bench.counters.malformed.get(), 1);
}

#[test]
fn a_transfer_beyond_the_segment_limits_is_refused() {
    let file = tempfile::tempfile().unwrap();
    // Sparse; large enough for the transfer to lie within the disk.
    file.set_len(1 << 40).unwrap();
    let mut bench = Bench::on(&file, EngineChoice::Auto);
    let address = bench.driver.allocate(32 << 20);
    let huge = [Buffer::Writable {
        address,
        len: 32 << 20,
    }; 8];
    assert_eq!(bench.request(VIRTIO_BLK_T_IN, 0, &huge).0, IOERR);
    let large = [Buffer::Writable {
        address,
        len: 1 << 20,
    }; 16];
    assert_eq!(bench.request(VIRTIO_BLK_T_IN, 0, &large).0, OK);
}

#[test]
fn data_that_overlaps_its_own_header_and_status_hurts_nobody_else() {
    for engine in ENGINES {
        let mut bench = Bench::on(&patterned_file(), engine);
        let Buffer::Readable { address, .. } = bench.header(VIRTIO_BLK_T_IN, 0) else {
            unreachable!("headers are readable");
        };
        let header = Buffer::Readable { address, len: 16 };
        let all = Buffer::Writable { address, len: 513 };
        assert_eq!(bench.driver.request(0, &[header, all]).written, 513);
        assert_eq!(bench.read(4, 512), (OK, pattern(4, 512)));
    }
}
