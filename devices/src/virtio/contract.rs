//! What every virtio device owes its driver, as tests that are stamped onto
//! each of them with [`device_contract!`].
//!
//! The suite knows nothing of a device but which of its queues answer every
//! chain, however senseless. It drives the device through its transport, as a
//! guest would.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::device::VirtioDevice;
use super::fake_driver::{FakeDriver, MEMORY, RawDescriptor};
use crate::bus::BusDevice;

/// Stamps the contract onto a device.
///
/// `$make` is a function that returns a new device and whatever must outlive
/// it (a reactor, a file). `$queues` are the queues that answer every chain.
macro_rules! device_contract {
    ($make:path, queues: $queues:expr) => {
        $crate::virtio::contract::device_contract!(@tests $make, $queues,
            stopping_and_starting_twice_is_harmless,
            a_stop_in_mid_request_loses_and_repeats_nothing,
            a_restart_goes_on_where_it_stopped,
            configuration_space_can_be_accessed_anyhow,
            every_chain_comes_back_whatever_is_in_it,
            a_broken_queue_is_mended_by_a_reset,
            a_reset_works_from_any_status,
            features_that_are_not_offered_are_not_accepted,
            a_busy_device_can_be_dropped,
        );
    };
    (@tests $make:path, $queues:expr, $($name:ident,)*) => {
        mod contract {
            use super::*;
            $(#[test]
            fn $name() {
                $crate::virtio::contract::$name($make, &$queues);
            })*
        }
    };
}
pub(crate) use device_contract;

/// A driver with a device, and what that stands on.
struct Bench<W> {
    driver: FakeDriver,
    _world: W,
}

impl<W> Bench<W> {
    fn new<D: VirtioDevice + 'static>(make: fn() -> (D, W)) -> Self {
        let (device, world) = make();
        Self {
            driver: FakeDriver::new(device),
            _world: world,
        }
    }

    fn started<D: VirtioDevice + 'static>(make: fn() -> (D, W)) -> Self {
        let mut bench = Self::new(make);
        bench.driver.start(u64::MAX);
        bench
    }

    /// A chain that means little to any device.
    fn add(&mut self, queue: usize) -> u16 {
        let buffers = [self.driver.readable(&[0; 32]), self.driver.writable(64)];
        self.driver.add(queue, &buffers)
    }

    fn assert_answers(&mut self, queues: &[usize]) {
        for &queue in queues {
            let head = self.add(queue);
            self.driver.kick(queue);
            assert_eq!(self.driver.wait(queue).head, head);
        }
    }
}

/// Heads, each with how often it is outstanding.
type Outstanding = BTreeMap<u16, usize>;

fn wait_for_all<W>(bench: &mut Bench<W>, queue: usize, mut outstanding: Outstanding) {
    let count: usize = outstanding.values().sum();
    for _ in 0..count {
        let head = bench.driver.wait(queue).head;
        let left = outstanding.get_mut(&head).expect("the head was available");
        *left = left.checked_sub(1).expect("a chain comes back once");
    }
    assert_eq!(bench.driver.used(queue), None, "a chain came back twice");
}

/// A device that never ran can be stopped, and any state can be entered
/// twice.
pub(crate) fn stopping_and_starting_twice_is_harmless<D, W>(make: fn() -> (D, W), queues: &[usize])
where
    D: VirtioDevice + 'static,
{
    let (mut device, world) = make();
    for _ in 0..2 {
        assert!(device.stop().expect("nothing is in flight").is_empty());
    }
    drop((device, world));

    let mut bench = Bench::started(make);
    bench.assert_answers(queues);
    for _ in 0..2 {
        bench.driver.transport.pause().expect("it stops");
    }
    for _ in 0..2 {
        bench.driver.transport.resume();
    }
    bench.assert_answers(queues);
    for _ in 0..2 {
        bench
            .driver
            .write(virtio_bindings::virtio_mmio::VIRTIO_MMIO_STATUS, 15);
    }
    bench.assert_answers(queues);
    bench.driver.start(u64::MAX);
    bench.assert_answers(queues);
}

