//! The transmit side: packets from the driver's buffers to the port.
//!
//! A packet goes out or is dropped and counted; either way its buffers go
//! back at once, so a guest cannot stop the queue, and a port that is down
//! does not stop the guest.

use std::io::ErrorKind;
use std::sync::Arc;

use super::counters::{Counter, Counters};
use super::header::{self, LARGEST_PACKET};
use super::port::Port;
use crate::virtio::chain::Chain;
use crate::virtio::queue::{Queue, QueueFault};

/// Packets in one go. Then others on the reactor get their turn.
const BATCH: usize = 64;

/// The transmit queue.
pub(super) struct Transmit {
    queue: Queue,
    chain: Chain,
    counters: Arc<Counters>,
    faults_counted: u64,
}

impl Transmit {
    pub(super) fn new(queue: Queue, counters: Arc<Counters>) -> Self {
        Self {
            chain: Chain::new(queue.ram()),
            faults_counted: queue.faults(),
            queue,
            counters,
        }
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Sends until the driver has no packet, or it is the turn of others.
    pub(super) fn run(&mut self, port: &mut dyn Port) -> Result<(), QueueFault> {
        self.queue.disable_notification()?;
        for _ in 0..BATCH {
            let popped = self.queue.pop(&mut self.chain)?;
            self.count_faults();
            if popped {
                self.send(port);
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

    fn send(&self, port: &mut dyn Port) {
        let len = self.chain.readable.len();
        match self.try_send(port) {
            Ok(()) => {
                self.counters.transmit.packets.increment();
                self.counters.transmit.bytes.add(len - header::SIZE as u64);
            }
            Err(dropped) => dropped.increment(),
        }
    }

    /// Sends the packet in the chain, or names the counter for why not.
    fn try_send(&self, port: &mut dyn Port) -> Result<(), &Counter> {
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

    pub(super) fn into_queue(self) -> Queue {
        self.queue
    }
}
