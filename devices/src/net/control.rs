//! The control queue (virtio 1.3 §5.1.6.5): by it the driver says how many
//! queue pairs it uses. Other commands are for features that are not offered,
//! and are refused.
//!
//! A change is answered when it has [happened](super::pairs). Until then the
//! command waits, and those behind it; a pause puts it back into the queue, to
//! be carried out anew.

use std::sync::Arc;
use std::time::Instant;

use virtio_bindings::virtio_net::{
    VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, VIRTIO_NET_ERR, VIRTIO_NET_OK,
};

use super::counters::Counters;
use super::pairs::Pairs;
use crate::reactor::{Readiness, Source, Token, Worker};
use crate::virtio::chain::Chain;
use crate::virtio::queue::{Queue, QueueFault};

/// Steps in one go. Then others on the reactor get their turn.
const BATCH: usize = 16;

const KICK: Token = 0;
const FOLLOWED: Token = 1;

/// A command to set the number of pairs: class, command, and the number.
const COMMAND: usize = 4;

/// The worker of the control queue.
pub(super) struct ControlWorker {
    queue: Queue,
    chain: Chain,
    pairs: Arc<Pairs>,
    /// Pairs that have workers.
    running: u16,
    /// The command in `chain` has begun and waits for the pairs.
    waiting: bool,
    counters: Arc<Counters>,
    broken: bool,
}

impl ControlWorker {
    pub(super) fn new(
        queue: Queue,
        pairs: Arc<Pairs>,
        running: u16,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            chain: Chain::new(queue.ram()),
            queue,
            pairs,
            running,
            waiting: false,
            counters,
            broken: false,
        }
    }

    pub(super) fn into_queue(self) -> Queue {
        self.queue
    }

    fn run(&mut self) -> Result<(), QueueFault> {
        self.queue.disable_notification()?;
        for _ in 0..BATCH {
            if self.waiting {
                let Some(succeeded) = self.pairs.outcome() else {
                    return self.queue.notify();
                };
                self.waiting = false;
                self.answer(succeeded)?;
            } else if self.queue.pop(&mut self.chain)? {
                self.begin()?;
            } else if self.queue.enable_notification()? {
                self.queue.disable_notification()?;
            } else {
                return self.queue.notify();
            }
        }
        self.queue.kick_again();
        self.queue.notify()
    }

    /// Begins the command in the chain, or refuses it.
    fn begin(&mut self) -> Result<(), QueueFault> {
        if let Some(pairs) = self.wanted_pairs() {
            self.pairs.change(pairs, self.running);
            self.waiting = true;
            return Ok(());
        }
        self.counters.refused_commands.increment();
        self.answer(false)
    }

    /// The number of pairs that the command in the chain sets, if it is such a
    /// command, the number can be, and it has room for an answer.
    fn wanted_pairs(&mut self) -> Option<u16> {
        let readable = &mut self.chain.readable;
        let mut command = [0; COMMAND];
        if readable.len() != COMMAND as u64 || self.chain.writable.is_empty() {
            return None;
        }
        readable.read(&mut command).ok()?;
        let [class, kind, low, high] = command;
        let sets_pairs = u32::from(class) == VIRTIO_NET_CTRL_MQ
            && u32::from(kind) == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET;
        let pairs = u16::from_le_bytes([low, high]);
        (sets_pairs && (1..=self.running).contains(&pairs)).then_some(pairs)
    }

    fn answer(&mut self, succeeded: bool) -> Result<(), QueueFault> {
        let code = if succeeded {
            VIRTIO_NET_OK
        } else {
            VIRTIO_NET_ERR
        };
        let code = u8::try_from(code).expect("the answers are 0 and 1");
        // Without room there is no answer.
        let written = u32::from(self.chain.writable.write(&[code]).is_ok());
        self.queue.push(self.chain.head(), written)
    }
}

impl Worker for ControlWorker {
    fn sources(&self) -> Vec<Source> {
        let source = |fd, token| Source {
            fd,
            readiness: Readiness::Readable,
            token,
        };
        vec![
            source(self.queue.kick_fd(), KICK),
            source(self.pairs.followed_fd(), FOLLOWED),
        ]
    }

    fn ready(&mut self, _: Token) {
        if self.broken {
            return;
        }
        if let Err(fault) = self.run() {
            self.broken = true;
            self.queue.needs_reset(fault);
        }
    }

    fn drain(&mut self, _: Instant) -> bool {
        if std::mem::take(&mut self.waiting) {
            self.queue.unpop();
        }
        true
    }
}
