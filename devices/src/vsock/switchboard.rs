//! The switchboard: all connections, and whose turn it is.
//!
//! The worker hands it packets of the guest, asks it to look after the host's
//! side, and offers it buffers for packets to the guest. Connections take
//! turns, one packet each, so that none holds up another. It outlives the
//! worker, so that a pause interrupts no connection; a reset by the driver
//! ends them all.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use super::cid::GuestCid;
use super::connection::{Connection, Fate, Turn, Violation};
use super::counters::Counters;
use super::greeting::{Greeting, Heard};
use super::header::{HOST_CID, Header, Operation, STREAM};
use super::host::HostEnd;
use super::lobby::Lobby;
use super::pool::Pool;
use super::ports::{ANY, Ports};
use super::socket::Socket;
use super::watch::{BATCH, Change, Watch, Watched};
use crate::clock::AlarmClock;
use crate::log_limit::LogLimit;
use crate::virtio::buffers::Buffers;

/// Answers that may wait for the guest to give buffers; then its packets wait.
const MOST_ANSWERS: usize = 256;

/// Host programs that connect to the guest get ports from here on, up to
/// [`ANY`]: services are usually found below.
const FIRST_PORT: u32 = 1 << 30;

/// The switchboard of one device.
pub(super) struct Switchboard {
    cid: u64,
    /// None once it was let go of.
    host: Option<HostEnd>,
    watch: Watch,
    changes: Vec<Change>,
    pool: Pool,
    lobby: Lobby,
    connections: HashMap<Ports, Connection>,
    next_port: u32,
    /// Connections that have something for the guest.
    turns: VecDeque<Ports>,
    /// Resets for what belongs to no connection, or to none any more.
    resets: VecDeque<Header>,
    counters: Arc<Counters>,
    accept_log: LogLimit,
}

impl Switchboard {
    /// A switchboard without connections, whose patience goes by `clock`.
    pub(super) fn new(
        cid: GuestCid,
        host: HostEnd,
        counters: Arc<Counters>,
        clock: impl AlarmClock + 'static,
    ) -> io::Result<Self> {
        let watch = Watch::new()?;
        watch.add_listener(&host)?;
        Ok(Self {
            cid: cid.get().into(),
            host: Some(host),
            watch,
            changes: Vec::with_capacity(BATCH),
            pool: Pool::new(),
            lobby: Lobby::new(clock),
            connections: HashMap::new(),
            next_port: FIRST_PORT,
            turns: VecDeque::new(),
            resets: VecDeque::new(),
            counters,
            accept_log: LogLimit::default(),
        })
    }

    /// Ends all connections: the driver knows of none any more.
    pub(super) fn clear(&mut self) {
        self.lobby.clear();
        self.connections.clear();
        self.turns.clear();
        self.resets.clear();
        self.pool = Pool::new();
    }

    /// Ends all connections and lets go of the host's end: there is nobody to
    /// connect to any more, and nobody connects.
    pub(super) fn sever(&mut self) {
        self.clear();
        self.host = None;
    }

    /// The descriptor to wait for, for [`look`](Self::look).
    pub(super) fn fd(&self) -> RawFd {
        self.watch.fd()
    }

    /// The descriptor to wait for, for
    /// [`hang_up_on_the_late`](Self::hang_up_on_the_late).
    pub(super) fn clock_fd(&self) -> RawFd {
        self.lobby.clock_fd()
    }

    /// Whether the guest has to take answers before more of its packets are.
    pub(super) fn is_congested(&self) -> bool {
        // Turns of connections that have ended are answers nobody waits for.
        self.resets.len().max(self.ended_turns()) >= MOST_ANSWERS
    }

    /// How many turns belong to connections that have ended, at least.
    fn ended_turns(&self) -> usize {
        self.turns.len().saturating_sub(self.connections.len())
    }

    /// Whether there may be something for the guest.
    pub(super) fn has_something(&self) -> bool {
        !self.resets.is_empty() || !self.turns.is_empty()
    }

