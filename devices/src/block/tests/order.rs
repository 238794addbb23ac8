//! What the worker owes the driver whatever the disk does, on a disk that
//! finishes operations when it is told to.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

use virtio_bindings::virtio_blk::VIRTIO_BLK_T_FLUSH;
use virtio_bindings::virtio_mmio::VIRTIO_MMIO_STATUS;

use super::held_disk::held_disk;
use super::*;
use crate::block::disk::OperationKind;
use crate::virtio::transport::RegisterMap;

#[test]
fn requests_are_answered_in_the_order_in_which_the_disk_finishes_them() {
    let (disk, control) = held_disk(8);
    let mut bench = Bench::new(disk);
    let data = [0; 3].map(|_| bench.driver.writable(512));
    let heads: Vec<_> = (1..)
        .zip(data)
        .map(|(sector, data)| bench.add(VIRTIO_BLK_T_IN, sector, &[data]).0)
        .collect();
    bench.driver.kick(0);
    let slots = [0; 3].map(|_| control.next().0);
    for i in [2, 0, 1] {
        control.finish(&[slots[i]], || Ok(()));
        assert_eq!(bench.driver.wait(0).head, heads[i]);
        let expected = vec![u8::try_from(i + 1).unwrap(); 512];
        assert_eq!(bench.driver.contents(data[i]), expected);
    }
}

#[test]
fn no_more_requests_are_taken_on_than_the_disk_can_hold() {
    let (disk, control) = held_disk(2);
    let mut bench = Bench::new(disk);
    for sector in 0..10 {
        let data = bench.driver.writable(512);
        bench.add(VIRTIO_BLK_T_IN, sector, &[data]);
    }
    bench.driver.kick(0);
    let mut held = vec![control.next(), control.next()];
    for sector in 2..10 {
        assert_eq!(control.shared.state.lock().unwrap().held.len(), 2);
        assert!(control.arrivals.try_recv().is_err());
        control.finish(&[held.remove(0).0], || Ok(()));
        let next = control.next();
        assert_eq!(
            next.2,
            sector * 512,
            "in the order they were made available"
        );
        held.push(next);
    }
    control.finish(&[held[0].0, held[1].0], || Ok(()));
    for _ in 0..10 {
        bench.driver.wait(0);
    }
}

#[test]
fn a_batch_raises_one_interrupt() {
    let (disk, control) = held_disk(32);
    // Without event indices every batch interrupts.
    let mut bench = Bench::with_features(disk, 1 << 9);
    for sector in 0..20 {
        let data = bench.driver.writable(512);
        bench.add(VIRTIO_BLK_T_IN, sector, &[data]);
    }
    bench.driver.kick(0);
    let slots: Vec<_> = (0..20).map(|_| control.next().0).collect();
    assert_eq!(bench.driver.take_interrupts(), 0);
    control.finish(&slots, || Ok(()));
    for _ in 0..20 {
        bench.driver.wait(0);
    }
    // The interrupt follows the used ring: stopping waits for both.
    bench.driver.transport.pause().unwrap();
    assert_eq!(bench.driver.take_interrupts(), 1);
}

#[test]
fn a_flush_is_answered_only_when_the_disk_has_flushed() {
    let (disk, control) = held_disk(8);
    let mut bench = Bench::new(disk);
    let (_, status) = bench.add(VIRTIO_BLK_T_FLUSH, 0, &[]);
    bench.driver.kick(0);
    let (slot, kind, _) = control.next();
    assert_eq!(kind, OperationKind::Flush);
    assert_eq!(bench.driver.used(0), None);
    control.finish(&[slot], || Ok(()));
    bench.driver.wait(0);
    assert_eq!(bench.driver.contents(status), [OK]);
}

#[test]
fn a_write_through_is_answered_only_when_it_is_durable() {
    let (disk, control) = held_disk(8);
    let mut bench = Bench::with_features(disk, 0);
    let data = bench.driver.readable(&[1; 512]);
    let (_, status) = bench.add(VIRTIO_BLK_T_OUT, 0, &[data]);
    bench.driver.kick(0);
    let (slot, kind, _) = control.next();
    assert_eq!(kind, OperationKind::Write);
    control.finish(&[slot], || Ok(()));
    let (slot, kind, _) = control.next();
    assert_eq!(kind, OperationKind::Flush);
    assert_eq!(bench.driver.used(0), None);
    control.finish(&[slot], || Err(io::Error::from_raw_os_error(libc::EIO)));
    bench.driver.wait(0);
    assert_eq!(
        bench.driver.contents(status),
        [IOERR],
        "it may not be durable"
    );
}

