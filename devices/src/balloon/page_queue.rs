//! The worker of a queue that carries pages: into the balloon, out of it, or
//! free for the host to take. Runs on a reactor.
//!
//! A request makes one system call for each stretch of neighbouring pages, a
//! bounded number; a wake serves a few requests. A page that the host does not
//! take is no harm: it stays with the guest.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::page_numbers::PageNumbers;
use super::shared::Shared;
use crate::log_limit::LogLimit;
use crate::memory::DiscardError;
use crate::reactor::{Source, Token, Worker};
use crate::virtio::chain::Chain;
use crate::virtio::queue::{Queue, QueueFault};
use crate::virtio::turn::{Turn, guarded};

/// Requests in one go. Then others on the reactor get their turn.
const BATCH: u32 = 4;

/// The most that is taken of one report: 32 stretches of 4 MiB is the most
/// that Linux's driver reports at once (`PAGE_REPORTING_CAPACITY`).
const MAX_REPORTED_PIECES: usize = 64;
const MAX_REPORTED: u64 = 256 << 20;

/// What the driver does with the pages on a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It puts them into the balloon.
    Inflate,
    /// It takes them out of the balloon.
    Deflate,
    /// It reports them free.
    Report,
    /// It reports them free, and expects to find in them what it filled them
    /// with, if that is not zeroes (§5.5.6.7).
    ReportPoisoned,
}

pub(super) struct PageQueue {
    queue: Queue,
    chain: Chain,
    purpose: Purpose,
    shared: Arc<Shared>,
    refusals: LogLimit,
}

impl PageQueue {
    pub(super) fn new(queue: Queue, purpose: Purpose, shared: Arc<Shared>) -> Self {
        Self {
            chain: Chain::new(queue.ram()),
            queue,
            purpose,
            shared,
            refusals: LogLimit::default(),
        }
    }

    pub(super) fn into_queue(self) -> Queue {
        self.queue
    }

    fn run(&mut self) -> Result<(), QueueFault> {
        let mut turn = Turn::begin(&mut self.queue, BATCH)?;
        while turn.next(&mut self.queue, &mut self.chain)? {
            self.serve();
            self.queue.push(self.chain.head(), 0)?;
        }
        self.shared.counters.faults.add(self.queue.new_faults());
        self.queue.notify()
    }

    fn serve(&mut self) {
        match self.purpose {
            Purpose::Inflate => self.inflate(),
            Purpose::Deflate => self.deflate(),
            Purpose::Report => self.take_reported(),
            Purpose::ReportPoisoned => {
                if self.shared.poison.load(Ordering::Acquire) == 0 {
                    self.take_reported();
                }
            }
        }
    }

    fn inflate(&mut self) {
        let ram = self.queue.ram();
        let counters = &self.shared.counters;
        let mut numbers = PageNumbers::of(&mut self.chain.readable);
        while let Some(mut ranges) = numbers.next() {
            for range in &mut ranges {
                match ram.discard(range) {
                    Ok(bytes) => counters.inflated_bytes.add(bytes),
                    Err(DiscardError::NotRam(_)) => counters.faults.add(1),
                    Err(DiscardError::Host(error)) => {
                        counters.refusals.add(1);
                        warn(&mut self.refusals, &error);
                    }
                }
            }
            counters.faults.add(ranges.repeated);
        }
        counters.faults.add(numbers.is_malformed().into());
    }

    /// Pages that are taken out need nothing: they come back when the guest
    /// touches them.
    fn deflate(&mut self) {
        let counters = &self.shared.counters;
        let mut numbers = PageNumbers::of(&mut self.chain.readable);
        while let Some(mut ranges) = numbers.next() {
            let bytes = ranges.by_ref().map(|range| range.end - range.start).sum();
            counters.deflated_bytes.add(bytes);
            counters.faults.add(ranges.repeated);
        }
        counters.faults.add(numbers.is_malformed().into());
    }

    fn take_reported(&mut self) {
        let counters = &self.shared.counters;
        let pages = &mut self.chain.writable;
        if pages.len() > MAX_REPORTED || pages.iovecs().len() > MAX_REPORTED_PIECES {
            counters.faults.add(1);
            return;
        }
        match pages.discard() {
            Ok(bytes) => counters.reported_bytes.add(bytes),
            Err(error) => {
                counters.refusals.add(1);
                warn(&mut self.refusals, &error);
            }
        }
    }
}

fn warn(limit: &mut LogLimit, error: &io::Error) {
    limit.warn(|| format!("balloon: the host did not take memory back: {error}"));
}

impl Worker for PageQueue {
    fn sources(&self) -> Vec<Source> {
        vec![Source::readable(self.queue.kick_fd(), 0)]
    }

    fn ready(&mut self, _: Token) {
        guarded(self, |worker| &worker.queue, Self::run);
    }
}
