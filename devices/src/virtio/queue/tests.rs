//! The queue, worked by hand through a [`Shelf`](crate::virtio::loopback::Shelf)
//! while a driver behaves or misbehaves at the other end.

use super::*;
use crate::virtio::fake_driver::{Buffer, FakeDriver, MEMORY, RawDescriptor, Used};
use crate::virtio::loopback::{QUEUE_SIZE, echo, shelved};
use proptest::prelude::*;

const EVENT_IDX: u64 = 1 << 29;
const END: u64 = MEMORY as u64;

/// Pops and answers what is there. Returns how many requests that was.
fn serve(queue: &mut Queue) -> usize {
    let mut chain = Chain::new(queue.ram());
    let mut count = 0;
    while queue.pop(&mut chain).unwrap() {
        let written = echo(&mut chain);
        queue.push(chain.head(), written).unwrap();
        count += 1;
    }
    count
}

fn add(driver: &mut FakeDriver) -> u16 {
    let buffer = driver.readable(b"x");
    driver.add(0, &[buffer])
}

#[test]
fn a_layout_must_be_aligned_and_in_memory() {
    let (driver, queue) = shelved(0);
    let good = queue.layout();
    let allowed = |change: &dyn Fn(&mut QueueLayout)| {
        let mut layout = good;
        change(&mut layout);
        let queue = Queue::new(
            0,
            &layout,
            false,
            &driver.ram,
            Arc::clone(&queue.kick),
            queue.interrupt.clone(),
        );
        queue.map(|queue| queue.layout() == layout)
    };
    assert_eq!(allowed(&|_| {}), Ok(true));
    assert_eq!(allowed(&|l| l.descriptors = END - 256), Ok(true));
    assert_eq!(allowed(&|l| l.available = END - 38), Ok(true));
    assert_eq!(allowed(&|l| l.used = END - 136), Ok(true));
    for size in [0, 3, 15, 0x8001, u16::MAX] {
        let refused = allowed(&|l| l.size = size);
        assert_eq!(refused, Err(QueueFault::Layout), "size {size}");
    }
    for address in [END - 16, END, 1 << 63, !0xf] {
        for change in [
            |l: &mut QueueLayout, address| l.descriptors = address,
            |l: &mut QueueLayout, address| l.available = address,
            |l: &mut QueueLayout, address| l.used = address,
        ] {
            let refused = allowed(&|l| change(l, address));
            assert_eq!(refused, Err(QueueFault::Layout), "at {address:#x}");
        }
    }
    assert_eq!(allowed(&|l| l.descriptors += 8), Err(QueueFault::Layout));
    assert_eq!(allowed(&|l| l.available += 1), Err(QueueFault::Layout));
    assert_eq!(allowed(&|l| l.used += 2), Err(QueueFault::Layout));
    assert_eq!(allowed(&|l| l.available = 0), Err(QueueFault::Layout));
}

#[test]
fn an_available_index_that_runs_ahead_breaks_the_ring() {
    let (mut driver, mut queue) = shelved(0);
    let mut chain = Chain::new(&driver.ram);
    for index in [QUEUE_SIZE + 1, 0x8000, u16::MAX] {
        driver.set_available_index(0, index);
        for _ in 0..3 {
            assert_eq!(queue.pop(&mut chain), Err(QueueFault::Ring));
        }
    }
    assert_eq!(driver.used(0), None);
}

#[test]
fn a_head_out_of_range_breaks_the_ring() {
    for head in [QUEUE_SIZE, u16::MAX] {
        let (mut driver, mut queue) = shelved(0);
        let mut chain = Chain::new(&driver.ram);
        driver.make_available(0, head);
        // It cannot be returned: the driver knows no request by it.
        for _ in 0..3 {
            assert_eq!(queue.pop(&mut chain), Err(QueueFault::Ring));
        }
        assert_eq!(driver.used(0), None);
    }
}

#[test]
fn more_requests_in_flight_than_the_queue_holds_break_the_ring() {
    let (mut driver, mut queue) = shelved(0);
    let mut chain = Chain::new(&driver.ram);
    let head = add(&mut driver);
    assert_eq!(queue.pop(&mut chain), Ok(true));
    for _ in 1..QUEUE_SIZE {
        driver.make_available(0, head);
        assert_eq!(queue.pop(&mut chain), Ok(true));
    }
    assert_eq!(queue.pop(&mut chain), Ok(false), "full, and nothing wrong");
    driver.make_available(0, head);
    for _ in 0..3 {
        assert_eq!(queue.pop(&mut chain), Err(QueueFault::Ring));
    }
}

#[test]
fn only_heads_of_the_queue_can_be_returned() {
    let (mut driver, mut queue) = shelved(0);
    assert_eq!(queue.push(QUEUE_SIZE, 0), Err(QueueFault::Ring));
    assert_eq!(driver.used(0), None);
}

