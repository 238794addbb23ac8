//! The half that works: the driver's requests, one at a time. Runs on a
//! reactor.
//!
//! A request makes one system call, to give unplugged memory back. That takes
//! longer the more of it the guest had touched, which took the guest longer
//! still.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::blocks::{Blocks, State};
use super::request::{Request, Response, Span};
use super::shared::Shared;
use crate::log_limit::LogLimit;
use crate::reactor::{Source, Token, Worker};
use crate::virtio::chain::Chain;
use crate::virtio::queue::{Queue, QueueFault};
use crate::virtio::turn::{Turn, guarded};

/// Requests in one go. Then others on the reactor get their turn.
const BATCH: u32 = 4;

pub(super) struct MemWorker {
    queue: Queue,
    chain: Chain,
    blocks: Blocks,
    shared: Arc<Shared>,
    refusals: LogLimit,
}

impl MemWorker {
    pub(super) fn new(queue: Queue, blocks: Blocks, shared: Arc<Shared>) -> Self {
        Self {
            chain: Chain::new(queue.ram()),
            queue,
            blocks,
            shared,
            refusals: LogLimit::default(),
        }
    }

    /// The queue and the blocks, for the next start.
    pub(super) fn into_parts(self) -> (Queue, Blocks) {
        (self.queue, self.blocks)
    }

    fn run(&mut self) -> Result<(), QueueFault> {
        let mut turn = Turn::begin(&mut self.queue, BATCH)?;
        while turn.next(&mut self.queue, &mut self.chain)? {
            let written = self.serve();
            self.queue.push(self.chain.head(), written)?;
        }
        self.shared.counters.faults.add(self.queue.new_faults());
        self.queue.notify()
    }

    /// Answers the request just popped. Returns the length of the response.
    fn serve(&mut self) -> u32 {
        // Nothing is done for a driver that leaves no room for the answer.
        let room = self.chain.writable.len() >= Response::LEN.into();
        let request = Request::read(&mut self.chain.readable).filter(|_| room);
        let Some(request) = request else {
            self.shared.counters.faults.add(1);
            return 0;
        };
        let response = self.answer(request);
        if response == Response::Error {
            self.shared.counters.faults.add(1);
        }
        response.write(&mut self.chain.writable)
    }

    fn answer(&mut self, request: Request) -> Response {
        let response = match request {
            Request::Plug(span) => self.known(span, Self::plug),
            Request::Unplug(span) => self.known(span, Self::unplug),
            Request::UnplugAll => self.unplug_all(),
            Request::State(span) => self.known(span, |worker, range| {
                Response::State(worker.blocks.state(&range))
            }),
            Request::Unknown => Response::Error,
        };
        // Before the driver has the response, and looks.
        let plugged = self.blocks.plugged_bytes();
        self.shared.plugged.store(plugged, Ordering::Release);
        response
    }

    /// Has `act` work on the blocks of a `span` that is in the region.
    fn known(
        &mut self,
        span: Span,
        act: impl FnOnce(&mut Self, Range<u64>) -> Response,
    ) -> Response {
        match self.blocks.range(span.address, span.count) {
            Some(range) => act(self, range),
            None => Response::Error,
        }
    }

    fn plug(&mut self, range: Range<u64>) -> Response {
        if self.blocks.state(&range) != State::Unplugged {
            return Response::Error;
        }
        let plugged = self.blocks.plugged_bytes() + (range.end - range.start);
        if plugged > self.shared.requested.load(Ordering::Acquire) {
            return Response::Refused;
        }
        self.blocks.set(&range, true);
        self.shared
            .counters
            .plugged_bytes
            .add(range.end - range.start);
        Response::Done
    }

    fn unplug(&mut self, range: Range<u64>) -> Response {
        if self.blocks.state(&range) != State::Plugged {
            return Response::Error;
        }
        if !self.give_back(range.clone()) {
            return Response::Busy;
        }
        self.blocks.set(&range, false);
        self.shared
            .counters
            .unplugged_bytes
            .add(range.end - range.start);
        Response::Done
    }

    fn unplug_all(&mut self) -> Response {
        if !self.give_back(self.blocks.region()) {
            return Response::Busy;
        }
        let plugged = self.blocks.plugged_bytes();
        self.blocks.clear();
        self.shared.counters.unplugged_bytes.add(plugged);
        Response::Done
    }

    /// Whether the host takes a range of blocks back.
    fn give_back(&mut self, range: Range<u64>) -> bool {
        let outcome = self.queue.ram().discard(range);
        if let Err(error) = &outcome {
            self.shared.counters.refusals.add(1);
            self.refusals
                .warn(|| format!("memory that grows: blocks cannot be unplugged: {error}"));
        }
        outcome.is_ok()
    }
}

impl Worker for MemWorker {
    fn sources(&self) -> Vec<Source> {
        vec![Source::readable(self.queue.kick_fd(), 0)]
    }

    fn ready(&mut self, _: Token) {
        guarded(self, |worker| &worker.queue, Self::run);
    }
}
