//! The front of a vsock device: its identity, configuration space and life
//! cycle. The transport calls it.

use std::io;
use std::sync::Arc;

use super::cid::GuestCid;
use super::counters::Counters;
use super::host::HostEnd;
use super::switchboard::Switchboard;
use super::worker::VsockWorker;
use crate::clock::{AlarmClock, Timer};
use crate::reactor::{Attached, ReactorError, ReactorHandle};
use crate::virtio::device::{
    Activation, DeviceInfo, STOP_PATIENCE, StartError, VirtioDevice, read_config_from,
};
use crate::virtio::last_act::LastAct;
use crate::virtio::queue::Queue;

/// Device type (§5.10.1).
const VIRTIO_ID_VSOCK: u32 = 19;

/// Streams are what there is (§5.10.3).
const FEATURE_STREAM: u64 = 1;

/// Queue numbers (§5.10.2) and their size.
const RECEIVE_QUEUE: u16 = 0;
const TRANSMIT_QUEUE: u16 = 1;
const EVENT_QUEUE: u16 = 2;
const QUEUE_SIZE: u16 = 256;

/// A vsock device.
pub struct Vsock {
    cid: GuestCid,
    /// Here while the device is stopped. Lost if the reactor ends.
    switchboard: Option<Box<Switchboard>>,
    running: Option<Attached<VsockWorker>>,
    reactor: ReactorHandle,
    counters: Arc<Counters>,
}

impl Vsock {
    /// A stopped device for the guest `cid`, whose worker will run on
    /// `reactor`. Until the guest's driver is there, host programs that
    /// connect wait.
    ///
    /// # Errors
    /// The process has no descriptor left, or the host's end is no socket.
    pub fn new(cid: GuestCid, host: HostEnd, reactor: ReactorHandle) -> io::Result<Self> {
        Self::with_clock(cid, host, reactor, Timer::new()?)
    }

    /// The same, with patience that goes by `clock`.
    pub(super) fn with_clock(
        cid: GuestCid,
        host: HostEnd,
        reactor: ReactorHandle,
        clock: impl AlarmClock + 'static,
    ) -> io::Result<Self> {
        let counters = Arc::default();
        let switchboard = Switchboard::new(cid, host, Arc::clone(&counters), clock)?;
        Ok(Self {
            cid,
            switchboard: Some(Box::new(switchboard)),
            running: None,
            reactor,
            counters,
        })
    }

    /// The device's counters, to look at while it runs.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }
}

impl VirtioDevice for Vsock {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            device_type: VIRTIO_ID_VSOCK,
            features: FEATURE_STREAM,
            queue_sizes: vec![QUEUE_SIZE; 3],
        }
    }

    /// The guest's context id (§5.10.4).
    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let cid = u64::from(self.cid.get());
        read_config_from(&cid.to_le_bytes(), offset, data);
    }

    fn write_config(&mut self, _: u64, _: &[u8]) {}

    fn start(&mut self, mut activation: Activation) -> Result<(), StartError> {
        let receive = activation.take_queue(RECEIVE_QUEUE)?;
        let transmit = activation.take_queue(TRANSMIT_QUEUE)?;
        let events = activation.take_queue(EVENT_QUEUE)?;
        let switchboard = self.switchboard.take().ok_or(ReactorError::Gone)?;
        let worker = VsockWorker::new(receive, transmit, events, switchboard, self.counters());
        match self.reactor.attach(worker) {
            Ok(attached) => {
                self.running = Some(attached);
                Ok(())
            }
            Err(refused) => {
                let (switchboard, _) = refused.worker.into_parts();
                self.switchboard = Some(switchboard);
                Err(refused.reason.into())
            }
        }
    }

    /// Programs of the host are hung up on, and nobody is there any more.
    fn sever(&mut self) -> LastAct {
        if let Some(switchboard) = &mut self.switchboard {
            switchboard.sever();
        }
        LastAct::none()
    }

    fn stop(&mut self) -> Result<Vec<Queue>, ReactorError> {
        let Some(attached) = self.running.take() else {
            return Ok(Vec::new());
        };
        let (switchboard, queues) = attached.detach(STOP_PATIENCE)?.into_parts();
        self.switchboard = Some(switchboard);
        Ok(queues)
    }

    fn reset(&mut self) {
        if let Some(switchboard) = &mut self.switchboard {
            switchboard.clear();
        }
    }
}
