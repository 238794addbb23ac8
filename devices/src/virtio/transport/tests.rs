//! The status machine as a driver sees it: through registers, with a device
//! that works behind them.

use super::*;
use crate::reactor::Reactor;
use crate::virtio::chain::Chain;
use crate::virtio::device::StartError;
use crate::virtio::fake_driver::{Buffer, FakeDriver, MEMORY};
use crate::virtio::loopback::{Controls, FEATURE, Loopback, QUEUE_SIZE, Queues, Shelf};
use proptest::prelude::*;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::atomic::fence;
use std::time::{Duration, Instant};
use virtio_bindings::virtio_mmio as register;

const OFFERED: u64 = TRANSPORT_FEATURES | 1 << FEATURE;
const ACKNOWLEDGED: u32 = 1 | 2;
/// How long to wait before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A driver that has not set its device up; the device's queues, once it
/// runs.
fn shelf() -> (FakeDriver, Queues) {
    let queues = Queues::default();
    (FakeDriver::new(Shelf(Arc::clone(&queues))), queues)
}

fn started_shelf() -> (FakeDriver, Queues) {
    let (mut driver, queues) = shelf();
    driver.start(OFFERED);
    (driver, queues)
}

fn loopback() -> (Reactor, FakeDriver, Controls) {
    let reactor = Reactor::spawn("loopback").unwrap();
    let controls = Controls::default();
    let device = Loopback::new(reactor.handle(), controls.clone());
    let driver = FakeDriver::started(device, OFFERED);
    (reactor, driver, controls)
}

fn set_status(driver: &mut FakeDriver, status: u32) -> u32 {
    driver.write(register::VIRTIO_MMIO_STATUS, status);
    driver.status()
}

