//! The front of a network device: its identity, configuration space and life
//! cycle. The transport calls it.
//!
//! A device with several queue pairs has a port and a worker for each, and a
//! control queue behind them. What a driver does not set up or does not use
//! rests, and its port with it.

use std::io;
use std::sync::Arc;

use virtio_bindings::virtio_ids::VIRTIO_ID_NET;
use virtio_bindings::virtio_net::{
    VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_MAC, VIRTIO_NET_F_MQ, VIRTIO_NET_F_MRG_RXBUF,
    VIRTIO_NET_F_MTU,
};

use super::control::ControlWorker;
use super::counters::Counters;
use super::handle::NetHandle;
use super::limited_port::LimitedPort;
use super::mac::MacAddress;
use super::mtu::Mtu;
use super::offloads::Offloads;
use super::pairs::{Pair, Pairs};
use super::port::Port;
use super::receive::{Receive, ReceiveMode};
use super::severed_port::SeveredPort;
use super::transmit::Transmit;
use super::worker::NetWorker;
use crate::clock::{AlarmClock, Timer};
use crate::reactor::{ReactorError, ReactorHandle};
use crate::virtio::crew::Crew;
use crate::virtio::device::{Activation, DeviceInfo, StartError, VirtioDevice, read_config_from};
use crate::virtio::last_act::LastAct;
use crate::virtio::queue::Queue;

const QUEUE_SIZE: u16 = 256;

/// The configuration space up to and including the MTU (§5.1.4).
const CONFIG_SIZE: usize = 12;
const CONFIG_MAX_PAIRS: usize = 8;
const CONFIG_MTU: usize = 10;

/// The number of a pair's receive queue (§5.1.2); its transmit queue is the
/// next. The control queue follows the last pair.
fn first_queue(pair: u16) -> u16 {
    2 * pair
}

/// What the driver is told about its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetOptions {
    /// The interface's address.
    pub mac: MacAddress,
    /// The interface's MTU; the driver chooses if there is none here.
    pub mtu: Option<Mtu>,
}

/// Ports to one network, one for each queue pair.
pub type Ports = Vec<Box<dyn Port>>;

/// A network device.
pub struct Net {
    options: NetOptions,
    /// What the ports can carry.
    offloads: Offloads,
    /// Those that no worker has, in the order of the pairs: all of them while
    /// the device is stopped. Lost with a reactor that ends while it runs.
    ports: Ports,
    /// How many pairs there are.
    count: u16,
    pairs: Arc<Pairs>,
    running: Option<Running>,
    reactors: Vec<ReactorHandle>,
    handle: NetHandle,
}

/// The workers of a device.
struct Running {
    pairs: Crew<NetWorker>,
    /// One, if the driver has a control queue.
    control: Crew<ControlWorker>,
}

impl Net {
    /// A stopped device with a queue pair for each of `ports`, whose workers
    /// will run on `reactors`, in turn.
    ///
    /// # Errors
    /// There is no port or one does not do as it is told, or the process has no
    /// descriptor left.
    pub fn new(
        ports: Ports,
        options: NetOptions,
        reactors: Vec<ReactorHandle>,
    ) -> io::Result<Self> {
        let clocks = || Ok([Timer::new()?, Timer::new()?]);
        Self::with_clocks(ports, options, reactors, clocks)
    }

