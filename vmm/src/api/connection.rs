//! One client: reads its requests, one at a time, and sends what they lead to.
//!
//! A request that needs the machine leaves the connection waiting; nothing is
//! read meanwhile, so that requests sent ahead wait in the kernel, and answers
//! come in the order of the requests. What has not been sent yet is bounded:
//! the next request is read when the answer before it has been taken.

mod exchange;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::call::Translate;
use super::console::{self, Overtaken};
use super::event_stream::EventStream;
use super::failure::{Code, Failure};
use super::machine::Machine;
use super::outgoing::Outgoing;
use super::response::Response;
use super::socket::Socket;

/// How long a client may take to send a request whole, and to take something
/// of what is sent to it.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long a client may go on sending what is not read any more.
const LINGER: Duration = Duration::from_secs(1);

/// Most bytes of a stream that wait for a client.
pub(super) const MAX_WAITING: usize = 64 << 10;

/// A client.
pub(super) struct Connection {
    id: u64,
    socket: Socket,
    state: State,
    incoming: Vec<u8>,
    /// Descriptors that came, for the request that takes them.
    descriptors: Vec<OwnedFd>,
    /// The client sends nothing more.
    ended: bool,
    outgoing: Outgoing,
    /// When it began to wait for the client: for the rest of a request, or for
    /// it to take what is sent.
    since: Instant,
}