#[test]
fn requests_returned_together_are_seen_together_or_not_at_all() {
    let (mut driver, mut queue) = shelved(0);
    let mut chain = Chain::new(&driver.ram);
    let heads: Vec<_> = (0..3).map(|_| add(&mut driver)).collect();
    for _ in &heads {
        assert_eq!(queue.pop(&mut chain), Ok(true));
    }
    let unknown = [(heads[0], 0), (QUEUE_SIZE, 0)];
    assert_eq!(queue.push_together(unknown), Err(QueueFault::Ring));
    let many = (0..=QUEUE_SIZE).map(|_| (0, 0));
    assert_eq!(queue.push_together(many), Err(QueueFault::Ring));
    assert_eq!(driver.used(0), None);
    queue.notify().unwrap();
    assert_eq!(driver.take_interrupts(), 0);
    let used = heads.iter().map(|head| (*head, 7));
    queue.push_together(used).unwrap();
    for head in heads {
        assert_eq!(driver.used(0), Some(Used { head, written: 7 }));
    }
    assert_eq!(driver.used(0), None);
}

#[test]
fn malformed_chains_without_end_leave_others_their_turn() {
    let (mut driver, mut queue) = shelved(0);
    let mut chain = Chain::new(&driver.ram);
    let outside = RawDescriptor {
        address: END,
        len: 1,
        flags: 0,
        next: 0,
    };
    driver.set_descriptor(0, 3, outside);
    for _ in 0..QUEUE_SIZE {
        driver.make_available(0, 3);
    }
    assert_eq!(queue.pop(&mut chain), Ok(false));
    assert_eq!(queue.faults(), u64::from(QUEUE_SIZE));
    for _ in 0..QUEUE_SIZE {
        assert_eq!(driver.used(0).unwrap().head, 3);
    }
    // All of them are notified of, though no request was served.
    queue.notify().unwrap();
    assert_eq!(driver.take_interrupts(), 1);
    add(&mut driver);
    assert_eq!(serve(&mut queue), 1);
}

#[test]
fn a_kick_by_the_worker_itself_is_a_kick() {
    let (_driver, queue) = shelved(0);
    assert!(queue.kick.read().is_err(), "no kick yet");
    queue.kick_again();
    assert_eq!(queue.kick.read().unwrap(), 1);
}

#[test]
fn an_unpopped_request_is_popped_again() {
    let (mut driver, mut queue) = shelved(0);
    let mut chain = Chain::new(&driver.ram);
    let heads = [add(&mut driver), add(&mut driver)];
    for head in heads {
        for _ in 0..3 {
            assert_eq!(queue.pop(&mut chain), Ok(true));
            assert_eq!(chain.head(), head);
            queue.unpop();
        }
        assert_eq!(queue.pop(&mut chain), Ok(true));
    }
    assert_eq!(queue.pop(&mut chain), Ok(false));
}

#[test]
fn interrupts_follow_what_was_returned() {
    let (mut driver, mut queue) = shelved(0);
    queue.notify().unwrap();
    assert_eq!(driver.take_interrupts(), 0, "nothing was returned yet");
    for _ in 0..3 {
        add(&mut driver);
    }
    serve(&mut queue);
    queue.notify().unwrap();
    queue.notify().unwrap();
    assert_eq!(driver.take_interrupts(), 1, "one for all three");
}

#[test]
fn the_no_interrupt_flag_is_honoured() {
    let (mut driver, mut queue) = shelved(0);
    for (flags, interrupts) in [(1, 0), (0, 1), (1, 0)] {
        driver.suppress_interrupts(0, flags, 0);
        add(&mut driver);
        serve(&mut queue);
        queue.notify().unwrap();
        assert_eq!(driver.take_interrupts(), interrupts, "flags {flags}");
    }
}

#[test]
fn an_interrupt_comes_when_the_used_event_is_passed() {
    let (mut driver, mut queue) = shelved(EVENT_IDX);
    // The flag means nothing with event indices (§2.7.7.1).
    driver.suppress_interrupts(0, 1, 3);
    for (returned, interrupts) in [(2, 0), (1, 0), (2, 1), (2, 0)] {
        for _ in 0..returned {
            add(&mut driver);
        }
        serve(&mut queue);
        queue.notify().unwrap();
        assert_eq!(driver.take_interrupts(), interrupts);
    }
    driver.suppress_interrupts(0, 0, 7);
    add(&mut driver);
    serve(&mut queue);
    queue.notify().unwrap();
    assert_eq!(driver.take_interrupts(), 1);
}

#[test]
fn the_driver_is_told_whether_to_notify() {
    let (mut driver, mut queue) = shelved(0);
    queue.disable_notification().unwrap();
    assert_eq!(driver.notification_wishes(0).0, 1);
    assert_eq!(queue.enable_notification(), Ok(false));
    assert_eq!(driver.notification_wishes(0).0, 0);
    // A request that comes while notifications are off is not lost.
    queue.disable_notification().unwrap();
    add(&mut driver);
    assert_eq!(queue.enable_notification(), Ok(true));
    assert_eq!(serve(&mut queue), 1);
    assert_eq!(queue.enable_notification(), Ok(false));
}

