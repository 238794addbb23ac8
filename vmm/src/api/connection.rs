//! One client: reads its requests, one at a time, and sends what they lead to.
//!
//! A request that needs the machine leaves the connection waiting; nothing is
//! read meanwhile, so that requests sent ahead wait in the kernel, and answers
//! come in the order of the requests. What has not been sent yet is bounded:
//! the next request is read when the answer before it has been taken.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::PollFlags;

use super::event_line;
use super::failure::{Code, Failure};
use super::machine::Machine;
use super::request::{self, Head};
use super::response::Response;
use super::route::{self, Action, Translate};
use super::socket::Socket;
use crate::command::Reply;
use crate::error::Result;

/// How long a client may take to send a request whole, and to take something
/// of what is sent to it.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long a client may go on sending what is not read any more.
const LINGER: Duration = Duration::from_secs(1);

/// Most bytes of events that wait for a client.
pub(super) const MAX_WAITING: usize = 64 << 10;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const EVENTS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\
    Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

/// A client.
pub(super) struct Connection {
    id: u64,
    socket: Socket,
    state: State,
    incoming: Vec<u8>,
    /// The client sends nothing more.
    ended: bool,
    descriptor: Option<OwnedFd>,
    outgoing: Vec<u8>,
    /// When it last was what it is: waited for the client to send the rest of
    /// a request, or to take what is sent.
    since: Instant,
}

enum State {
    /// It reads a request. `told` to go on, if the client asked.
    Reading { told: bool },
    /// The machine is to answer.
    Waiting { translate: Translate, close: bool },
    /// It sends events; so many found no room.
    Events { lost: u64 },
    /// It sends what is left, and no more.
    Closing,
    /// It is over.
    Closed,
}

impl Connection {
    pub(super) fn new(id: u64, socket: Socket, now: Instant) -> Self {
        Self {
            id,
            socket,
            state: State::Reading { told: false },
            incoming: Vec::new(),
            ended: false,
            descriptor: None,
            outgoing: Vec::new(),
            since: now,
        }
    }