    /// The same, with limits that go by clocks from `make_clocks`, of which
    /// receiving and transmitting take one each.
    pub(super) fn with_clocks<C: AlarmClock + 'static>(
        ports: Ports,
        options: NetOptions,
        reactors: Vec<ReactorHandle>,
        make_clocks: impl Fn() -> io::Result<[C; 2]>,
    ) -> io::Result<Self> {
        let handle = NetHandle::default();
        let offloads = ports.first().ok_or(io::ErrorKind::InvalidInput)?.offloads();
        let count = u16::try_from(ports.len()).map_err(io::Error::other)?;
        let limited = ports.into_iter().map(|port| {
            let [receive, transmit] = make_clocks()?;
            let receive = handle.receive().gate(receive)?;
            let transmit = handle.transmit().gate(transmit)?;
            Ok(Box::new(LimitedPort::new(port, receive, transmit)) as _)
        });
        let mut net = Self {
            options,
            offloads,
            ports: limited.collect::<io::Result<_>>()?,
            count,
            pairs: Arc::new(Pairs::new(count)?),
            running: None,
            reactors,
            handle,
        };
        net.settle_ports()?;
        Ok(net)
    }

    /// Has packets come to the ports of the pairs in use, and to no others.
    fn settle_ports(&mut self) -> io::Result<()> {
        let used = self.pairs.used();
        let mut ports = (0..).zip(&mut self.ports);
        ports.try_for_each(|(index, port)| port.set_in_use(index < used))
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
            | self.multi_queue_features()
    }

    fn multi_queue_features(&self) -> u64 {
        match self.count {
            1 => 0,
            _ => 1 << VIRTIO_NET_F_CTRL_VQ | 1 << VIRTIO_NET_F_MQ,
        }
    }

    fn config(&self) -> [u8; CONFIG_SIZE] {
        let mac = self.options.mac.octets();
        let mtu = self.options.mtu.map_or(0, Mtu::get);
        let mut space = [0; CONFIG_SIZE];
        space[..mac.len()].copy_from_slice(&mac);
        // Without the feature the field is not there (§5.1.4).
        if self.count > 1 {
            space[CONFIG_MAX_PAIRS..CONFIG_MTU].copy_from_slice(&self.count.to_le_bytes());
        }
        space[CONFIG_MTU..].copy_from_slice(&mtu.to_le_bytes());
        space
    }

    /// The queues of each pair that the driver set up, from the first on.
    fn take_pairs(&self, activation: &mut Activation) -> Result<Vec<[Queue; 2]>, StartError> {
        let count = match activation.has_feature(VIRTIO_NET_F_MQ) {
            true => self.count,
            false => 1,
        };
        let mut pairs = Vec::with_capacity(count.into());
        for pair in 0..count {
            let mut take = |queue| activation.take_queue(queue);
            let receive = first_queue(pair);
            match (take(receive), take(receive + 1)) {
                (Ok(receive), Ok(transmit)) => pairs.push([receive, transmit]),
                // The first pair there must be.
                (Err(missing), _) | (_, Err(missing)) if pair == 0 => return Err(missing),
                _ => break,
            }
        }
        Ok(pairs)
    }

    /// The worker of the control queue, if the driver has one: behind the last
    /// pair that it knows of (§5.1.2).
    fn control_worker(&self, activation: &mut Activation, running: u16) -> Option<ControlWorker> {
        let (known, settable) = match activation.has_feature(VIRTIO_NET_F_MQ) {
            true => (self.count, running),
            false => (1, 0),
        };
        let there = activation.has_feature(VIRTIO_NET_F_CTRL_VQ);
        let queue = there.then(|| activation.take_queue(first_queue(known)).ok())??;
        let pairs = Arc::clone(&self.pairs);
        Some(ControlWorker::new(queue, pairs, settable, self.counters()))
    }

    /// Starts the worker of the control queue beside those of the pairs.
    fn start_control(
        &mut self,
        pairs: Crew<NetWorker>,
        control: Option<ControlWorker>,
    ) -> Result<(), StartError> {
        match Crew::attach(&self.reactors, control.into_iter().collect()) {
            Ok(control) => {
                self.running = Some(Running { pairs, control });
                Ok(())
            }
            Err(refused) => {
                self.bring_back(pairs)?;
                Err(refused.reason.into())
            }
        }
    }

    /// Stops the workers. Gives the queues.
    fn bring_back(&mut self, pairs: Crew<NetWorker>) -> Result<Vec<Queue>, ReactorError> {
        let workers = pairs.detach();
        // Which pair the others belong to is not known any more.
        let workers = workers.inspect_err(|_| self.ports.clear())?;
        Ok(self.take_back(workers))
    }

    /// Takes back what the workers had. Gives the queues.
    fn take_back(&mut self, workers: Vec<NetWorker>) -> Vec<Queue> {
        let parts = workers.into_iter().map(NetWorker::into_parts);
        let (mut ports, queues): (Ports, Vec<[Queue; 2]>) = parts.unzip();
        // Behind these are those of pairs that had no worker.
        ports.append(&mut self.ports);
        self.ports = ports;
        queues.into_iter().flatten().collect()
    }
}

