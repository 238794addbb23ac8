//! The device status machine and queue set-up that every transport shares
//! (virtio 1.3 §2.1, §3.1).
//!
//! Register maps ([`mmio`](super::mmio), later PCI) translate accesses into
//! calls on [`Transport`], which is the only caller of a device's `start` and
//! `stop`. All registers here are written by the guest and untrusted: they
//! are vetted when the driver says `DRIVER_OK` and, while the device runs,
//! changes to them are counted as faults and ignored.

use std::io;
use std::sync::Arc;

use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET,
    VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::device::{Activation, DeviceInfo, VirtioDevice};
use super::interrupt::DeviceInterrupt;
use super::queue::{Queue, QueueFault, QueueLayout};
use crate::memory::Ram;
use crate::reactor::ReactorError;

const DRIVER_OK: u32 = VIRTIO_CONFIG_S_DRIVER_OK;
const FEATURES_OK: u32 = VIRTIO_CONFIG_S_FEATURES_OK;
const NEEDS_RESET: u32 = VIRTIO_CONFIG_S_NEEDS_RESET;

/// Features of the transport, offered for every device.
const TRANSPORT_FEATURES: u64 =
    1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_EVENT_IDX | 1 << VIRTIO_RING_F_INDIRECT_DESC;

/// One half of a 64-bit address, as drivers write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Bits 0 to 31.
    Low,
    /// Bits 32 to 63.
    High,
}

/// Which of a queue's three areas an address is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The descriptor table.
    Descriptors,
    /// The available ring.
    Available,
    /// The used ring.
    Used,
}

/// A queue's registers.
struct QueueRegisters {
    max_size: u16,
    layout: QueueLayout,
    ready: bool,
    kick: Arc<EventFd>,
}

impl QueueRegisters {
    fn new(max_size: u16) -> io::Result<Self> {
        Ok(Self {
            max_size,
            layout: QueueLayout {
                size: max_size,
                ..QueueLayout::default()
            },
            ready: false,
            kick: Arc::new(EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?),
        })
    }

    fn reset(&mut self) {
        self.ready = false;
        self.layout = QueueLayout {
            size: self.max_size,
            ..QueueLayout::default()
        };
    }
}

/// Whether the device works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    /// Not yet, or not any more since the last reset.
    Stopped,
    /// The device holds the queues.
    Running,
    /// Between [`Transport::pause`] and [`Transport::resume`].
    Paused,
}

/// A device's registers and what they have brought it to.
pub struct Transport {
    device: Box<dyn VirtioDevice>,
    info: DeviceInfo,
    ram: Ram,
    interrupt: DeviceInterrupt,
    activity: Activity,
    status: u32,
    driver_features: u64,
    device_features_page: u32,
    driver_features_page: u32,
    queue_select: u32,
    queues: Vec<QueueRegisters>,
    faults: u64,
    /// How often the device failed to start or to stop.
    failures: u64,
}

impl Transport {
    /// A transport for `device` over guest memory `ram`, reset.
    ///
    /// # Errors
    /// The process has no descriptor left for the queues' eventfds.
    pub fn new(
        device: Box<dyn VirtioDevice>,
        ram: Ram,
        interrupt: DeviceInterrupt,
    ) -> io::Result<Self> {
        let info = device.info();
        let queues = info.queue_sizes.iter().copied();
        let queues = queues.map(QueueRegisters::new).collect::<io::Result<_>>()?;
        Ok(Self {
            device,
            info,
            ram,
            interrupt,
            activity: Activity::Stopped,
            status: 0,
            driver_features: 0,
            device_features_page: 0,
            driver_features_page: 0,
            queue_select: 0,
            queues,
            faults: 0,
            failures: 0,
        })
    }

    /// Device type (§5).
    pub fn device_type(&self) -> u32 {
        self.info.device_type
    }

    /// The eventfds that the driver's notifications are to signal, by queue.
    pub fn kicks(&self) -> impl Iterator<Item = &EventFd> {
        self.queues.iter().map(|queue| &*queue.kick)
    }

    /// How often the driver broke the rules: of the status machine and, in
    /// queues that the device has given back, of descriptor chains.
    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// The device status register.
    pub fn status(&self) -> u32 {
        if self.interrupt.is_reset_needed() {
            self.status | NEEDS_RESET
        } else {
            self.status
        }
    }

    /// The driver writes the device status register: zero resets, other
    /// values can only add bits.
    pub fn set_status(&mut self, value: u32) {
        if value == 0 {
            self.reset();
            return;
        }
        let value = value & 0xff & !NEEDS_RESET;
        if value & self.status != self.status {
            self.fault("the driver cleared status bits without a reset");
        }
        let added = value & !self.status;
        self.status |= added;
        if added & FEATURES_OK != 0 && !self.features_acceptable() {
            // Left clear, the bit tells the driver so (§3.1.1 step 6).
            self.status &= !FEATURES_OK;
        }
        if added & DRIVER_OK != 0 {
            self.driver_ok();
        }
    }

