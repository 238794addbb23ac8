//! The half that works: the driver's requests, one at a time. Runs on a
//! reactor.
//!
//! A request makes no system call but to give unplugged memory back. The kernel
//! takes the longer over that the more of it the guest had touched, so it is
//! done in pieces of [`PIECE`], one at each turn. Blocks count as plugged until
//! all of a request is done; if the worker stops before that, the request is
//! put back, and done from its beginning by the next one.

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

/// Bytes given back in one go: about a millisecond's work, if all was touched.
const PIECE: u64 = 16 << 20;

pub(super) struct MemWorker {
    queue: Queue,
    chain: Chain,
    blocks: Blocks,
    shared: Arc<Shared>,
    refusals: LogLimit,
    /// The request in the chain, if it is not finished.
    unplugging: Option<Unplugging>,
}

/// A request that takes several turns.
struct Unplugging {
    /// The blocks that were plugged, unless it is all of them.
    blocks: Option<Range<u64>>,
    /// What is still to be given back.
    rest: Range<u64>,
}

impl MemWorker {
    pub(super) fn new(queue: Queue, blocks: Blocks, shared: Arc<Shared>) -> Self {
        Self {
            chain: Chain::new(queue.ram()),
            queue,
            blocks,
            shared,
            refusals: LogLimit::default(),
            unplugging: None,
        }
    }

    /// The queue and the blocks, for the next start.
    pub(super) fn into_parts(mut self) -> (Queue, Blocks) {
        if self.unplugging.is_some() {
            self.queue.unpop();
        }
        (self.queue, self.blocks)
    }

    fn run(&mut self) -> Result<(), QueueFault> {
        let mut turn = Turn::begin(&mut self.queue, BATCH)?;
        while self.unplugging.is_some() || turn.next(&mut self.queue, &mut self.chain)? {
            let response = match self.unplugging.take() {
                Some(unplugging) => self.go_on(unplugging),
                None => self.serve(),
            };
            if self.unplugging.is_some() {
                self.queue.kick_again();
                break;
            }
            let written = response.map_or(0, |response| self.respond(response));
            self.queue.push(self.chain.head(), written)?;
        }
        self.shared.counters.faults.add(self.queue.new_faults());
        self.queue.notify()
    }

    /// Begins with the request just popped. Returns the response; none if there
    /// is none yet, or none to such a request.
    fn serve(&mut self) -> Option<Response> {
        // Nothing is done for a driver that leaves no room for the answer.
        let room = self.chain.writable.len() >= Response::LEN.into();
        let request = Request::read(&mut self.chain.readable).filter(|_| room);
        let Some(request) = request else {
            self.shared.counters.faults.add(1);
            return None;
        };
        let known = |span: Span| self.blocks.range(span.address, span.count);
        let region = self.blocks.region();
        match request {
            Request::Plug(span) => Some(known(span).map_or(Response::Error, |r| self.plug(&r))),
            Request::State(span) => {
                let state = known(span).map(|range| self.blocks.state(&range));
                Some(state.map_or(Response::Error, Response::State))
            }
            Request::Unplug(span) => {
                let plugged = |range: &Range<u64>| self.blocks.state(range) == State::Plugged;
                match known(span).filter(plugged) {
                    Some(range) => self.go_on(Unplugging {
                        blocks: Some(range.clone()),
                        rest: range,
                    }),
                    None => Some(Response::Error),
                }
            }
            // Also what is not plugged: it may have been touched all the same.
            Request::UnplugAll => self.go_on(Unplugging {
                blocks: None,
                rest: region,
            }),
            Request::Unknown => Some(Response::Error),
        }
    }

    /// Answers the request in the chain. Returns the length of the response.
    fn respond(&mut self, response: Response) -> u32 {
        if response == Response::Error {
            self.shared.counters.faults.add(1);
        }
        // Before the driver has the response, and looks.
        let plugged = self.blocks.plugged_bytes();
        self.shared.plugged.store(plugged, Ordering::Release);
        response.write(&mut self.chain.writable)
    }

    fn plug(&mut self, range: &Range<u64>) -> Response {
        if self.blocks.state(range) != State::Unplugged {
            return Response::Error;
        }
        let bytes = range.end - range.start;
        let plugged = self.blocks.plugged_bytes() + bytes;
        if plugged > self.shared.requested.load(Ordering::Acquire) {
            return Response::Refused;
        }
        self.blocks.set(range, true);
        self.shared.counters.plugged_bytes.add(bytes);
        Response::Done
    }

    /// Gives the next piece back. Returns the response, once there is one.
    fn go_on(&mut self, mut unplugging: Unplugging) -> Option<Response> {
        let rest = &mut unplugging.rest;
        let end = rest.end.min(rest.start + PIECE);
        if !self.give_back(rest.start..end) {
            return Some(Response::Busy);
        }
        rest.start = end;
        if !rest.is_empty() {
            self.unplugging = Some(unplugging);
            return None;
        }
        let before = self.blocks.plugged_bytes();
        match unplugging.blocks {
            Some(range) => self.blocks.set(&range, false),
            None => self.blocks.clear(),
        }
        let unplugged = before - self.blocks.plugged_bytes();
        self.shared.counters.unplugged_bytes.add(unplugged);
        Some(Response::Done)
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
