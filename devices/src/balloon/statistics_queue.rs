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
use crate::reactor::{Readiness, Source, Token, Worker};
use crate::virtio::chain::Chain;
use crate::virtio::queue::{Queue, QueueFault};

/// Buffers looked at in one go. There should never be more than one.
const BATCH: usize = 16;

const KICK: Token = 0;
const ASK: Token = 1;

pub(super) struct StatisticsQueue {
    queue: Queue,
    chain: Chain,
    shared: Arc<Shared>,
    /// The buffer that is kept, by its head.
    kept: Option<u16>,
    faults_counted: u64,
    broken: bool,
}

impl StatisticsQueue {
    pub(super) fn new(queue: Queue, shared: Arc<Shared>) -> Self {
        Self {
            chain: Chain::new(queue.ram()),
            faults_counted: queue.faults(),
            queue,
            shared,
            kept: None,
            broken: false,
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
        self.queue.disable_notification()?;
        for _ in 0..BATCH {
            let popped = self.queue.pop(&mut self.chain)?;
            let faults = self.queue.faults();
            self.count_faults(faults - self.faults_counted);
            self.faults_counted = faults;
            if popped {
                self.keep()?;
            } else if self.queue.enable_notification()? {
                self.queue.disable_notification()?;
            } else {
                return self.queue.notify();
            }
        }
        self.queue.kick_again();
        self.queue.notify()
    }

    /// Reads the buffer just popped and keeps it.
    fn keep(&mut self) -> Result<(), QueueFault> {
        if let Some(earlier) = self.kept.replace(self.chain.head()) {
            // The driver must not have two.
            self.count_faults(1);
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

    fn count_faults(&self, count: u64) {
        self.shared.counters.faults.add(count);
    }
}

impl Worker for StatisticsQueue {
    fn sources(&self) -> Vec<Source> {
        let source = |fd, token| Source {
            fd,
            readiness: Readiness::Readable,
            token,
        };
        vec![
            source(self.queue.kick_fd(), KICK),
            source(self.shared.ask.as_raw_fd(), ASK),
        ]
    }

    fn ready(&mut self, token: Token) {
        if self.broken {
            return;
        }
        let outcome = match token {
            ASK => self.ask(),
            _ => self.look(),
        };
        if let Err(fault) = outcome {
            self.broken = true;
            self.queue.needs_reset(fault);
        }
    }

    /// The buffer that is kept waits for nothing.
    fn drain(&mut self, _: Instant) -> bool {
        true
    }
}