/// A pause while requests are in flight, and what was not taken on stays in
/// the queue.
pub(crate) fn a_stop_in_mid_request_loses_and_repeats_nothing<D, W>(
    make: fn() -> (D, W),
    queues: &[usize],
) where
    D: VirtioDevice + 'static,
{
    let mut bench = Bench::started(make);
    for &queue in queues {
        let mut outstanding = Outstanding::new();
        for i in 0..100 {
            *outstanding.entry(bench.add(queue)).or_default() += 1;
            if i % 10 == 0 {
                bench.driver.kick(queue);
            }
        }
        for _ in 0..3 {
            bench.driver.transport.pause().expect("it stops");
            bench.driver.transport.resume();
        }
        wait_for_all(&mut bench, queue, outstanding);
    }
}

/// Positions in the queues survive a stop, past the wrap of the ring.
pub(crate) fn a_restart_goes_on_where_it_stopped<D, W>(make: fn() -> (D, W), queues: &[usize])
where
    D: VirtioDevice + 'static,
{
    let mut bench = Bench::started(make);
    // Never notified of, as after being restored from a saved state.
    let unseen: Vec<_> = queues.iter().map(|&queue| bench.add(queue)).collect();
    bench.driver.transport.pause().expect("it stops");
    bench.driver.transport.resume();
    for (&queue, head) in queues.iter().zip(unseen) {
        assert_eq!(bench.driver.wait(queue).head, head);
    }
    for _ in 0..150 {
        bench.assert_answers(queues);
        bench.driver.transport.pause().expect("it stops");
        // Made available while nobody looks.
        let heads: Vec<_> = queues.iter().map(|&queue| bench.add(queue)).collect();
        bench.driver.transport.resume();
        for (&queue, head) in queues.iter().zip(heads) {
            assert_eq!(bench.driver.wait(queue).head, head);
        }
    }
}

/// Offsets and widths of any kind; a wide read is what its bytes are.
pub(crate) fn configuration_space_can_be_accessed_anyhow<D, W>(
    make: fn() -> (D, W),
    queues: &[usize],
) where
    D: VirtioDevice + 'static,
{
    let mut bench = Bench::started(make);
    let bytes: Vec<u8> = (0..0x200).map(|at| bench.driver.config(at, 1)[0]).collect();
    for offset in 0..0x1f8 {
        for width in 1..=8 {
            let wide = bench.driver.config(offset, width);
            let at = usize::try_from(offset).expect("small");
            assert_eq!(wide, bytes[at..at + width], "{width} bytes at {offset:#x}");
        }
    }
    for offset in (0..0x200).chain([0xfff, 1 << 32, u64::MAX - 0x1ff]) {
        for width in 1..=8 {
            for value in [0xff, 0, 0x5a] {
                bench.driver.set_config(offset, &[value; 8][..width]);
                bench.driver.config(offset, width);
            }
        }
    }
    let mut data = [0; 8];
    bench.driver.transport.read(u64::MAX, &mut data);
    bench.driver.transport.write(u64::MAX, &data);
    bench.assert_answers(queues);
}