    /// What to wait for.
    pub(super) fn interest(&self) -> PollFlags {
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::IN, self.wants_input());
        interest.set(PollFlags::OUT, !self.outgoing.is_empty());
        interest
    }

    /// When [`serve`](Self::serve) is to be called if nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Closing if self.outgoing.is_empty() => Some(self.since + LINGER),
            _ if !self.outgoing.is_empty() => Some(self.since + PATIENCE),
            State::Reading { .. } if !self.incoming.is_empty() => Some(self.since + PATIENCE),
            _ => None,
        }
    }

    /// Since when it has nothing to do; none if it has.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let reading = matches!(self.state, State::Reading { .. });
        let idle = reading && self.incoming.is_empty() && self.outgoing.is_empty();
        idle.then_some(self.since)
    }

    /// Whether it is over. With `farewell`, it is when all is sent, and nobody
    /// waits for the client to say so.
    pub(super) fn is_over(&self, farewell: bool) -> bool {
        match self.state {
            State::Closed => true,
            State::Closing => farewell && self.outgoing.is_empty(),
            _ => false,
        }
    }

    /// Does what there is to do: `ready` tells what happened at the socket.
    pub(super) fn serve(&mut self, ready: PollFlags, now: Instant, machine: &mut Machine) {
        // What came before the end counts.
        let readable = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        if ready.intersects(readable) && self.wants_input() {
            self.receive(now);
        }
        self.check_deadline(now);
        self.advance(now, machine);
        if ready.intersects(PollFlags::HUP | PollFlags::ERR) {
            self.state = State::Closed;
        }
    }

    /// The machine has answered.
    pub(super) fn answer(&mut self, outcome: Result<Reply>, now: Instant, machine: &mut Machine) {
        let before = std::mem::replace(&mut self.state, State::Closed);
        let State::Waiting { translate, close } = before else {
            // Only who waits is answered.
            self.state = before;
            return;
        };
        let response = outcome.map_err(Failure::from).and_then(translate);
        self.respond(response, close, now);
        self.advance(now, machine);
    }

    /// Something happened to the machine.
    pub(super) fn event(&mut self, line: &[u8], now: Instant) {
        self.tell_lost(now);
        if let State::Events { lost } = &mut self.state {
            if self.outgoing.len() + line.len() > MAX_WAITING {
                *lost += 1;
            } else {
                self.send_chunk(line, now);
            }
        }
        self.flush(now);
    }

    /// So many events could not even be offered to clients.
    pub(super) fn lose_events(&mut self, count: u64) {
        if let State::Events { lost } = &mut self.state {
            *lost += count;
        }
    }

    /// No event follows.
    pub(super) fn end_events(&mut self, now: Instant) {
        self.tell_lost(now);
        if let State::Events { .. } = self.state {
            self.send(b"0\r\n\r\n", now);
            self.state = State::Closing;
            self.flush(now);
        }
    }

    /// What is in progress is finished, and nothing else begun.
    pub(super) fn close(&mut self, now: Instant) {
        self.end_events(now);
        match &mut self.state {
            State::Waiting { close, .. } => *close = true,
            _ if self.outgoing.is_empty() => self.state = State::Closed,
            _ => self.state = State::Closing,
        }
    }

    fn wants_input(&self) -> bool {
        let reads = match self.state {
            State::Reading { .. } => self.outgoing.is_empty(),
            State::Closing => true,
            State::Waiting { .. } | State::Events { .. } | State::Closed => false,
        };
        reads && !self.ended
    }

    fn receive(&mut self, now: Instant) {
        let first = self.incoming.is_empty();
        match self.socket.receive(&mut self.incoming) {
            Ok(None) => return,
            Err(_) => self.state = State::Closed,
            Ok(Some(received)) => {
                self.ended = received.count == 0;
                let second = received.descriptor.is_some() && self.descriptor.is_some();
                if received.surplus || second {
                    let message = "more than one descriptor came; pass one with its request";
                    let failure = Failure::new(Code::MalformedRequest, message);
                    self.respond(Err(failure), true, now);
                }
                self.descriptor = received.descriptor.or(self.descriptor.take());
            }
        }
        if let State::Closing = self.state {
            self.incoming.clear();
        } else if first {
            self.since = now;
        }
    }

    /// Goes on until the client or the machine has to do something.
    fn advance(&mut self, now: Instant, machine: &mut Machine) {
        self.flush(now);
        while let State::Reading { told } = self.state
            && self.outgoing.is_empty()
        {
            match request::parse(&self.incoming) {
                Ok(Some(head)) if self.incoming.len() >= head.len + head.body_len => {
                    self.take_request(&head, now, machine);
                }
                Ok(Some(head)) if head.expects_continue && !told => {
                    self.send(CONTINUE, now);
                    self.state = State::Reading { told: true };
                }
                Ok(_) if self.ended => self.state = State::Closed,
                Ok(_) => return,
                Err(failure) => self.respond(Err(failure), true, now),
            }
            self.flush(now);
        }
    }

    fn take_request(&mut self, head: &Head, now: Instant, machine: &mut Machine) {
        let end = head.len + head.body_len;
        let request: Vec<u8> = self.incoming.drain(..end).collect();
        self.since = now;
        self.state = State::Reading { told: false };
        let action = route::lead(&head.method, &head.path, &request[head.len..]);
        if self.incoming.is_empty() {
            // It came for this request, which did not want it.
            self.descriptor = None;
        }
        match action {
            Ok(Action::Ask(command, translate)) => match machine.ask(self.id, command) {
                Ok(()) => {
                    let close = head.close;
                    self.state = State::Waiting { translate, close };
                }
                Err(failure) => self.respond(Err(failure), head.close, now),
            },
            Ok(Action::Events) => {
                self.state = State::Events { lost: 0 };
                self.send(EVENTS, now);
            }
            Err(failure) if head.method == "HEAD" => {
                let response = Response::from(&failure).without_body();
                self.respond(Ok(response), head.close, now);
            }
            Err(failure) => self.respond(Err(failure), head.close, now),
        }
    }

    fn respond(
        &mut self,
        response: std::result::Result<Response, Failure>,
        close: bool,
        now: Instant,
    ) {
        let response = response.unwrap_or_else(|failure| Response::from(&failure));
        let mut bytes = Vec::new();
        response.write(&mut bytes, close);
        self.send(&bytes, now);
        self.state = match close {
            true => State::Closing,
            false => State::Reading { told: false },
        };
    }

    /// Tells how many events found no room, if there is room now.
    fn tell_lost(&mut self, now: Instant) {
        if let State::Events { lost } = &mut self.state
            && *lost > 0
        {
            let line = event_line::lost(*lost, SystemTime::now());
            if self.outgoing.len() + line.len() <= MAX_WAITING {
                *lost = 0;
                self.send_chunk(&line, now);
            }
        }
    }

    /// One chunk of a body whose length is not known (RFC 9112 §7.1).
    fn send_chunk(&mut self, bytes: &[u8], now: Instant) {
        self.send(format!("{:x}\r\n", bytes.len()).as_bytes(), now);
        self.send(bytes, now);
        self.send(b"\r\n", now);
    }

    fn send(&mut self, bytes: &[u8], now: Instant) {
        if self.outgoing.is_empty() {
            self.since = now;
        }
        self.outgoing.extend(bytes);
    }

    /// Sends as much as the client takes.
    fn flush(&mut self, now: Instant) {
        while !self.outgoing.is_empty() {
            match self.socket.send(&self.outgoing) {
                Ok(0) => return,
                Ok(count) => {
                    self.outgoing.drain(..count);
                    self.since = now;
                }
                Err(_) => {
                    self.outgoing.clear();
                    self.state = State::Closed;
                }
            }
        }
        self.tell_lost(now);
        if let State::Closing = self.state {
            self.socket.finish();
            if self.ended {
                self.state = State::Closed;
            }
        }
    }

    fn check_deadline(&mut self, now: Instant) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if let State::Reading { .. } = self.state
            && self.outgoing.is_empty()
        {
            let seconds = PATIENCE.as_secs();
            let message = format!("the request was not whole after {seconds} s; send it faster");
            self.respond(Err(Failure::new(Code::TooSlow, message)), true, now);
        } else {
            self.state = State::Closed;
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
