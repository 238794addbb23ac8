//! The receive side: packets from the port into the driver's buffers.
//!
//! Buffers are taken off the queue ahead of packets and stay in
//! [`Posted`] until a packet uses them, so that each is parsed once. While
//! there are enough the driver is asked not to notify; when they run out it is
//! asked to, and packets wait in the port.

use std::io::ErrorKind;
use std::sync::Arc;

use super::counters::Counters;
use super::header::{self, LARGEST_PACKET};
use super::port::Port;
use super::posted::{Posted, Refused};
use crate::virtio::chain::Chain;
use crate::virtio::queue::{Queue, QueueFault};

/// Packets in one go. Then others on the reactor get their turn.
const BATCH: usize = 64;

/// What the driver accepted that matters to received packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceiveMode {
    /// A packet may span buffers (`VIRTIO_NET_F_MRG_RXBUF`).
    pub(super) mergeable: bool,
    /// The header may say something (`VIRTIO_NET_F_GUEST_CSUM`).
    pub(super) checksum: bool,
}

/// The receive queue and what is in hand of it.
pub(super) struct Receive {
    queue: Queue,
    mode: ReceiveMode,
    chain: Chain,
    posted: Posted,
    /// Length of a packet that waits for more buffers.
    waiting: Option<usize>,
    counters: Arc<Counters>,
    faults_counted: u64,
}

impl Receive {
    pub(super) fn new(queue: Queue, mode: ReceiveMode, counters: Arc<Counters>) -> Self {
        Self {
            chain: Chain::new(queue.ram()),
            posted: Posted::new(queue.ram()),
            faults_counted: queue.faults(),
            queue,
            mode,
            waiting: None,
            counters,
        }
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(super) fn queue_mut(&mut self) -> &mut Queue {
        &mut self.queue
    }

    /// Receives until the port has no packet, the driver no buffer, or it is
    /// the turn of others.
    pub(super) fn run(&mut self, port: &mut dyn Port) -> Result<(), QueueFault> {
        self.queue.disable_notification()?;
        for _ in 0..BATCH {
            self.gather()?;
            if self.posted.len() == 0 || self.posted.is_short() {
                if self.queue.enable_notification()? {
                    self.queue.disable_notification()?;
                    continue;
                }
                return self.queue.notify();
            }
            if let Some(len) = self.waiting.take() {
                self.deliver(len)?;
                continue;
            }
            match port.receive(&mut self.posted) {
                Ok(len) => self.received(len)?,
                Err(error) => {
                    if error.kind() != ErrorKind::WouldBlock {
                        self.counters.receive.port_error.increment();
                    }
                    return self.queue.notify();
                }
            }
        }
        self.queue.kick_again();
        self.queue.notify()
    }

    /// Takes buffers in hand: enough for the largest packet, or all there
    /// are; one, if a packet cannot span them.
    fn gather(&mut self) -> Result<(), QueueFault> {
        // A driver that posts as fast as this looks must not keep it here.
        for _ in 0..self.queue.size() {
            let enough = if self.mode.mergeable {
                self.posted.room() >= LARGEST_PACKET
            } else {
                self.posted.len() > 0
            };
            if enough || !self.queue.pop(&mut self.chain)? {
                break;
            }
            match self.posted.add(self.chain.head(), &self.chain.writable) {
                Ok(()) => {}
                Err(Refused::Unusable) => {
                    self.counters.receive.bad_buffer.increment();
                    self.queue.push(self.chain.head(), 0)?;
                }
                Err(Refused::Full) => {
                    self.queue.unpop();
                    self.drop_if_short();
                    break;
                }
            }
        }
        self.count_faults();
        Ok(())
    }

    /// The packet that waits will never fit, since there is no place for more
    /// buffers of the kind that the driver posts.
    fn drop_if_short(&mut self) {
        if self.posted.is_short() {
            self.counters.receive.oversized.increment();
            self.posted.forget_spilled();
            self.waiting = None;
        }
    }

    fn count_faults(&mut self) {
        let faults = self.queue.faults();
        let new = faults - self.faults_counted;
        self.counters.receive.bad_buffer.add(new);
        self.faults_counted = faults;
    }

    /// The port has put a packet of `len` bytes into the posted buffers.
    fn received(&mut self, len: usize) -> Result<(), QueueFault> {
        if len < header::SIZE {
            self.counters.receive.port_error.increment();
            return Ok(());
        }
        if self.posted.received(len) {
            return self.deliver(len);
        }
        if self.mode.mergeable && len <= LARGEST_PACKET {
            self.waiting = Some(len);
        } else {
            self.counters.receive.oversized.increment();
            self.posted.forget_spilled();
        }
        Ok(())
    }

    /// Gives the driver a packet of `len` bytes, which fits what is in hand.
    fn deliver(&mut self, len: usize) -> Result<(), QueueFault> {
        let buffers = self.posted.used_by(len).count();
        let num_buffers = u16::try_from(buffers).expect("no more than MAX_PIECES are held");
        if self.mode.checksum {
            let bytes = num_buffers.to_le_bytes();
            self.posted.write(header::NUM_BUFFERS, &bytes);
        } else {
            self.posted.write(0, &header::plain(num_buffers));
        }
        self.queue.push_together(self.posted.used_by(len))?;
        self.posted.remove(buffers);
        self.counters.receive.packets.increment();
        let frame = len - header::SIZE;
        self.counters.receive.bytes.add(frame as u64);
        Ok(())
    }

    /// Puts the buffers in hand back, to be popped again after a pause.
    pub(super) fn release(&mut self) {
        if self.waiting.take().is_some() {
            self.counters.receive.no_buffer.increment();
        }
        for _ in 0..self.posted.release() {
            self.queue.unpop();
        }
    }

    pub(super) fn into_queue(self) -> Queue {
        self.queue
    }
}