    /// Takes a packet of the guest: its header, and what followed.
    pub(super) fn take(&mut self, header: &Header, data: &mut Buffers) {
        if header.source_cid != self.cid {
            // There is nobody to answer.
            self.counters.faults.add(1);
            return;
        }
        let ports = Ports::of(header).filter(|_| header.kind == STREAM);
        let Some(ports) = ports.filter(|_| header.destination_cid == HOST_CID) else {
            return self.refuse(header);
        };
        let Some(connection) = self.connections.get_mut(&ports) else {
            return match header.operation {
                Operation::Request => self.connect(ports, header),
                Operation::Reset => {}
                Operation::Unknown(_) => self.refuse(header),
                // It may have been right when the guest sent it.
                _ => self.answer_with_reset(header),
            };
        };
        if connection.is_lingering() {
            return self.refuse(header);
        }
        let unanswered = connection.is_unanswered();
        let whole = data.len() >= header.len.into();
        data.truncate(header.len.into());
        let taken = match whole {
            true => connection.take(header, data),
            false => Err(Violation),
        };
        let fate = taken.unwrap_or_else(|_| {
            self.counters.faults.add(1);
            Fate::EndsWithReset
        });
        if header.operation == Operation::Data {
            self.counters.sent_bytes.add(header.len.into());
        }
        if unanswered && fate == Fate::Ends {
            self.counters.refused.add(1);
        }
        self.settle(ports, fate);
    }

    /// Refuses a connection, or what cannot be.
    fn refuse(&mut self, header: &Header) {
        if header.operation == Operation::Request {
            self.counters.refused.add(1);
        } else {
            self.counters.faults.add(1);
        }
        self.answer_with_reset(header);
    }

    fn answer_with_reset(&mut self, header: &Header) {
        if header.operation != Operation::Reset {
            self.resets.push_back(header.refusal());
        }
    }

    /// The guest wants to connect to a service.
    fn connect(&mut self, ports: Ports, request: &Header) {
        let Some(window) = self.pool.take() else {
            return self.refuse(request);
        };
        let host = self.host.as_ref();
        let socket = host.and_then(|host| host.connect(ports.host).ok());
        let connected = socket.and_then(|socket| {
            let what = Watched::Connection(ports);
            self.watch.add(&socket, what).ok()?;
            Connection::to_host(self.cid, ports, socket, window, request).ok()
        });
        match connected {
            Some(connection) => {
                self.counters.guest_connections.add(1);
                self.connections.insert(ports, connection);
                self.settle(ports, Fate::Lives);
            }
            None => {
                self.pool.give_back(window);
                self.refuse(request);
            }
        }
    }

    /// Looks after the host's side; says whether to look again soon.
    pub(super) fn look(&mut self) -> bool {
        let mut changes = std::mem::take(&mut self.changes);
        let mut more = self.watch.collect(&mut changes);
        for change in &changes {
            match change.what {
                Watched::Listener => more |= self.accept(),
                Watched::Greeting(number) => self.hear(number),
                Watched::Connection(ports) => {
                    if let Some(connection) = self.connections.get_mut(&ports) {
                        let fate = connection.changed(change);
                        self.settle(ports, fate);
                    }
                }
            }
        }
        self.changes = changes;
        more
    }

    /// Lets programs in; says whether there may be more.
    fn accept(&mut self) -> bool {
        for _ in 0..BATCH {
            let accepted = self.host.as_ref().map_or(Ok(None), HostEnd::accept);
            match accepted {
                Ok(Some(socket)) => self.greet(socket),
                Ok(None) => return false,
                Err(error) => {
                    self.accept_log
                        .warn(|| format!("no more vsock connections can be taken: {error}"));
                    return false;
                }
            }
        }
        true
    }

    fn greet(&mut self, socket: Socket) {
        let Some(window) = self.pool.take() else {
            // Closed at once, the socket tells the program.
            return self.counters.refused.add(1);
        };
        let number = self.lobby.new_number();
        if self.watch.add(&socket, Watched::Greeting(number)).is_err() {
            self.pool.give_back(window);
            return self.counters.refused.add(1);
        }
        self.lobby.admit(number, Greeting { socket, window });
        self.hear(number);
    }