fn echoes(driver: &mut FakeDriver, text: &[u8]) {
    let len = u32::try_from(text.len()).unwrap();
    let (question, answer) = (driver.readable(text), driver.writable(len));
    assert_eq!(driver.request(0, &[question, answer]).written, len);
    assert_eq!(driver.contents(answer), text);
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_driver_sets_the_device_up() {
    let (mut driver, queues) = shelf();
    assert_eq!(driver.status(), 0);
    assert_eq!(driver.offered_features(), OFFERED);
    driver.start(1 << FEATURE);
    assert_eq!(driver.status(), 15);
    assert_eq!(driver.transport.faults(), 0);
    let queues = queues.lock().unwrap();
    let seen: Vec<_> = queues.iter().map(|q| (q.index(), q.size())).collect();
    assert_eq!(seen, [(0, QUEUE_SIZE), (1, QUEUE_SIZE)]);
}

#[test]
fn requests_make_the_round_trip_on_every_queue() {
    let (_reactor, mut driver, _) = loopback();
    for round in 0..100 {
        for queue in [0, 1] {
            let text = [round; 40];
            let (question, answer) = (driver.readable(&text), driver.writable(40));
            driver.request(queue, &[question, answer]);
            assert_eq!(driver.contents(answer), text);
        }
    }
    eventually("an interrupt", || driver.take_interrupts() > 0);
}

/// The device's wish, as Linux heeds it when the available index went from
/// `old` to `new` (§2.7.10).
fn wants_kick(driver: &FakeDriver, event_idx: bool, old: u16, new: u16) -> bool {
    fence(SeqCst);
    let (flags, event) = driver.notification_wishes(0);
    if event_idx {
        new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
    } else {
        flags & 1 == 0
    }
}

/// A driver that kicks only when asked to and sleeps until an interrupt
/// waits for ever if one of either is lost.
#[test]
fn no_notification_is_lost_either_way() {
    for event_idx in [true, false] {
        let (_reactor, mut driver, _) = loopback();
        if !event_idx {
            driver.start(0);
        }
        let address = driver.allocate(1);
        let buffer = Buffer::Readable { address, len: 1 };
        let (mut made, mut used) = (0u16, 0u16);
        for round in 0..2000 {
            for _ in 0..=round % QUEUE_SIZE {
                driver.add(0, &[buffer]);
                if wants_kick(&driver, event_idx, made, made.wrapping_add(1)) {
                    driver.kick(0);
                }
                made = made.wrapping_add(1);
            }
            let deadline = Instant::now() + PATIENCE;
            while used != made {
                driver.suppress_interrupts(0, 0, used);
                fence(SeqCst);
                if driver.used(0).is_some() {
                    used = used.wrapping_add(1);
                    continue;
                }
                while driver.take_interrupts() == 0 {
                    assert!(Instant::now() < deadline, "lost in round {round}");
                    std::thread::yield_now();
                }
            }
            driver.suppress_interrupts(0, 1, used.wrapping_sub(1));
        }
    }
}

#[test]
fn features_that_are_not_offered_are_refused() {
    let (mut driver, queues) = shelf();
    set_status(&mut driver, ACKNOWLEDGED);
    for bit in [0, 24, 34, 40, 63] {
        driver.accept_features(1 << VIRTIO_F_VERSION_1 | 1 << bit);
        let status = set_status(&mut driver, ACKNOWLEDGED | FEATURES_OK);
        assert_eq!(status, ACKNOWLEDGED, "feature {bit}");
    }
    // The driver may think better of it.
    driver.accept_features(OFFERED);
    let status = set_status(&mut driver, ACKNOWLEDGED | FEATURES_OK);
    assert_eq!(status, ACKNOWLEDGED | FEATURES_OK);
    assert!(queues.lock().unwrap().is_empty());
}

#[test]
fn a_legacy_driver_is_refused() {
    let (mut driver, _) = shelf();
    driver.accept_features(1 << FEATURE);
    let status = set_status(&mut driver, ACKNOWLEDGED | FEATURES_OK);
    assert_eq!(status, ACKNOWLEDGED);
}

#[test]
fn features_beyond_bit_63_do_not_exist() {
    let (mut driver, _) = shelf();
    for page in [2, 3, u32::MAX] {
        driver.write(register::VIRTIO_MMIO_DEVICE_FEATURES_SEL, page);
        assert_eq!(driver.read(register::VIRTIO_MMIO_DEVICE_FEATURES), 0);
        driver.write(register::VIRTIO_MMIO_DRIVER_FEATURES_SEL, page);
        driver.write(register::VIRTIO_MMIO_DRIVER_FEATURES, 1);
    }
    assert_eq!(driver.transport.faults(), 3);
    driver.accept_features(OFFERED);
    set_status(&mut driver, ACKNOWLEDGED | FEATURES_OK);
    assert_eq!(driver.status(), ACKNOWLEDGED | FEATURES_OK);
}

#[test]
fn features_are_settled_with_features_ok() {
    let (mut driver, _) = shelf();
    driver.accept_features(OFFERED);
    set_status(&mut driver, ACKNOWLEDGED | FEATURES_OK);
    driver.accept_features(0);
    assert_eq!(driver.transport.faults(), 2);
    assert_eq!(driver.status(), ACKNOWLEDGED | FEATURES_OK);
}

#[test]
fn driver_ok_without_features_ok_starts_nothing() {
    for features in [0, OFFERED, u64::MAX] {
        for status in [
            DRIVER_OK,
            ACKNOWLEDGED | DRIVER_OK,
            // At once, but the features are not acceptable.
            ACKNOWLEDGED | FEATURES_OK | DRIVER_OK,
        ] {
            if features == OFFERED && status & FEATURES_OK != 0 {
                continue;
            }
            let (mut driver, queues) = shelf();
            driver.accept_features(features);
            set_status(&mut driver, status);
            assert!(driver.needs_reset(), "status {status}");
            set_status(&mut driver, 15);
            assert!(queues.lock().unwrap().is_empty(), "too late");
            driver.start(OFFERED);
            assert_eq!(driver.status(), 15);
            assert_eq!(queues.lock().unwrap().len(), 2);
        }
    }
}

#[test]
fn a_device_that_lacks_a_queue_needs_a_reset() {
    let (mut driver, _) = shelf();
    driver.accept_features(OFFERED);
    set_status(&mut driver, 15);
    assert!(driver.needs_reset());
}

#[test]
fn queue_sizes_that_are_not_allowed_are_refused() {
    let (mut driver, queues) = shelf();
    let bad = [
        0,
        3,
        12,
        32,
        0x8000,
        0xffff,
        0x1_0000,
        0x1_0008,
        1 << 31,
        u32::MAX,
    ];
    for (size, faults) in bad.into_iter().zip(1..) {
        driver.write(register::VIRTIO_MMIO_QUEUE_NUM, size);
        assert_eq!(driver.transport.faults(), faults, "size {size:#x}");
    }
    driver.write(register::VIRTIO_MMIO_QUEUE_NUM, 8);
    driver.write(register::VIRTIO_MMIO_QUEUE_NUM, 0x1_0004);
    place_queue(&mut driver, 0x1_0000);
    driver.accept_features(OFFERED);
    assert_eq!(set_status(&mut driver, 15), 15);
    assert_eq!(queues.lock().unwrap()[0].size(), 8, "the last good one");
}

/// Lays the chosen queue out from `base`, ready.
fn place_queue(driver: &mut FakeDriver, base: u32) {
    for (low, address) in [
        (register::VIRTIO_MMIO_QUEUE_DESC_LOW, base),
        (
            register::VIRTIO_MMIO_QUEUE_AVAIL_LOW,
            base.wrapping_add(0x1000),
        ),
        (
            register::VIRTIO_MMIO_QUEUE_USED_LOW,
            base.wrapping_add(0x2000),
        ),
    ] {
        driver.write(low, address);
    }
    driver.write(register::VIRTIO_MMIO_QUEUE_READY, 1);
}

#[test]
fn queues_outside_memory_or_misaligned_need_a_reset() {
    let end = u32::try_from(MEMORY).unwrap();
    for base in [
        end,
        end - 0x1000,
        end - 0x2000,
        0xffff_f000,
        0x1_0008,
        0x1_0001,
    ] {
        let (mut driver, queues) = shelf();
        place_queue(&mut driver, base);
        driver.accept_features(OFFERED);
        set_status(&mut driver, 15);
        assert!(driver.needs_reset(), "base {base:#x}");
        assert!(queues.lock().unwrap().is_empty());
        assert!(driver.take_interrupts() > 0);
        driver.start(OFFERED);
        assert_eq!(driver.status(), 15);
    }
}

#[test]
fn addresses_have_64_bits() {
    let (mut driver, _) = shelf();
    place_queue(&mut driver, 0x1_0000);
    driver.write(register::VIRTIO_MMIO_QUEUE_USED_HIGH, 1);
    driver.accept_features(OFFERED);
    set_status(&mut driver, 15);
    assert!(driver.needs_reset());
}

#[test]
fn queues_that_are_not_there_have_no_registers() {
    let (mut driver, _) = shelf();
    for index in [2, 64, 0x1_0000, u32::MAX] {
        driver.write(register::VIRTIO_MMIO_QUEUE_SEL, index);
        let faults = driver.transport.faults();
        assert_eq!(driver.read(register::VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
        driver.write(register::VIRTIO_MMIO_QUEUE_NUM, 8);
        place_queue(&mut driver, 0x1_0000);
        assert_eq!(driver.read(register::VIRTIO_MMIO_QUEUE_READY), 0);
        driver.write(register::VIRTIO_MMIO_QUEUE_NOTIFY, index);
        assert_eq!(driver.transport.faults(), faults + 6);
    }
}

#[test]
fn a_live_queue_cannot_be_changed() {
    let (mut driver, queues) = started_shelf();
    let layout = queues.lock().unwrap()[0].layout();
    driver.write(register::VIRTIO_MMIO_QUEUE_SEL, 0);
    driver.write(register::VIRTIO_MMIO_QUEUE_NUM, 8);
    place_queue(&mut driver, 0x2_0000);
    driver.write(register::VIRTIO_MMIO_QUEUE_READY, 0);
    assert_eq!(driver.transport.faults(), 6);
    assert_eq!(driver.read(register::VIRTIO_MMIO_QUEUE_READY), 1);
    driver.transport.pause().unwrap();
    driver.transport.resume();
    assert_eq!(queues.lock().unwrap()[0].layout(), layout);
}

#[test]
fn a_ring_that_runs_ahead_needs_a_reset_and_no_attention() {
    let (_reactor, mut driver, controls) = loopback();
    driver.set_available_index(0, QUEUE_SIZE + 1);
    driver.kick(0);
    driver.wait_for_needs_reset();
    assert!(driver.read(register::VIRTIO_MMIO_INTERRUPT_STATUS) & 2 != 0);
    // The other queue's worker shares the thread: it gets its turn, and
    // the broken queue's is not woken meanwhile.
    let wakes = controls.wakes.load(Acquire);
    let buffer = driver.readable(b"x");
    driver.request(1, &[buffer]);
    assert!(controls.wakes.load(Acquire) <= wakes + 1);
    driver.start(OFFERED);
    assert_eq!(driver.status(), 15);
    echoes(&mut driver, b"as new");
}

#[test]
fn a_head_that_is_not_there_needs_a_reset() {
    let (_reactor, mut driver, _) = loopback();
    driver.make_available(0, QUEUE_SIZE);
    driver.kick(0);
    driver.wait_for_needs_reset();
    driver.start(OFFERED);
    echoes(&mut driver, b"as new");
}

#[test]
fn a_reset_is_complete_from_any_status() {
    for status in [0, 1, ACKNOWLEDGED, 11, 15, 15 | 128] {
        let (mut driver, queues) = shelf();
        driver.accept_features(OFFERED);
        place_queue(&mut driver, 0x1_0000);
        driver.write(register::VIRTIO_MMIO_QUEUE_SEL, 1);
        if status != 0 {
            assert_eq!(set_status(&mut driver, status), status);
        }
        assert_eq!(set_status(&mut driver, 0), 0);
        assert!(queues.lock().unwrap().is_empty());
        for index in [0, 1] {
            driver.write(register::VIRTIO_MMIO_QUEUE_SEL, index);
            assert_eq!(driver.read(register::VIRTIO_MMIO_QUEUE_READY), 0);
        }
        assert_eq!(driver.read(register::VIRTIO_MMIO_INTERRUPT_STATUS), 0);
        let refused = set_status(&mut driver, ACKNOWLEDGED | FEATURES_OK);
        assert_eq!(refused, ACKNOWLEDGED, "the features are forgotten");
        driver.start(OFFERED);
        assert_eq!(driver.status(), 15);
    }
}

#[test]
fn a_reset_in_mid_request_leaves_nothing_behind() {
    let (_reactor, mut driver, controls) = loopback();
    for round in 1..4 {
        controls.hold.store(true, Release);
        for queue in [0, 1] {
            let buffer = driver.writable(4);
            driver.add(queue, &[buffer]);
            driver.kick(queue);
        }
        eventually("both are held", || controls.held.load(Acquire) == 2);
        if round == 2 {
            controls
                .interrupt
                .lock()
                .unwrap()
                .as_ref()
                .unwrap()
                .needs_reset();
            assert!(driver.needs_reset());
        }
        set_status(&mut driver, 0);
        assert_eq!(driver.status(), 0);
        assert_eq!(controls.held.load(Acquire), 0);
        assert_eq!(controls.drains.load(Acquire), 2 * round);
        controls.hold.store(false, Release);
        driver.start(OFFERED);
        echoes(&mut driver, b"as new");
    }
}

#[test]
fn a_pause_keeps_requests_and_positions() {
    let (_reactor, mut driver, _) = loopback();
    let address = driver.allocate(1);
    let buffer = Buffer::Readable { address, len: 1 };
    let mut expected = Vec::new();
    let mut seen = Vec::new();
    for round in 0..200 {
        for _ in 0..QUEUE_SIZE / 2 {
            expected.push(driver.add(0, &[buffer]));
            driver.kick(0);
        }
        driver.transport.pause().unwrap();
        // Twice is once.
        driver.transport.pause().unwrap();
        let meanwhile = driver.add(0, &[buffer]);
        if round % 2 == 0 {
            driver.kick(0);
        }
        expected.push(meanwhile);
        driver.transport.resume();
        driver.transport.resume();
        while seen.len() < expected.len() {
            seen.push(driver.wait(0).head);
        }
    }
    assert_eq!(seen, expected);
    assert_eq!(driver.status(), 15);
    assert_eq!(driver.transport.faults(), 0);
}

/// A machine that is restored has eventfds that nobody ever signalled.
#[test]
fn what_came_while_paused_is_seen_without_a_kick() {
    let (_reactor, mut driver, _) = loopback();
    driver.transport.pause().unwrap();
    let buffer = driver.readable(b"x");
    let head = driver.add(0, &[buffer]);
    driver.transport.resume();
    assert_eq!(driver.wait(0).head, head);
}

#[test]
fn nobody_misses_an_interrupt_through_a_pause() {
    let (mut driver, queues) = started_shelf();
    let buffer = driver.readable(b"x");
    let head = driver.add(0, &[buffer]);
    let mut chain = Chain::new(&driver.ram);
    {
        let mut queues = queues.lock().unwrap();
        assert_eq!(queues[0].pop(&mut chain), Ok(true));
        queues[0].push(head, 0).unwrap();
    }
    driver.transport.pause().unwrap();
    assert_eq!(driver.take_interrupts(), 1);
}

#[test]
fn malformed_chains_are_counted_when_the_device_stops() {
    let (_reactor, mut driver, _) = loopback();
    let outside = Buffer::Readable {
        address: u64::MAX,
        len: 1,
    };
    for stopped in [1, 2] {
        assert_eq!(driver.request(0, &[outside]).written, 0);
        driver.transport.pause().unwrap();
        assert_eq!(driver.transport.faults(), stopped);
        driver.transport.resume();
    }
    driver.request(0, &[outside]);
    set_status(&mut driver, 0);
    assert_eq!(driver.transport.faults(), 3);
}

#[test]
fn a_reset_while_paused_is_a_reset() {
    let (mut driver, queues) = started_shelf();
    driver.transport.pause().unwrap();
    set_status(&mut driver, 0);
    driver.transport.resume();
    assert!(queues.lock().unwrap().is_empty());
    driver.start(OFFERED);
    assert_eq!(driver.status(), 15);
}

/// A device whose requests never finish.
struct Stuck;

impl VirtioDevice for Stuck {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            device_type: 1,
            features: 0,
            queue_sizes: vec![1],
        }
    }
    fn read_config(&self, _: u64, _: &mut [u8]) {}
    fn write_config(&mut self, _: u64, _: &[u8]) {}
    fn start(&mut self, _: Activation) -> Result<(), StartError> {
        Ok(())
    }
    fn stop(&mut self) -> Result<Vec<Queue>, ReactorError> {
        Err(ReactorError::Stuck)
    }
}

#[test]
fn a_device_that_does_not_pause_never_counts_as_paused() {
    let mut driver = FakeDriver::started(Stuck, 0);
    for _ in 0..2 {
        assert!(driver.transport.pause().is_err());
        assert!(driver.needs_reset());
        driver.transport.resume();
        assert!(driver.needs_reset());
    }
}

#[test]
fn a_device_that_does_not_stop_is_never_reset_nor_set_up_again() {
    let mut driver = FakeDriver::started(Stuck, 0);
    for _ in 0..2 {
        assert_eq!(set_status(&mut driver, 0), NEEDS_RESET);
        driver.accept_features(1 << VIRTIO_F_VERSION_1);
        let refused = set_status(&mut driver, ACKNOWLEDGED | FEATURES_OK);
        assert_eq!(refused, ACKNOWLEDGED | NEEDS_RESET);
        let refused = set_status(&mut driver, 15);
        assert_eq!(refused, ACKNOWLEDGED | NEEDS_RESET);
        assert!(driver.transport.pause().is_err());
    }
}

#[test]
fn a_device_that_does_not_stop_is_severed_in_vain() {
    let mut driver = FakeDriver::started(Stuck, 0);
    for _ in 0..2 {
        let lost = driver.transport.transport().sever().perform();
        assert!(lost.unwrap_err().to_string().contains("in flight"));
        assert!(driver.needs_reset());
    }
}

#[test]
fn a_device_that_is_taken_out_works_behind_another_transport() {
    let queues = Queues::default();
    let mut first = FakeDriver::started(Shelf(Arc::clone(&queues)), OFFERED);
    let device = first.transport.transport().take_device().unwrap();
    assert!(queues.lock().unwrap().is_empty());
    // The driver that had it is left with nothing.
    assert!(first.needs_reset());
    set_status(&mut first, 0);
    set_status(&mut first, 15);
    assert!(queues.lock().unwrap().is_empty());

    let mut second = FakeDriver::boxed(device);
    second.start(OFFERED);
    assert_eq!(second.status(), 15);
    drop(first);
    assert_eq!(queues.lock().unwrap().len(), 2);
}

#[test]
fn a_device_that_does_not_stop_is_not_given_out() {
    let mut driver = FakeDriver::started(Stuck, 0);
    for _ in 0..2 {
        assert!(driver.transport.transport().take_device().is_err());
    }
}

#[test]
fn a_driver_that_gives_up_sees_its_bit() {
    let (mut driver, _) = started_shelf();
    assert_eq!(set_status(&mut driver, 15 | 128), 15 | 128);
}

proptest! {
    /// Bits are added and never lost, except FEATURES_OK when refused;
    /// zero clears all.
    #[test]
    fn status_bits_are_not_lost(
        writes in prop::collection::vec(prop_oneof![any::<u32>(), 0u32..256], 1..12),
        acceptable: bool,
    ) {
        let (mut driver, _) = shelf();
        if acceptable {
            driver.accept_features(OFFERED);
        }
        let mut model = 0;
        let mut accepted = acceptable;
        for write in writes {
            let status = set_status(&mut driver, write);
            if write == 0 {
                model = 0;
                accepted = false;
                prop_assert_eq!(status, 0);
                continue;
            }
            model |= write & 0xff & !NEEDS_RESET;
            if !accepted {
                model &= !FEATURES_OK;
            }
            prop_assert_eq!(status & !NEEDS_RESET, model);
            // No queue is ready, so that it never gets to work.
            prop_assert_eq!(status & NEEDS_RESET != 0, model & DRIVER_OK != 0);
        }
    }
}
