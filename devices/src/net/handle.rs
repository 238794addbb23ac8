//! What can be asked of a network device and changed about it while it runs,
//! from any thread.
//!
//! The device has one from the beginning; it stays valid, without effect,
//! when the device is gone.

use std::sync::Arc;

use super::counters::Counters;
use crate::rate_limit::{Limiter, Limits};

/// A network device's handle. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct NetHandle {
    counters: Arc<Counters>,
    receive: Arc<Limiter>,
    transmit: Arc<Limiter>,
}

impl NetHandle {
    /// What the device has done so far.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Limits the packets to the driver (`receive`) and from it (`transmit`),
    /// those that wait included, or lets them all pass. See
    /// [`rate_limit`](crate::rate_limit) for what a limit means.
    ///
    /// Packets and the bytes of their frames count. A packet that offloads
    /// leave to be segmented is one.
    pub fn set_limits(&self, receive: Option<Limits>, transmit: Option<Limits>) {
        self.receive.set(receive);
        self.transmit.set(transmit);
    }

    /// The limiter of packets to the driver: limits in force, and what they
    /// have held back.
    pub fn receive(&self) -> &Arc<Limiter> {
        &self.receive
    }

    /// The same of packets from the driver.
    pub fn transmit(&self) -> &Arc<Limiter> {
        &self.transmit
    }
}