#[test]
fn what_the_disk_fails_fails_for_the_driver() {
    let (disk, control) = held_disk(8);
    let mut bench = Bench::new(disk);
    for (error, expected) in [
        (
            (|| Err(io::Error::from_raw_os_error(libc::ENOSPC))) as fn() -> _,
            IOERR,
        ),
        (|| Err(io::Error::from_raw_os_error(libc::EIO)), IOERR),
        (
            || Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
            UNSUPP,
        ),
    ] {
        let data = bench.driver.readable(&[1; 512]);
        let (_, status) = bench.add(VIRTIO_BLK_T_OUT, 0, &[data]);
        bench.driver.kick(0);
        control.finish(&[control.next().0], error);
        bench.driver.wait(0);
        assert_eq!(bench.driver.contents(status), [expected]);
    }
    assert_eq!(bench.counters.disk_errors.get(), 3);
    assert_eq!(bench.counters.writes.get(), 0);
}

#[test]
fn a_stop_waits_for_what_is_in_flight() {
    let (disk, control) = held_disk(8);
    let mut bench = Bench::new(disk);
    let data = bench.driver.writable(512);
    let (head, _) = bench.add(VIRTIO_BLK_T_IN, 7, &[data]);
    bench.driver.kick(0);
    let (slot, ..) = control.next();
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| bench.driver.transport.pause());
        control.finish(&[slot], || Ok(()));
        stopping.join().unwrap().unwrap();
    });
    assert_eq!(bench.driver.used(0).expect("it was finished").head, head);
    assert_eq!(bench.driver.contents(data), [7; 512]);
}

#[test]
fn a_disk_that_never_finishes_is_given_up_at_the_deadline() {
    let (disk, control) = held_disk(8);
    let mut bench = Bench::new(disk);
    let data = bench.driver.writable(512);
    bench.add(VIRTIO_BLK_T_IN, 7, &[data]);
    bench.driver.kick(0);
    control.next();
    // Waits as long as a driver would.
    assert!(bench.driver.transport.pause().is_err());
    assert!(bench.driver.needs_reset());
    // The disk is lost: a reset is not completed.
    bench.driver.write(VIRTIO_MMIO_STATUS, 0);
    assert!(bench.driver.needs_reset());
}

#[test]
fn a_worker_that_cannot_be_attached_leaves_the_disk_for_another_start() {
    let (disk, control) = held_disk(8);
    let mut bench = Bench::new(disk);
    control.shared.deaf.store(true, Ordering::Release);
    bench.driver.start(u64::MAX);
    assert!(bench.driver.needs_reset());
    control.shared.deaf.store(false, Ordering::Release);
    bench.driver.start(u64::MAX);
    assert!(!bench.driver.needs_reset());
    let data = bench.driver.writable(512);
    bench.add(VIRTIO_BLK_T_IN, 7, &[data]);
    bench.driver.kick(0);
    control.finish(&[control.next().0], || Ok(()));
    bench.driver.wait(0);
    assert_eq!(bench.driver.contents(data), [7; 512]);
}

/// How many descriptors of this process are open on `file`.
fn descriptors_of(file: &File) -> usize {
    let inode = file.metadata().unwrap().ino();
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    // Another thread's may be gone by now.
    let is_it = |path| std::fs::metadata(path).is_ok_and(|other| other.ino() == inode);
    open.filter(|entry| is_it(entry.as_ref().unwrap().path()))
        .count()
}

#[test]
fn a_disk_that_went_with_its_reactor_is_closed_when_its_last_act_is_over() {
    let file = patterned_file();
    let Bench {
        mut driver,
        _reactors: reactor,
        ..
    } = Bench::on(&file, EngineChoice::Auto);
    drop(reactor);
    let last_act = driver.transport.transport().sever();
    assert!(last_act.perform().is_err(), "nobody made it durable");
    assert_eq!(descriptors_of(&file), 1, "the test's own");
}

/// Whoever takes a disk away may give its file to somebody else at once.
#[test]
fn a_severed_disk_is_durable_and_closed_and_its_driver_sees_errors() {
    for engine in ENGINES {
        let file = patterned_file();
        let mut bench = Bench::on(&file, engine);
        assert_eq!(bench.write(3, &[7; 512]), OK);
        assert_eq!(descriptors_of(&file), 2);
        bench.driver.take_backend_away();
        assert_eq!(descriptors_of(&file), 1, "the test's own");
        assert_eq!(bench.write(3, &[8; 512]), IOERR);
        assert_eq!(bench.read(3, 512).0, IOERR);
        let mut sector = [0; 512];
        file.read_exact_at(&mut sector, 3 * 512).unwrap();
        assert_eq!(sector, [7; 512]);
        // A reset does not bring it back.
        bench.driver.start(u64::MAX);
        assert_eq!(bench.read(3, 512).0, IOERR);
    }
}