    fn hear(&mut self, number: u32) {
        let Some(greeting) = self.lobby.get(number) else {
            return;
        };
        let heard = greeting.hear();
        if heard == Heard::Part {
            return;
        }
        let greeting = self.lobby.remove(number).expect("it was there");
        let Heard::Port(guest) = heard else {
            self.pool.give_back(greeting.window);
            return self.counters.refused.add(1);
        };
        let ports = self.new_ports(guest);
        let Greeting { socket, window } = greeting;
        // Also has what followed the greeting reported.
        let changed = self
            .watch
            .change(&socket, Watched::Connection(ports), false);
        if changed.is_err() {
            self.pool.give_back(window);
            return self.counters.refused.add(1);
        }
        self.counters.host_connections.add(1);
        let connection = Connection::to_guest(self.cid, ports, socket, window);
        self.connections.insert(ports, connection);
        self.settle(ports, Fate::Lives);
    }

    /// Hangs up on programs that have not said in time what they want.
    pub(super) fn hang_up_on_the_late(&mut self) {
        for number in self.lobby.late() {
            // It may just have done so.
            self.hear(number);
            if let Some(greeting) = self.lobby.remove(number) {
                self.pool.give_back(greeting.window);
                self.counters.late_greetings.increment();
            }
        }
    }

    /// A host's port for a new connection to the guest's port `guest`.
    fn new_ports(&mut self, guest: u32) -> Ports {
        loop {
            let host = self.next_port;
            self.next_port = if host + 1 == ANY {
                FIRST_PORT
            } else {
                host + 1
            };
            let ports = Ports { host, guest };
            if !self.connections.contains_key(&ports) {
                return ports;
            }
        }
    }

    /// Sees to it that a connection gets what it needs next.
    fn settle(&mut self, ports: Ports, fate: Fate) {
        let Some(connection) = self.connections.get_mut(&ports) else {
            return;
        };
        if fate != Fate::Lives {
            if fate == Fate::EndsWithReset {
                self.resets.push_back(connection.reset());
            }
            return self.remove(ports);
        }
        let wants_to_write = connection.wants_to_write();
        if wants_to_write != connection.watched_for_writing {
            connection.watched_for_writing = wants_to_write;
            let what = Watched::Connection(ports);
            let changed = self.watch.change(&*connection, what, wants_to_write);
            changed.expect("changing what is watched needs nothing new");
        }
        if connection.has_something() && !connection.has_turn {
            connection.has_turn = true;
            self.turns.push_back(ports);
        }
    }

    /// Closes a connection's socket.
    fn remove(&mut self, ports: Ports) {
        if let Some(connection) = self.connections.remove(&ports) {
            self.pool.give_back(connection.window());
        }
        // Host programs come and go also while the guest takes nothing.
        if self.ended_turns() > MOST_ANSWERS {
            self.drop_ended_turns();
        }
    }

    /// Leaves each connection that has a turn one.
    fn drop_ended_turns(&mut self) {
        let connections = &mut self.connections;
        self.turns.retain(|ports| {
            let connection = connections.get_mut(ports);
            connection.is_some_and(|connection| std::mem::take(&mut connection.has_turn))
        });
        for ports in &self.turns {
            if let Some(connection) = connections.get_mut(ports) {
                connection.has_turn = true;
            }
        }
    }

    /// Makes the next packet for the guest, with its data in `room`, if there
    /// is one.
    pub(super) fn next_packet(&mut self, room: &mut Buffers) -> Option<Header> {
        if let Some(reset) = self.resets.pop_front() {
            return Some(reset);
        }
        while let Some(ports) = self.turns.pop_front() {
            let Some(connection) = self.connections.get_mut(&ports) else {
                continue;
            };
            connection.has_turn = false;
            let turn = connection.take_turn(room);
            match turn {
                Turn::Nothing => {}
                Turn::Packet(header) => {
                    self.settle(ports, Fate::Lives);
                    return Some(header);
                }
                Turn::Last(header) => {
                    self.remove(ports);
                    return Some(header);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
