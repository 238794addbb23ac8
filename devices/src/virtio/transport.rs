//! The device status machine and queue set-up that every transport shares
//! (virtio 1.3 §2.1, §3.1).
//!
//! Register maps ([`mmio`](super::mmio), [`pci`](super::pci)) translate accesses into
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
use vmm_sys_util::eventfd::EventFd;

use super::device::{Activation, DeviceInfo, StartError, VirtioDevice};
use super::interrupt::DeviceInterrupt;
use super::last_act::LastAct;
use super::queue::{Queue, QueueFault};
use super::queue_registers::{Area, Half, QueueRegisters};
use crate::memory::Ram;
use crate::reactor::ReactorError;

const DRIVER_OK: u32 = VIRTIO_CONFIG_S_DRIVER_OK;
const FEATURES_OK: u32 = VIRTIO_CONFIG_S_FEATURES_OK;
const NEEDS_RESET: u32 = VIRTIO_CONFIG_S_NEEDS_RESET;

/// Features of the transport, offered for every device.
const TRANSPORT_FEATURES: u64 =
    1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_EVENT_IDX | 1 << VIRTIO_RING_F_INDIRECT_DESC;

/// Whether the device works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    /// Not yet, or not any more since the last reset.
    Stopped,
    /// The device holds the queues.
    Running,
    /// Between [`Transport::pause`] and [`Transport::resume`].
    Paused,
    /// The device did not stop. What it had in flight may change guest memory
    /// at any time to come, so that it is never given back to the driver.
    Lost,
}

/// A register map over a [`Transport`].
pub trait RegisterMap: Send {
    /// What is beneath.
    fn transport(&mut self) -> &mut Transport;
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
        if self.interrupt.is_reset_needed() || self.activity == Activity::Lost {
            self.status | NEEDS_RESET
        } else {
            self.status
        }
    }

    /// The driver writes the device status register: zero resets, other
    /// values can only add bits. A device that did not stop takes a reset but
    /// does not complete it (§2.4.1): it never reads as zero nor works again.
    pub fn set_status(&mut self, value: u32) {
        if value == 0 {
            self.reset();
            return;
        }
        let mut value = value & 0xff & !NEEDS_RESET;
        if self.activity == Activity::Lost {
            value &= !(FEATURES_OK | DRIVER_OK);
        }
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

    /// Stops the device and takes its queues back. A device that once failed
    /// to stop fails for ever.
    fn stop(&mut self) -> Result<Vec<Queue>, ReactorError> {
        match self.activity {
            Activity::Running => self.activity = Activity::Lost,
            Activity::Lost => return Err(ReactorError::Stuck),
            Activity::Stopped | Activity::Paused => {
                self.activity = Activity::Stopped;
                return Ok(Vec::new());
            }
        }
        let stopped = self.device.stop();
        let queues = stopped.inspect_err(|_| self.interrupt.needs_reset())?;
        self.activity = Activity::Stopped;
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
        self.device.reset();
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
    /// Requests in flight did not finish, now or earlier: they may still
    /// change guest memory, and the device does not work again.
    pub fn pause(&mut self) -> Result<(), ReactorError> {
        if matches!(self.activity, Activity::Stopped | Activity::Paused) {
            return Ok(());
        }
        let queues = self.stop()?;
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

    /// Stops the device and takes it out, to be put behind another transport.
    /// What is left answers its driver as a device does that was lost.
    ///
    /// # Errors
    /// The device did not stop: nobody may use it again.
    pub fn take_device(&mut self) -> Result<Box<dyn VirtioDevice>, ReactorError> {
        self.stop()?;
        // Behind another transport there will be another guest.
        self.device.system_reset();
        self.activity = Activity::Lost;
        Ok(std::mem::replace(&mut self.device, Box::new(Vacancy)))
    }

    /// Has the device let go of what it stands on: its driver sees errors from
    /// then on. It goes on running if it ran. Waits for requests in flight as
    /// [`pause`](Self::pause) does, and for nothing else: the last act is left
    /// to the caller.
    ///
    /// A device whose requests do not finish is lost to its driver, and its
    /// last act waits for them.
    pub fn sever(&mut self) -> LastAct {
        let ran = self.activity == Activity::Running;
        match self.pause() {
            Ok(()) => {
                let last_act = self.device.sever();
                if ran {
                    self.resume();
                }
                last_act
            }
            Err(stuck) => self.device.sever().in_vain(stuck),
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
            0 => Half::Low.of(offered),
            1 => Half::High.of(offered),
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
            0 => Half::Low.set(&mut self.driver_features, value),
            1 => Half::High.set(&mut self.driver_features, value),
            _ if value != 0 => self.fault("the driver accepted a feature above bit 63"),
            _ => {}
        }
    }

    /// Chooses the queue that the queue registers are of.
    pub fn select_queue(&mut self, index: u32) {
        self.queue_select = index;
    }

    /// Which 32 of the offered feature bits are read.
    pub fn device_features_selected(&self) -> u32 {
        self.device_features_page
    }

    /// Which 32 of the accepted feature bits are written.
    pub fn driver_features_selected(&self) -> u32 {
        self.driver_features_page
    }

    /// The chosen 32 bits of the accepted features.
    pub fn driver_features(&self) -> u32 {
        match self.driver_features_page {
            0 => Half::Low.of(self.driver_features),
            1 => Half::High.of(self.driver_features),
            _ => 0,
        }
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// Which queue the queue registers are of.
    pub fn queue_selected(&self) -> u32 {
        self.queue_select
    }

    /// The chosen queue's size; 0 if there is no such queue.
    pub fn queue_size(&self) -> u16 {
        self.queue().map_or(0, |queue| queue.layout.size)
    }

    /// An address of the chosen queue.
    pub fn queue_address(&self, area: Area) -> u64 {
        self.queue().map_or(0, |queue| queue.address(area))
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
        if !queue.set_size(size) {
            self.fault("the driver set a queue size that is not allowed");
        }
    }

    /// The driver sets half of an address of the chosen queue.
    pub fn set_queue_address(&mut self, area: Area, which: Half, value: u32) {
        if let Some(queue) = self.queue_to_change() {
            which.set(queue.address_mut(area), value);
        }
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

/// What is behind a transport whose device was taken out.
struct Vacancy;

impl VirtioDevice for Vacancy {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            device_type: 0,
            features: 0,
            queue_sizes: Vec::new(),
        }
    }

    fn read_config(&self, _: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_config(&mut self, _: u64, _: &[u8]) {}

    fn start(&mut self, _: Activation) -> Result<(), StartError> {
        Err(ReactorError::Gone.into())
    }

    fn stop(&mut self) -> Result<Vec<Queue>, ReactorError> {
        Ok(Vec::new())
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        // A device that was lost has been told of.
        if self.activity == Activity::Lost {
            return;
        }
        if let Err(error) = self.stop() {
            self.failure(&error);
        }
    }
}

#[cfg(test)]
mod tests;
