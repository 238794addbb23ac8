//! The transmit side: packets from the driver's buffers to the port.
//!
//! A packet goes out or is dropped and counted; either way its buffers go
//! back at once, so a guest cannot stop the queue, and a port that is down
//! does not stop the guest. Only a port that has a packet wait stops the
//! queue: that packet and those behind it stay with the driver, which sees its
//! ring fill up and slows down, as it would before a slow wire.

use std::io::ErrorKind;
use std::sync::Arc;

use super::counters::Counters;
use super::header::{self, LARGEST_PACKET};
use super::port::{Port, Sent};
use crate::counter::Counter;
use crate::virtio::chain::Chain;
use crate::virtio::queue::{Queue, QueueFault};

/// Packets in one go. Then others on the reactor get their turn.
const BATCH: usize = 64;

/// The transmit queue.
pub(super) struct Transmit {
    queue: Queue,
    chain: Chain,
    /// The packet in `chain` has to wait for the port.
    waiting: bool,
    counters: Arc<Counters>,
    faults_counted: u64,
}

impl Transmit {
    pub(super) fn new(queue: Queue, counters: Arc<Counters>) -> Self {
        Self {
            chain: Chain::new(queue.ram()),
            faults_counted: queue.faults(),
            queue,
            waiting: false,
            counters,
        }
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(super) fn queue_mut(&mut self) -> &mut Queue {
        &mut self.queue
    }

    /// Sends until the driver has no packet, the port has one wait, or it is
    /// the turn of others.
    pub(super) fn run(&mut self, port: &mut dyn Port) -> Result<(), QueueFault> {
        self.queue.disable_notification()?;
        for _ in 0..BATCH {
            if self.waiting || self.pop()? {
                self.waiting = self.send(port) == Sent::NotYet;
                if self.waiting {
                    return self.queue.notify();
                }
                self.queue.push(self.chain.head(), 0)?;
            } else if self.queue.enable_notification()? {
                self.queue.disable_notification()?;
            } else {
                return self.queue.notify();
            }
        }
        self.queue.kick_again();
        self.queue.notify()
    }

    fn pop(&mut self) -> Result<bool, QueueFault> {
        let popped = self.queue.pop(&mut self.chain)?;
        self.count_faults();
        Ok(popped)
    }

    /// Sends the packet in the chain. One that is dropped is gone.
    fn send(&self, port: &mut dyn Port) -> Sent {
        let len = self.chain.readable.len();
        match self.try_send(port) {
            Ok(Sent::Gone) => {
                self.counters.transmit.packets.increment();
                self.counters.transmit.bytes.add(len - header::SIZE as u64);
            }
            Ok(Sent::NotYet) => return Sent::NotYet,
            Err(dropped) => dropped.increment(),
        }
        Sent::Gone
    }

    /// Sends the packet in the chain, or names the counter for why not.
    fn try_send(&self, port: &mut dyn Port) -> Result<Sent, &Counter> {
        let packet = &self.chain.readable;
        let drops = &self.counters.transmit;
        if packet.len() < header::SIZE as u64 {
            return Err(&drops.malformed);
        }
        if packet.len() > LARGEST_PACKET as u64 {
            return Err(&drops.oversized);
        }
        port.send(packet).map_err(|error| match error.kind() {
            ErrorKind::InvalidInput => &drops.malformed,
            ErrorKind::WouldBlock => &drops.port_busy,
            _ => &drops.port_error,
        })
    }

    /// A malformed chain was a packet to the driver.
    fn count_faults(&mut self) {
        let faults = self.queue.faults();
        let new = faults - self.faults_counted;
        self.counters.transmit.malformed.add(new);
        self.faults_counted = faults;
    }

    /// Puts a packet that waits back, to be popped again after a pause.
    pub(super) fn release(&mut self) {
        if std::mem::take(&mut self.waiting) {
            self.queue.unpop();
        }
    }

    pub(super) fn into_queue(self) -> Queue {
        self.queue
    }
}