impl VirtioDevice for Net {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            device_type: VIRTIO_ID_NET,
            features: self.features(),
            queue_sizes: match self.count {
                1 => vec![QUEUE_SIZE; 2],
                pairs => vec![QUEUE_SIZE; usize::from(first_queue(pairs)) + 1],
            },
        }
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_from(&self.config(), offset, data);
    }

    /// Nothing is writable: the address is fixed since version 1 (§5.1.4.1).
    fn write_config(&mut self, _: u64, _: &[u8]) {}

    fn start(&mut self, mut activation: Activation) -> Result<(), StartError> {
        if self.ports.len() < usize::from(self.count) {
            return Err(ReactorError::Gone.into());
        }
        let queues = self.take_pairs(&mut activation)?;
        let running = u16::try_from(queues.len()).expect("there are few pairs");
        let control = self.control_worker(&mut activation, running);
        let offloads = Offloads::received_with(activation.features);
        let mut ports = self.ports.iter_mut();
        ports.try_for_each(|port| port.set_offloads(offloads))?;
        self.settle_ports()?;
        let mode = ReceiveMode {
            mergeable: activation.has_feature(VIRTIO_NET_F_MRG_RXBUF),
            checksum: offloads.checksum,
        };
        let features = activation.features;
        let resting = self.ports.split_off(queues.len());
        let ports = std::mem::replace(&mut self.ports, resting);
        let workers = (0..).zip(queues).zip(ports);
        let workers = workers.map(|((index, [receive, transmit]), port)| {
            NetWorker::new(
                Receive::new(receive, mode, self.counters()),
                Transmit::new(transmit, self.counters()),
                port,
                Pair::new(&self.pairs, index),
                features,
            )
        });
        let workers = workers.collect();
        match Crew::attach(&self.reactors, workers) {
            Ok(pairs) => self.start_control(pairs, control),
            Err(refused) => {
                match refused.workers {
                    Some(workers) => drop(self.take_back(workers)),
                    None => self.ports.clear(),
                }
                Err(refused.reason.into())
            }
        }
    }

    fn sever(&mut self) -> LastAct {
        // First, so that they are gone whatever follows, and their descriptors
        // are free.
        self.ports.clear();
        let severed = |_| Ok(Box::new(SeveredPort::new(self.offloads)?) as _);
        // Without descriptors for them, there is nothing to start with.
        let severed: io::Result<_> = (0..self.count).map(severed).collect();
        self.ports = severed.unwrap_or_default();
        LastAct::none()
    }

    fn stop(&mut self) -> Result<Vec<Queue>, ReactorError> {
        let Some(Running { pairs, control }) = self.running.take() else {
            return Ok(Vec::new());
        };
        // First: nothing changes any more. The others stop whatever became of
        // it.
        let control = control.detach();
        let mut queues = self.bring_back(pairs)?;
        queues.extend(control?.into_iter().map(ControlWorker::into_queue));
        Ok(queues)
    }

    fn reset(&mut self) {
        self.pairs.reset();
        // A port that fails here does so again when the device is started, and
        // then the driver hears of it.
        let _ = self.settle_ports();
    }
}
