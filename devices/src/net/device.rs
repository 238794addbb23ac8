//! The front of a network device: its identity, configuration space and life
//! cycle. The transport calls it.

use std::io;
use std::sync::Arc;

use virtio_bindings::virtio_ids::VIRTIO_ID_NET;
use virtio_bindings::virtio_net::{VIRTIO_NET_F_MAC, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_MTU};

use super::counters::Counters;
use super::handle::NetHandle;
use super::limited_port::LimitedPort;
use super::mac::MacAddress;
use super::mtu::Mtu;
use super::offloads::Offloads;
use super::port::Port;
use super::receive::{Receive, ReceiveMode};
use super::severed_port::SeveredPort;
use super::transmit::Transmit;
use super::worker::NetWorker;
use crate::clock::{AlarmClock, Timer};
use crate::reactor::{Attached, ReactorError, ReactorHandle};
use crate::virtio::device::{
    Activation, DeviceInfo, STOP_PATIENCE, StartError, VirtioDevice, read_config_from,
};
use crate::virtio::last_act::LastAct;
use crate::virtio::queue::Queue;

/// Queue numbers (§5.1.2) of the one queue pair, and their size.
const RECEIVE_QUEUE: u16 = 0;
const TRANSMIT_QUEUE: u16 = 1;
const QUEUE_SIZE: u16 = 256;

/// The configuration space up to and including the MTU (§5.1.4).
const CONFIG_SIZE: usize = 12;
const CONFIG_MTU: usize = 10;

/// What the driver is told about its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetOptions {
    /// The interface's address.
    pub mac: MacAddress,
    /// The interface's MTU; the driver chooses if there is none here.
    pub mtu: Option<Mtu>,
}

/// A network device with one queue pair.
pub struct Net {
    options: NetOptions,
    /// What the port can carry.
    offloads: Offloads,
    /// Here while the device is stopped. Lost if the reactor ends while it
    /// runs.
    port: Option<Box<dyn Port>>,
    running: Option<Attached<NetWorker>>,
    reactor: ReactorHandle,
    handle: NetHandle,
}

impl Net {
    /// A stopped device on `port`, whose worker will run on `reactor`.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new(
        port: Box<dyn Port>,
        options: NetOptions,
        reactor: ReactorHandle,
    ) -> io::Result<Self> {
        let clocks = [Timer::new()?, Timer::new()?];
        Self::with_clocks(port, options, reactor, clocks)
    }

    /// The same, with limits that go by `clocks`, of which receiving and
    /// transmitting take one each.
    pub(super) fn with_clocks<C: AlarmClock + 'static>(
        port: Box<dyn Port>,
        options: NetOptions,
        reactor: ReactorHandle,
        clocks: [C; 2],
    ) -> io::Result<Self> {
        let handle = NetHandle::default();
        let [receive, transmit] = clocks;
        let receive = handle.receive().gate(receive)?;
        let transmit = handle.transmit().gate(transmit)?;
        Ok(Self {
            options,
            offloads: port.offloads(),
            port: Some(Box::new(LimitedPort::new(port, receive, transmit))),
            running: None,
            reactor,
            handle,
        })
    }

    /// The device's counters, to look at while it runs.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(self.handle.counters())
    }

    /// To watch and change the device while it runs.
    pub fn handle(&self) -> NetHandle {
        self.handle.clone()
    }

    fn features(&self) -> u64 {
        let mtu = u64::from(self.options.mtu.is_some());
        self.offloads.features()
            | 1 << VIRTIO_NET_F_MAC
            | 1 << VIRTIO_NET_F_MRG_RXBUF
            | mtu << VIRTIO_NET_F_MTU
    }

    fn config(&self) -> [u8; CONFIG_SIZE] {
        let mac = self.options.mac.octets();
        let mtu = self.options.mtu.map_or(0, Mtu::get);
        let mut space = [0; CONFIG_SIZE];
        space[..mac.len()].copy_from_slice(&mac);
        space[CONFIG_MTU..].copy_from_slice(&mtu.to_le_bytes());
        space
    }
}

impl VirtioDevice for Net {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            device_type: VIRTIO_ID_NET,
            features: self.features(),
            queue_sizes: vec![QUEUE_SIZE; 2],
        }
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_from(&self.config(), offset, data);
    }

    /// Nothing is writable: the address is fixed since version 1 (§5.1.4.1).
    fn write_config(&mut self, _: u64, _: &[u8]) {}

    fn start(&mut self, mut activation: Activation) -> Result<(), StartError> {
        let receive_queue = activation.take_queue(RECEIVE_QUEUE)?;
        let transmit_queue = activation.take_queue(TRANSMIT_QUEUE)?;
        let mut port = self.port.take().ok_or(ReactorError::Gone)?;
        let offloads = Offloads::received_with(activation.features);
        if let Err(error) = port.set_offloads(offloads) {
            self.port = Some(port);
            return Err(error.into());
        }
        let mode = ReceiveMode {
            mergeable: activation.has_feature(VIRTIO_NET_F_MRG_RXBUF),
            checksum: offloads.checksum,
        };
        let worker = NetWorker::new(
            Receive::new(receive_queue, mode, self.counters()),
            Transmit::new(transmit_queue, self.counters()),
            port,
        );
        match self.reactor.attach(worker) {
            Ok(attached) => {
                self.running = Some(attached);
                Ok(())
            }
            Err(refused) => {
                let (port, _) = refused.worker.into_parts();
                self.port = Some(port);
                Err(refused.reason.into())
            }
        }
    }

    fn sever(&mut self) -> LastAct {
        // First, so that it is gone whatever follows, and its descriptor is free.
        drop(self.port.take());
        // Without a descriptor for it, there is nothing to start with.
        let severed = SeveredPort::new(self.offloads);
        self.port = severed.ok().map(|port| Box::new(port) as _);
        LastAct::none()
    }

    fn stop(&mut self) -> Result<Vec<Queue>, ReactorError> {
        let Some(attached) = self.running.take() else {
            return Ok(Vec::new());
        };
        let (port, queues) = attached.detach(STOP_PATIENCE)?.into_parts();
        self.port = Some(port);
        Ok(queues)
    }
}