enum State {
    /// It reads a request. `told` to go on, if the client asked.
    Reading { told: bool },
    /// The machine is to answer.
    Waiting {
        translate: Translate,
        /// No request follows.
        close: bool,
        /// Only the answer's head is wanted.
        head_only: bool,
    },
    /// It tells what happens.
    Events(EventStream),
    /// It is the console, whose output the client has up to here.
    Console { at: u64 },
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
            descriptors: Vec::new(),
            ended: false,
            outgoing: Outgoing::new(now),
            since: now,
        }
    }

    /// What to wait for.
    pub(super) fn interest(&self, machine: &Machine) -> PollFlags {
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::IN, self.wants_input(machine));
        interest.set(PollFlags::OUT, !self.outgoing.is_empty());
        interest
    }

    /// When [`serve`](Self::serve) is to be called if nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let stalled = self.since + PATIENCE;
        match self.state {
            // They go on for as long as the client takes something.
            State::Events(_) | State::Console { .. } if !self.outgoing.is_empty() => Some(stalled),
            _ if !self.outgoing.is_empty() => Some(stalled.min(self.outgoing.deadline())),
            State::Reading { .. } if !self.incoming.is_empty() => Some(self.since + PATIENCE),
            State::Closing => Some(self.since + LINGER),
            _ => None,
        }
    }

    /// Whether it tells what happens.
    pub(super) fn listens(&self) -> bool {
        matches!(self.state, State::Events(_))
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
        let gone = ready.intersects(PollFlags::HUP | PollFlags::ERR);
        // What came before the end counts.
        if (gone || ready.contains(PollFlags::IN)) && self.wants_input(machine) {
            self.receive(now);
        }
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.give_up(now);
        }
        self.advance(now, machine);
        if gone {
            self.state = State::Closed;
        }
    }

    /// Something happened to the machine.
    pub(super) fn event(&mut self, line: &[u8], now: Instant) {
        if let State::Events(stream) = &mut self.state {
            if self.outgoing.is_empty() {
                self.since = now;
            }
            stream.tell(line, self.outgoing.at(now));
            self.flush(now);
        }
    }

    /// So many events could not even be offered to clients.
    pub(super) fn lose_events(&mut self, count: u64) {
        if let State::Events(stream) = &mut self.state {
            stream.lose(count);
        }
    }

    /// No event follows.
    pub(super) fn end_events(&mut self, now: Instant) {
        match std::mem::replace(&mut self.state, State::Closing) {
            State::Events(stream) => {
                stream.end(self.outgoing.at(now));
                self.outgoing.restart(now);
                self.flush(now);
            }
            other => self.state = other,
        }
    }

    /// What is in progress is finished, and nothing else begun.
    pub(super) fn close(&mut self, now: Instant) {
        self.end_events(now);
        match &mut self.state {
            State::Waiting { close, .. } => *close = true,
            State::Console { .. } => {}
            state => *state = State::Closing,
        }
    }

    fn wants_input(&self, machine: &Machine) -> bool {
        let wants = match self.state {
            State::Reading { .. } => self.outgoing.is_empty(),
            State::Console { .. } => {
                let console = machine.console.as_ref();
                self.incoming.is_empty() && console.is_some_and(console::Console::takes_input)
            }
            State::Closing => true,
            State::Waiting { .. } | State::Events(_) | State::Closed => false,
        };
        wants && !self.ended
    }

    fn receive(&mut self, now: Instant) {
        if self.incoming.is_empty() && !matches!(self.state, State::Closing) {
            self.since = now;
        }
        let received = match self.socket.receive(&mut self.incoming) {
            Ok(None) => return,
            Ok(Some(received)) => received,
            Err(_) => {
                self.state = State::Closed;
                return;
            }
        };
        self.ended = received.count == 0;
        if let State::Closing = self.state {
            self.incoming.clear();
            return;
        }
        let again = !received.descriptors.is_empty() && !self.descriptors.is_empty();
        self.descriptors.extend(received.descriptors);
        if received.surplus || again {
            self.descriptors.clear();
            let message = "more descriptors came than one request takes; \
                           pass those of a device with the first byte of its request";
            let failure = Failure::new(Code::MalformedRequest, message);
            self.respond(&Response::from(&failure), true, now);
        }
    }

    /// Goes on until the client or the machine has to do something.
    fn advance(&mut self, now: Instant, machine: &mut Machine) {
        self.flush(now);
        while self.outgoing.is_empty() && self.step(now, machine) {
            self.flush(now);
        }
        if let State::Closing = self.state
            && self.outgoing.is_empty()
        {
            self.socket.finish();
            if self.ended {
                self.state = State::Closed;
            }
        }
    }

    /// Does the next thing, if there is one.
    fn step(&mut self, now: Instant, machine: &mut Machine) -> bool {
        match &mut self.state {
            State::Reading { told } => {
                let told = *told;
                self.read_request(told, now, machine)
            }
            State::Events(stream) => {
                stream.tell_lost(self.outgoing.at(now));
                self.since = now;
                !self.outgoing.is_empty()
            }
            State::Console { at } => {
                let at = *at;
                self.relay(at, now, machine)
            }
            State::Waiting { .. } | State::Closing | State::Closed => false,
        }
    }

    /// Between the client and the console, which has been shown up to `at`.
    fn relay(&mut self, at: u64, now: Instant, machine: &mut Machine) -> bool {
        let Some(console) = &mut machine.console else {
            return false;
        };
        if console.takes_input() && !self.incoming.is_empty() {
            console.type_in(&mut self.incoming);
        }
        self.since = now;
        self.state = match console.read(at, self.outgoing.at(now)) {
            Ok(at) if console.is_over(at) => {
                self.outgoing.restart(now);
                State::Closing
            }
            Ok(at) => State::Console { at },
            Err(Overtaken) => State::Closed,
        };
        !self.outgoing.is_empty()
    }

    fn send(&mut self, bytes: &[u8], now: Instant) {
        if self.outgoing.is_empty() {
            self.since = now;
        }
        self.outgoing.at(now).extend(bytes);
    }

    /// Sends as much as the client takes.
    fn flush(&mut self, now: Instant) {
        match self.outgoing.flush(&self.socket) {
            Ok(0) => {}
            Ok(_) => self.since = now,
            Err(_) => {
                self.outgoing.clear();
                self.state = State::Closed;
            }
        }
    }

    /// The client was too slow.
    fn give_up(&mut self, now: Instant) {
        if let State::Reading { .. } = self.state
            && self.outgoing.is_empty()
        {
            let seconds = PATIENCE.as_secs();
            let message = format!("the request was not whole after {seconds} s; send it faster");
            let failure = Failure::new(Code::TooSlow, message);
            self.respond(&Response::from(&failure), true, now);
        } else {
            self.state = State::Closed;
            self.outgoing.clear();
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