/// Random descriptors, linked at random: each chain is used once, and the
/// device still works.
pub(crate) fn every_chain_comes_back_whatever_is_in_it<D, W>(make: fn() -> (D, W), queues: &[usize])
where
    D: VirtioDevice + 'static,
{
    let descriptors = prop::collection::vec(descriptor(), 64);
    let heads = prop::collection::vec(0u16..64, 1..64);
    let mut runner = TestRunner::new(Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&(descriptors, heads), |(descriptors, heads)| {
        let mut bench = Bench::started(make);
        for &queue in queues {
            for (descriptor, index) in descriptors.iter().zip(0..) {
                bench.driver.set_descriptor(queue, index, *descriptor);
            }
            let mut outstanding = Outstanding::new();
            for &head in &heads {
                *outstanding.entry(head).or_default() += 1;
                bench.driver.make_available(queue, head);
            }
            bench.driver.kick(queue);
            wait_for_all(&mut bench, queue, outstanding);
        }
        bench.assert_answers(queues);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// Descriptors that are often right, so that chains get somewhere.
fn descriptor() -> impl Strategy<Value = RawDescriptor> {
    // Away from the rings, which the device would otherwise overwrite.
    let address = prop_oneof![
        6 => 0x10_0000u64..0x20_0000,
        1 => MEMORY as u64 - 600..MEMORY as u64 + 600,
        1 => 0x10_0000..u64::MAX,
    ];
    let len = prop_oneof![
        3 => 0u32..40,
        3 => prop::sample::select(vec![1, 12, 16, 20, 512, 4096]),
        1 => 0u32..0x10_0000,
        1 => any::<u32>(),
    ];
    // NEXT and WRITE; now and then INDIRECT.
    let flags = prop_oneof![6 => 0u16..4, 1 => 0u16..8];
    (address, len, flags, 0u16..70).prop_map(|(address, len, flags, next)| RawDescriptor {
        address,
        len,
        flags,
        next,
    })
}

/// An available index that runs ahead, and a head that is no descriptor.
pub(crate) fn a_broken_queue_is_mended_by_a_reset<D, W>(make: fn() -> (D, W), queues: &[usize])
where
    D: VirtioDevice + 'static,
{
    let mut bench = Bench::started(make);
    for &queue in queues {
        bench.driver.set_available_index(queue, 0x8000);
        bench.driver.kick(queue);
        bench.driver.wait_for_needs_reset();
        bench.driver.start(u64::MAX);
        assert!(!bench.driver.needs_reset());
        bench.assert_answers(queues);

        bench.driver.make_available(queue, 0xffff);
        bench.driver.kick(queue);
        bench.driver.wait_for_needs_reset();
        bench.driver.start(u64::MAX);
        bench.assert_answers(queues);
    }
}

/// Whatever was written to the status register before, zero resets.
pub(crate) fn a_reset_works_from_any_status<D, W>(make: fn() -> (D, W), queues: &[usize])
where
    D: VirtioDevice + 'static,
{
    let status = virtio_bindings::virtio_mmio::VIRTIO_MMIO_STATUS;
    let mut bench = Bench::new(make);
    for value in 0..=0x1ff {
        bench.driver.write(status, value);
        bench.driver.write(status, 0);
        assert_eq!(bench.driver.status(), 0, "after {value:#x}");
    }
    for value in [1, 3, 11, 15, 128, 255] {
        bench.driver.start(u64::MAX);
        bench.driver.write(status, value);
        bench.driver.write(status, 0);
        assert_eq!(bench.driver.status(), 0, "after {value:#x} while running");
    }
    bench.driver.start(u64::MAX);
    bench.assert_answers(queues);
}

/// The device does not let `FEATURES_OK` stand.
pub(crate) fn features_that_are_not_offered_are_not_accepted<D, W>(
    make: fn() -> (D, W),
    queues: &[usize],
) where
    D: VirtioDevice + 'static,
{
    let status = virtio_bindings::virtio_mmio::VIRTIO_MMIO_STATUS;
    let mut bench = Bench::new(make);
    let offered = bench.driver.offered_features();
    for bit in (0..64).filter(|bit| offered & 1 << bit == 0) {
        bench.driver.write(status, 0);
        bench.driver.write(status, 3);
        bench.driver.accept_features(1 << 32 | 1 << bit);
        bench.driver.write(status, 11);
        assert_eq!(bench.driver.status(), 3, "bit {bit}");
    }
    // With nothing but what every driver must accept, it works.
    bench.driver.start(0);
    bench.assert_answers(queues);
}

/// Dropping it ends its worker, whatever that was doing.
pub(crate) fn a_busy_device_can_be_dropped<D, W>(make: fn() -> (D, W), queues: &[usize])
where
    D: VirtioDevice + 'static,
{
    for _ in 0..20 {
        let mut bench = Bench::started(make);
        for &queue in queues {
            for _ in 0..50 {
                bench.add(queue);
            }
            bench.driver.kick(queue);
        }
    }
}
