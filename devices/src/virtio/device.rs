//! The contract between a virtio device and its transport.
//!
//! A device is a front (identity, configuration space, life cycle: this
//! trait) and a worker (queues and backend, on a
//! [`reactor`](crate::reactor)). They meet in `start` and `stop` only. The
//! transport is the sole caller, and calls from one thread at a time.

use std::time::Duration;

use super::interrupt::DeviceInterrupt;
use super::last_act::LastAct;
use super::queue::Queue;
use crate::memory::Ram;
use crate::reactor::{ReactorError, Refused};

/// How long `stop` waits for requests in flight. A reset by the driver waits
/// as long, with its vCPU.
pub const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Device type (virtio 1.3 §5).
    pub device_type: u32,
    /// Feature bits that the device offers, without those that the transport
    /// adds for all devices.
    pub features: u64,
    /// The largest size of each queue, powers of two.
    pub queue_sizes: Vec<u16>,
}

/// What a device gets to work with.
#[derive(Debug)]
pub struct Activation {
    /// Guest memory.
    pub ram: Ram,
    /// The features that driver and device agreed on.
    pub features: u64,
    /// The queues that the driver set up, in ascending order.
    pub queues: Vec<Queue>,
    /// The way to the driver.
    pub interrupt: DeviceInterrupt,
}

impl Activation {
    /// Whether feature `bit` was agreed on.
    pub fn has_feature(&self, bit: u32) -> bool {
        self.features & (1 << bit) != 0
    }

    /// Takes queue `index` out.
    ///
    /// # Errors
    /// The driver did not set that queue up.
    pub fn take_queue(&mut self, index: u16) -> Result<Queue, StartError> {
        let at = self.queues.iter().position(|q| q.index() == index);
        at.map(|at| self.queues.remove(at))
            .ok_or(StartError::MissingQueue(index))
    }
}

/// Why a device could not start. It then needs a reset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The driver left out a queue that the device cannot do without.
    #[error("the driver did not set up queue {0}")]
    MissingQueue(u16),
    /// The worker cannot run.
    #[error("the device's worker cannot run: {0}")]
    Worker(#[from] ReactorError),
    /// The backend failed.
    #[error("the device's backend failed: {0}")]
    Backend(#[from] std::io::Error),
}

/// For devices whose worker holds nothing that must outlive it: the others
/// take back what is in [`Refused::worker`].
impl<W> From<Refused<W>> for StartError {
    fn from(refused: Refused<W>) -> Self {
        Self::Worker(refused.reason)
    }
}

/// A virtio device, seen from its transport.
pub trait VirtioDevice: Send {
    /// Type, features and queues; constant.
    fn info(&self) -> DeviceInfo;

    /// Reads configuration space. `data` may reach beyond its end: what is
    /// not there reads as zeroes.
    fn read_config(&self, offset: u64, data: &mut [u8]);

    /// Writes configuration space. What is not writable is not written.
    fn write_config(&mut self, offset: u64, data: &[u8]);

    /// Begins to work. Called when stopped.
    ///
    /// # Errors
    /// The device stays stopped, drops what it was given and can be started
    /// another time.
    fn start(&mut self, activation: Activation) -> Result<(), StartError>;

    /// Lets go of what the device stands on, on the host, and hands out what
    /// is left to do about that: a disk is to make durable what was written,
    /// and close its file. Waits for nothing but that what its driver waits for
    /// is failed. Called when stopped, or when it did not stop: then that is to be
    /// waited for as well. Started again, the device fails what its driver asks
    /// for.
    fn sever(&mut self) -> LastAct {
        LastAct::none()
    }

    /// Finishes what is in flight, stops, and gives the queues back. Harmless
    /// when stopped: gives nothing back. What waits for something that can take as
    /// long as it likes, and changes nothing meanwhile, may go on waiting until the
    /// device is started again.
    ///
    /// # Errors
    /// Requests in flight did not finish within [`STOP_PATIENCE`]. The device
    /// is stopped all the same and its queues are lost.
    fn stop(&mut self) -> Result<Vec<Queue>, ReactorError>;

    /// The driver has reset the device, which is stopped: it forgets whatever
    /// a driver, unlike a pause, would not expect to last.
    fn reset(&mut self) {}

    /// The machine was reset: the device is stopped, there will be another
    /// driver, and guest memory holds nothing any more of what it held.
    fn system_reset(&mut self) {
        self.reset();
    }
}

/// Reads from a configuration space that lies in `space`: the common case for
/// [`VirtioDevice::read_config`].
pub fn read_config_from(space: &[u8], offset: u64, data: &mut [u8]) {
    data.fill(0);
    let Some(rest) = usize::try_from(offset).ok().and_then(|at| space.get(at..)) else {
        return;
    };
    let len = rest.len().min(data.len());
    data[..len].copy_from_slice(&rest[..len]);
}