    fn features_acceptable(&self) -> bool {
        let offered = self.info.features | TRANSPORT_FEATURES;
        let version_1 = self.driver_features & (1 << VIRTIO_F_VERSION_1) != 0;
        version_1 && self.driver_features & !offered == 0
    }

    fn driver_ok(&mut self) {
        if self.status & FEATURES_OK == 0 {
            self.fault("the driver said DRIVER_OK before FEATURES_OK");
            self.interrupt.needs_reset();
            return;
        }
        self.start();
    }

    /// Builds the queues and hands them to the device.
    fn start(&mut self) {
        let queues = match self.build_queues() {
            Ok(queues) => queues,
            Err(fault) => {
                self.fault(&fault.to_string());
                self.interrupt.needs_reset();
                return;
            }
        };
        let activation = Activation {
            ram: self.ram.clone(),
            features: self.driver_features,
            queues,
            interrupt: self.interrupt.clone(),
        };
        match self.device.start(activation) {
            Ok(()) => self.activity = Activity::Running,
            Err(error) => {
                self.failure(&error);
                self.interrupt.needs_reset();
            }
        }
    }

    /// Stops the device and takes its queues back.
    fn stop(&mut self) -> Result<Vec<Queue>, ReactorError> {
        self.activity = Activity::Stopped;
        let queues = self.device.stop()?;
        self.faults += queues.iter().map(Queue::faults).sum::<u64>();
        Ok(queues)
    }

    fn build_queues(&self) -> Result<Vec<Queue>, QueueFault> {
        let event_idx = self.driver_features & (1 << VIRTIO_RING_F_EVENT_IDX) != 0;
        let set_up = self.queues.iter().zip(0..).filter(|(q, _)| q.ready);
        set_up
            .map(|(queue, index)| {
                Queue::new(
                    index,
                    &queue.layout,
                    event_idx,
                    &self.ram,
                    Arc::clone(&queue.kick),
                    self.interrupt.clone(),
                )
            })
            .collect()
    }

    fn reset(&mut self) {
        if let Err(error) = self.stop() {
            self.failure(&error);
        }
        self.status = 0;
        self.driver_features = 0;
        self.device_features_page = 0;
        self.driver_features_page = 0;
        self.queue_select = 0;
        self.queues.iter_mut().for_each(QueueRegisters::reset);
        self.interrupt.reset();
    }

    /// Stops a running device and takes its queues back, so that nothing
    /// changes guest memory until [`resume`](Self::resume).
    ///
    /// # Errors
    /// Requests in flight did not finish: the device then needs a reset.
    pub fn pause(&mut self) -> Result<(), ReactorError> {
        if self.activity != Activity::Running {
            return Ok(());
        }
        let queues = self.stop().inspect_err(|_| self.interrupt.needs_reset())?;
        for mut queue in queues {
            // What the worker returned last, it may not have told of. A broken
            // ring is found again after `resume`.
            let _ = queue.notify();
            self.queues[usize::from(queue.index())].layout = queue.layout();
        }
        self.activity = Activity::Paused;
        Ok(())
    }

    /// Starts a paused device where it stopped.
    pub fn resume(&mut self) {
        if self.activity != Activity::Paused {
            return;
        }
        self.activity = Activity::Stopped;
        self.start();
        // The driver may have kicked before, or seen no need to.
        for queue in self.queues.iter().filter(|queue| queue.ready) {
            let _ = queue.kick.write(1);
        }
    }

    /// Chooses which 32 of the offered feature bits are read.
    pub fn select_device_features(&mut self, page: u32) {
        self.device_features_page = page;
    }

    /// The chosen 32 bits of the offered features.
    pub fn device_features(&self) -> u32 {
        let offered = self.info.features | TRANSPORT_FEATURES;
        match self.device_features_page {
            0 => half(offered, Half::Low),
            1 => half(offered, Half::High),
            _ => 0,
        }
    }

    /// Chooses which 32 of the accepted feature bits are written.
    pub fn select_driver_features(&mut self, page: u32) {
        self.driver_features_page = page;
    }

    /// The driver accepts features, 32 bits at a time.
    pub fn set_driver_features(&mut self, value: u32) {
        if self.status & FEATURES_OK != 0 {
            self.fault("the driver changed its features after FEATURES_OK");
            return;
        }
        match self.driver_features_page {
            0 => set_half(&mut self.driver_features, Half::Low, value),
            1 => set_half(&mut self.driver_features, Half::High, value),
            _ if value != 0 => self.fault("the driver accepted a feature above bit 63"),
            _ => {}
        }
    }

