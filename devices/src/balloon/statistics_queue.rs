//! The worker of the statistics queue (virtio 1.3 §5.5.6.3). Runs on a
//! reactor.
//!
//! The driver makes one buffer available, filled. The device keeps it until
//! somebody asks for statistics, and then returns it, upon which the driver
//! fills another. So they cost nothing while nobody asks.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::shared::{Shared, lock};
use super::statistics::MemoryStatistics;
use crate::reactor::{Source, Token, Worker};
use crate::virtio::chain::Chain;
use crate::virtio::queue::{Queue, QueueFault};
use crate::virtio::turn::{Turn, guarded};

/// Buffers looked at in one go. There should never be more than one.
const BATCH: u32 = 16;

const KICK: Token = 0;
const ASK: Token = 1;

pub(super) struct StatisticsQueue {
    queue: Queue,
    chain: Chain,
    shared: Arc<Shared>,
    /// The buffer that is kept, by its head.
    kept: Option<u16>,
}

impl StatisticsQueue {
    pub(super) fn new(queue: Queue, shared: Arc<Shared>) -> Self {
        Self {
            chain: Chain::new(queue.ram()),
            queue,
            shared,
            kept: None,
        }
    }

    /// The queue, with the buffer that was kept available in it.
    pub(super) fn into_queue(mut self) -> Queue {
        if self.kept.is_some() {
            self.queue.unpop();
        }
        self.queue
    }

    fn look(&mut self) -> Result<(), QueueFault> {
        let mut turn = Turn::begin(&mut self.queue, BATCH)?;
        while turn.next(&mut self.queue, &mut self.chain)? {
            self.keep()?;
        }
        self.shared.counters.faults.add(self.queue.new_faults());
        self.queue.notify()
    }

    /// Reads the buffer just popped and keeps it.
    fn keep(&mut self) -> Result<(), QueueFault> {
        if let Some(earlier) = self.kept.replace(self.chain.head()) {
            // The driver must not have two.
            self.shared.counters.faults.increment();
            self.queue.push(earlier, 0)?;
        }
        let said = MemoryStatistics::read(&mut self.chain.readable, Instant::now());
        if let Some(statistics) = said {
            *lock(&self.shared.statistics) = Some(statistics);
        }
        Ok(())
    }

    /// Returns the buffer, if anybody asked, for the driver to fill another.
    /// Should it not be there, the next one is new enough.
    fn ask(&mut self) -> Result<(), QueueFault> {
        if self.shared.asked.swap(false, Ordering::AcqRel)
            && let Some(head) = self.kept.take()
        {
            self.queue.push(head, 0)?;
        }
        self.queue.notify()
    }
}

impl Worker for StatisticsQueue {
    fn sources(&self) -> Vec<Source> {
        vec![
            Source::readable(self.queue.kick_fd(), KICK),
            Source::readable(self.shared.ask.as_raw_fd(), ASK),
        ]
    }

    /// The buffer that is kept waits for nothing: it is not in flight.
    fn ready(&mut self, token: Token) {
        guarded(
            self,
            |worker| &worker.queue,
            match token {
                ASK => Self::ask,
                _ => Self::look,
            },
        );
    }
}