#[test]
fn the_driver_is_told_when_to_notify() {
    let (mut driver, mut queue) = shelved(EVENT_IDX);
    for served in 1..4 {
        queue.disable_notification().unwrap();
        add(&mut driver);
        assert_eq!(queue.enable_notification(), Ok(true));
        assert_eq!(serve(&mut queue), 1);
        assert_eq!(queue.enable_notification(), Ok(false));
        assert_eq!(driver.notification_wishes(0), (0, served));
    }
}

#[test]
fn indices_wrap_around() {
    let (mut driver, mut queue) = shelved(EVENT_IDX);
    let address = driver.allocate(1);
    let buffer = Buffer::Readable { address, len: 1 };
    for round in 0..=u16::MAX {
        let head = driver.add(0, &[buffer]);
        driver.suppress_interrupts(0, 0, round);
        assert_eq!(serve(&mut queue), 1);
        queue.notify().unwrap();
        assert_eq!(driver.used(0).unwrap().head, head);
    }
    assert_eq!(driver.take_interrupts(), 1 << 16);
    assert_eq!(queue.layout().next_available, 0);
}

/// An address that is interesting: in plain memory, at its edges, and if
/// `wild` also in the queue itself.
fn address(wild: bool) -> BoxedStrategy<u64> {
    let tame = prop_oneof![
        4 => 0x100_0000u64..0x100_1000,
        2 => END / 2 - 0x100..END / 2 + 0x100,
        1 => END - 0x100..END + 0x100,
        1 => END + 0x100..,
    ];
    if wild {
        prop_oneof![2 => tame, 1 => 0x1_0000u64..0x1_0400].boxed()
    } else {
        tame.boxed()
    }
}

fn descriptor(wild: bool) -> impl Strategy<Value = RawDescriptor> {
    let len = prop_oneof![6 => 0u32..0x80, 2 => (0u32..20).prop_map(|n| 16 * n), 1 => 0u32..];
    // NEXT, WRITE, INDIRECT in any combination; others mean nothing.
    let flags = prop_oneof![4 => 0u16..4, 1 => 0u16..16];
    (address(wild), len, flags, 0u16..QUEUE_SIZE + 2).prop_map(
        move |(address, len, flags, next)| RawDescriptor {
            address,
            // A tame buffer does not wrap into the queue.
            len: if wild { len } else { len.min(0x1000) },
            flags,
            next,
        },
    )
}

fn table(wild: bool) -> impl Strategy<Value = Vec<RawDescriptor>> {
    prop::collection::vec(descriptor(wild), usize::from(QUEUE_SIZE))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever the descriptors say, each head that is made available
    /// comes back exactly once.
    #[test]
    fn every_head_comes_back_once(
        table in table(false),
        indirect in table(false),
        batches in prop::collection::vec(
            prop::collection::vec(0..QUEUE_SIZE, 0..=usize::from(QUEUE_SIZE)),
            1..4,
        ),
    ) {
        let (mut driver, mut queue) = shelved(u64::MAX);
        let mut chain = Chain::new(&driver.ram);
        driver.poke_table(0x100_0000, &indirect);
        for batch in batches {
            // The device may have written over the tables.
            for (descriptor, i) in table.iter().zip(0..) {
                driver.set_descriptor(0, i, *descriptor);
            }
            for head in &batch {
                driver.make_available(0, *head);
            }
            let mut in_flight = Vec::new();
            while queue.pop(&mut chain).unwrap() {
                in_flight.push((chain.head(), echo(&mut chain)));
                prop_assert!(in_flight.len() <= batch.len());
            }
            // Devices finish in any order.
            for (head, written) in in_flight.into_iter().rev() {
                queue.push(head, written).unwrap();
            }
            queue.notify().unwrap();
            let mut returned: Vec<_> =
                std::iter::from_fn(|| driver.used(0)).map(|used| used.head).collect();
            returned.sort_unstable();
            let mut expected = batch;
            expected.sort_unstable();
            prop_assert_eq!(returned, expected);
        }
    }

    /// A driver that lets the device write over its own queue, and
    /// publishes what it likes, hurts nobody.
    #[test]
    fn a_wild_driver_is_survived(
        table in table(true),
        events in prop::collection::vec((any::<u16>(), 0..QUEUE_SIZE + 2, any::<bool>()), 1..20),
        features in prop_oneof![Just(0), Just(u64::MAX)],
    ) {
        let (mut driver, mut queue) = shelved(features);
        let mut chain = Chain::new(&driver.ram);
        for (descriptor, i) in table.iter().zip(0..) {
            driver.set_descriptor(0, i, *descriptor);
        }
        for (index, head, publish) in events {
            if publish {
                driver.set_available_index(0, index);
            }
            driver.make_available(0, head);
            for _ in 0..2 * QUEUE_SIZE {
                let _ = queue.enable_notification();
                match queue.pop(&mut chain) {
                    Ok(true) => {
                        let written = echo(&mut chain);
                        queue.push(chain.head(), written).unwrap();
                    }
                    Ok(false) | Err(_) => break,
                }
            }
            let _ = queue.notify();
        }
    }
}