    /// Chooses the queue that the queue registers are of.
    pub fn select_queue(&mut self, index: u32) {
        self.queue_select = index;
    }

    /// The largest size of the chosen queue; 0 if there is no such queue.
    pub fn queue_max_size(&self) -> u16 {
        self.queue().map_or(0, |queue| queue.max_size)
    }

    /// Whether the driver has declared the chosen queue ready.
    pub fn queue_ready(&self) -> bool {
        self.queue().is_some_and(|queue| queue.ready)
    }

    /// The driver sets the chosen queue's size. A size that is not allowed is
    /// refused here, before it could be truncated, and the queue stays as it
    /// was.
    pub fn set_queue_size(&mut self, size: u32) {
        let Some(queue) = self.queue_to_change() else {
            return;
        };
        match u16::try_from(size) {
            Ok(size) if size.is_power_of_two() && size <= queue.max_size => {
                queue.layout.size = size;
            }
            _ => self.fault("the driver set a queue size that is not allowed"),
        }
    }

    /// The driver sets half of an address of the chosen queue.
    pub fn set_queue_address(&mut self, area: Area, which: Half, value: u32) {
        let Some(queue) = self.queue_to_change() else {
            return;
        };
        let address = match area {
            Area::Descriptors => &mut queue.layout.descriptors,
            Area::Available => &mut queue.layout.available,
            Area::Used => &mut queue.layout.used,
        };
        set_half(address, which, value);
    }

    /// The driver declares the chosen queue ready, or not.
    pub fn set_queue_ready(&mut self, ready: bool) {
        if let Some(queue) = self.queue_to_change() {
            queue.ready = ready;
        }
    }

    /// The driver notifies queue `index` by a register access that no
    /// ioeventfd caught.
    pub fn notify_queue(&mut self, index: u32) {
        let queue = usize::try_from(index).ok().and_then(|i| self.queues.get(i));
        match queue {
            Some(queue) => {
                let _ = queue.kick.write(1);
            }
            None => self.fault("the driver notified a queue that is not there"),
        }
    }

    /// Reads the device's configuration space.
    pub fn read_config(&self, offset: u64, data: &mut [u8]) {
        self.device.read_config(offset, data);
    }

    /// Writes the device's configuration space.
    pub fn write_config(&mut self, offset: u64, data: &[u8]) {
        self.device.write_config(offset, data);
    }

    /// Changes whenever the configuration space did.
    pub fn config_generation(&self) -> u32 {
        self.interrupt.generation()
    }

    /// Counts something that a driver must not do.
    pub(super) fn fault(&mut self, what: &str) {
        self.faults += 1;
        // The guest chooses how often: powers of two are worth a line.
        if self.faults.is_power_of_two() {
            let (kind, count) = (self.info.device_type, self.faults);
            log::warn!("virtio device type {kind}: {what} ({count} faults so far)");
        }
    }

    /// Counts that the device did not start or stop.
    fn failure(&mut self, error: &dyn std::error::Error) {
        self.failures += 1;
        // A driver can have it try again as often as it likes.
        if self.failures.is_power_of_two() {
            let (kind, count) = (self.info.device_type, self.failures);
            log::error!("virtio device type {kind}: {error} ({count} failures so far)");
        }
    }

    fn queue(&self) -> Option<&QueueRegisters> {
        self.queues.get(usize::try_from(self.queue_select).ok()?)
    }

    /// The chosen queue, if the driver may change it now.
    fn queue_to_change(&mut self) -> Option<&mut QueueRegisters> {
        let index = usize::try_from(self.queue_select).ok()?;
        if index >= self.queues.len() {
            self.fault("the driver set up a queue that is not there");
            return None;
        }
        if self.status & DRIVER_OK != 0 {
            self.fault("the driver changed a queue while the device runs");
            return None;
        }
        self.queues.get_mut(index)
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            self.failure(&error);
        }
    }
}

fn half(value: u64, which: Half) -> u32 {
    let value = match which {
        Half::Low => value & 0xffff_ffff,
        Half::High => value >> 32,
    };
    u32::try_from(value).expect("32 bits are left")
}

fn set_half(target: &mut u64, which: Half, value: u32) {
    *target = match which {
        Half::Low => *target & !0xffff_ffff | u64::from(value),
        Half::High => *target & 0xffff_ffff | u64::from(value) << 32,
    };
}

#[cfg(test)]
mod tests {
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
    fn a_device_that_does_not_stop_needs_a_reset() {
        let mut driver = FakeDriver::started(Stuck, 0);
        assert!(driver.transport.pause().is_err());
        assert!(driver.needs_reset());
        driver.transport.resume();
        assert!(driver.needs_reset());
        assert_eq!(set_status(&mut driver, 0), 0);
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
}
