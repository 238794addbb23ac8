//! The worker of a virtio console: two queues, between the driver on one side
//! and the console's buffer and keyboard on the other.

use std::sync::Arc;

use super::counters::Counted;
use super::keyboard::Keyboard;
use crate::console::buffer::ConsoleBuffer;
use crate::reactor::{Source, Token, Worker};
use crate::virtio::buffers::Buffers;
use crate::virtio::chain::Chain;
use crate::virtio::queue::{Queue, QueueFault};
use crate::virtio::turn::{Turn, guarded};

const RECEIVE_KICK: Token = 0;
const TRANSMIT_KICK: Token = 1;
const TYPED: Token = 2;

/// Requests in one go, each way. Then others on the reactor get their turn.
const BATCH: u32 = 64;

/// Bytes copied at a time.
const PIECE: usize = 512;

/// Output of one request beyond this is not looked at: the buffer would keep
/// no more of it, and a guest must not have a worker copy for ever.
const MOST_OUTPUT: u64 = crate::console::buffer::CAPACITY as u64;

pub(super) struct ConsoleWorker {
    receive: Queue,
    transmit: Queue,
    chain: Chain,
    output: ConsoleBuffer,
    keyboard: Keyboard,
    counted: Arc<Counted>,
}

impl ConsoleWorker {
    pub(super) fn new(
        receive: Queue,
        transmit: Queue,
        output: ConsoleBuffer,
        keyboard: Keyboard,
        counted: Arc<Counted>,
    ) -> Self {
        Self {
            chain: Chain::new(receive.ram()),
            receive,
            transmit,
            output,
            keyboard,
            counted,
        }
    }

    pub(super) fn into_queues(self) -> Vec<Queue> {
        vec![self.receive, self.transmit]
    }

    /// Takes output until there is none, or it is the turn of others.
    fn run_transmit(&mut self) -> Result<(), QueueFault> {
        let mut turn = Turn::begin(&mut self.transmit, BATCH)?;
        while turn.next(&mut self.transmit, &mut self.chain)? {
            take_output(&mut self.chain.readable, &self.output, &self.counted);
            self.transmit.push(self.chain.head(), 0)?;
        }
        self.counted.faults.add(self.transmit.new_faults());
        self.transmit.notify()
    }

    /// Gives what was typed until there is nothing, the driver has no buffer,
    /// or it is the turn of others.
    fn run_receive(&mut self) -> Result<(), QueueFault> {
        let mut turn = Turn::begin(&mut self.receive, BATCH)?;
        while !self.keyboard.is_empty() && turn.next(&mut self.receive, &mut self.chain)? {
            let written = give_input(&self.keyboard, &mut self.chain.writable);
            self.counted.received.add(written.into());
            self.receive.push(self.chain.head(), written)?;
        }
        self.counted.faults.add(self.receive.new_faults());
        self.receive.notify()
    }
}

/// Moves the guest's bytes into the console's buffer.
fn take_output(bytes: &mut Buffers, output: &ConsoleBuffer, counted: &Counted) {
    counted.sent.add(bytes.len());
    counted
        .passed_over
        .add(bytes.len().saturating_sub(MOST_OUTPUT));
    bytes.truncate(MOST_OUTPUT);
    let mut piece = [0; PIECE];
    while !bytes.is_empty() {
        let len = usize::try_from(bytes.len()).map_or(PIECE, |len| len.min(PIECE));
        let piece = &mut piece[..len];
        bytes.read(piece).expect("as much is read as there is");
        output.write(piece);
    }
}

/// Moves typed bytes into the guest's memory and says how many.
fn give_input(keyboard: &Keyboard, room: &mut Buffers) -> u32 {
    let mut written = 0;
    let mut piece = [0; PIECE];
    loop {
        let len = usize::try_from(room.len()).map_or(PIECE, |len| len.min(PIECE));
        let taken = keyboard.take(&mut piece[..len]);
        if taken == 0 {
            return written;
        }
        room.write(&piece[..taken])
            .expect("no more is taken than fits");
        written += u32::try_from(taken).expect("a piece is short");
    }
}

impl Worker for ConsoleWorker {
    fn sources(&self) -> Vec<Source> {
        vec![
            Source::readable(self.receive.kick_fd(), RECEIVE_KICK),
            Source::readable(self.transmit.kick_fd(), TRANSMIT_KICK),
            Source::readable(self.keyboard.typed_fd(), TYPED),
        ]
    }

    fn ready(&mut self, token: Token) {
        match token {
            TRANSMIT_KICK => guarded(self, |worker| &worker.transmit, Self::run_transmit),
            _ => guarded(self, |worker| &worker.receive, Self::run_receive),
        }
    }
}
