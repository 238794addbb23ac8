//! The worker of a vsock device: its queues and its switchboard, on a reactor.
//!
//! Four descriptors wake it: the driver's notifications for either queue of
//! packets, the host's side, and the clock of the lobby. A wake does a bounded amount of work and
//! wakes itself again if there is more. The queue of events is held and not
//! used: its one event tells of a machine that was moved (§5.10.6.7).

use std::sync::Arc;

use super::counters::Counters;
use super::header::{Header, SIZE};
use super::switchboard::Switchboard;
use crate::reactor::{Source, Token, Worker};
use crate::virtio::buffers::Buffers;
use crate::virtio::chain::Chain;
use crate::virtio::queue::{Queue, QueueFault};
use crate::virtio::turn::{Turn, guarded};

const RECEIVE_KICK: Token = 0;
const TRANSMIT_KICK: Token = 1;
const HOST: Token = 2;
const LATE: Token = 3;

/// Packets in one go, each way. Then others on the reactor get their turn.
const BATCH: u32 = 64;

pub(super) struct VsockWorker {
    receive: Queue,
    transmit: Queue,
    events: Queue,
    chain: Chain,
    /// Where the header of a packet to the guest goes.
    header: Buffers,
    /// In a box: it moves between here and the front.
    switchboard: Box<Switchboard>,
    /// More has changed on the host's side than was looked at.
    look_again: bool,
    /// Packets of the guest wait until it takes ours.
    held_back: bool,
    counters: Arc<Counters>,
}

impl VsockWorker {
    pub(super) fn new(
        receive: Queue,
        transmit: Queue,
        events: Queue,
        switchboard: Box<Switchboard>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            chain: Chain::new(receive.ram()),
            header: Buffers::new(receive.ram().clone()),
            receive,
            transmit,
            events,
            switchboard,
            look_again: false,
            held_back: false,
            counters,
        }
    }

    /// The switchboard and the queues.
    pub(super) fn into_parts(self) -> (Box<Switchboard>, Vec<Queue>) {
        let queues = vec![self.receive, self.transmit, self.events];
        (self.switchboard, queues)
    }

    /// Takes packets until the driver has none, or has to take some first, or
    /// it is the turn of others.
    fn run_transmit(&mut self) -> Result<(), QueueFault> {
        let mut turn = Turn::begin(&mut self.transmit, BATCH)?;
        loop {
            // Then it is the receive queue that wakes it.
            self.held_back = self.switchboard.is_congested();
            if self.held_back || !turn.next(&mut self.transmit, &mut self.chain)? {
                break;
            }
            self.take();
            self.transmit.push(self.chain.head(), 0)?;
        }
        self.counters.faults.add(self.transmit.new_faults());
        self.transmit.notify()
    }

    /// Takes the packet in the chain.
    fn take(&mut self) {
        let mut header = [0; SIZE];
        if self.chain.readable.read(&mut header).is_err() {
            self.counters.faults.add(1);
            return;
        }
        self.counters.sent_packets.add(1);
        let header = Header::parse(&header);
        self.switchboard.take(&header, &mut self.chain.readable);
    }

    /// Gives packets until there are none, or the driver has no buffer, or it
    /// is the turn of others.
    fn run_receive(&mut self) -> Result<(), QueueFault> {
        if !self.switchboard.has_something() {
            return Ok(());
        }
        let mut turn = Turn::begin(&mut self.receive, BATCH)?;
        while self.switchboard.has_something() && turn.next(&mut self.receive, &mut self.chain)? {
            self.give()?;
        }
        self.counters.faults.add(self.receive.new_faults());
        self.receive.notify()
    }

    /// Puts a packet into the chain, if there is one.
    fn give(&mut self) -> Result<(), QueueFault> {
        let head = self.chain.head();
        let room = &mut self.chain.writable;
        if room.len() <= SIZE as u64 || room.move_front(SIZE, &mut self.header).is_err() {
            // Not even a byte of data fits.
            self.counters.faults.add(1);
            return self.receive.push(head, 0);
        }
        let Some(header) = self.switchboard.next_packet(room) else {
            self.receive.unpop();
            return Ok(());
        };
        let written = self.header.write(&header.to_bytes());
        written.expect("the place was measured for a header");
        self.counters.received_packets.add(1);
        self.counters.received_bytes.add(header.len.into());
        let size = u32::try_from(SIZE).expect("a header is short");
        self.receive.push(head, size + header.len)
    }
}

impl Worker for VsockWorker {
    fn sources(&self) -> Vec<Source> {
        vec![
            Source::readable(self.receive.kick_fd(), RECEIVE_KICK),
            Source::readable(self.transmit.kick_fd(), TRANSMIT_KICK),
            Source::readable(self.switchboard.fd(), HOST),
            Source::readable(self.switchboard.clock_fd(), LATE),
        ]
    }

    fn ready(&mut self, token: Token) {
        if self.receive.awaits_reset() {
            return;
        }
        if token == LATE {
            self.switchboard.hang_up_on_the_late();
        }
        if token == HOST || self.look_again {
            self.look_again = self.switchboard.look();
            if self.look_again {
                self.receive.kick_again();
            }
        }
        guarded(self, |worker| &worker.receive, Self::run_receive);
        if token == TRANSMIT_KICK || self.held_back {
            guarded(self, |worker| &worker.transmit, Self::run_transmit);
            guarded(self, |worker| &worker.receive, Self::run_receive);
            // Ended turns go without a packet: the guest, which took nothing,
            // has nothing to kick for.
            if self.held_back && !self.switchboard.is_congested() {
                self.transmit.kick_again();
            }
        }
    }
}
