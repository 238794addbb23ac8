//! One connection between a program of the guest and one of the host.
//!
//! It takes the guest's packets, changes of the host's socket, and, when it is
//! its turn, a buffer of the guest's for its next packet. It says what is to
//! become of it; the [`switchboard`](super::switchboard) sees to that.

use std::os::fd::{AsFd, BorrowedFd};

use super::credit::{Credit, Dishonest};
use super::header::{HOST_CID, Header, Operation, STREAM, shutdown};
use super::ports::Ports;
use super::socket::Socket;
use super::stream::{HostStream, Received};
use super::watch::Change;
use crate::virtio::buffers::Buffers;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A host program wants it; the guest is still to be asked.
    Asking,
    /// The guest was asked.
    Asked,
    /// The guest wants it and has it; that is still to be said.
    Answering,
    /// Data may flow.
    Open,
    /// The guest has done with it, and what it sent before still goes to the
    /// host.
    Lingering,
}

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Lives,
    /// It is over, and the guest knows.
    Ends,
    /// It is over, and the guest is to be told by a reset.
    EndsWithReset,
}

/// The guest broke the rules: its connection is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation;

impl From<Dishonest> for Violation {
    fn from(_: Dishonest) -> Self {
        Self
    }
}

/// What a connection does with its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has nothing for the guest after all.
    Nothing,
    /// This packet, with its data in the buffer that was offered.
    Packet(Header),
    /// This packet, its last.
    Last(Header),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    cid: u64,
    ports: Ports,
    host: HostStream,
    state: State,
    credit: Credit,
    /// What the guest said it will not do any more, and what it was told of
    /// the host program ([`shutdown`]).
    guest_shutdown: u32,
    told_shutdown: u32,
    /// The guest asked for our credit.
    credit_asked: bool,
    /// We asked for the guest's, and have not heard of any.
    credit_wanted: bool,
    /// It is in the switchboard's list of turns.
    pub(super) has_turn: bool,
    /// Its socket is waited for until it can be written to.
    pub(super) watched_for_writing: bool,
}

impl Connection {
    /// A connection that a host program on `socket` wants to have.
    pub(super) fn to_guest(cid: u64, ports: Ports, socket: Socket, window: u32) -> Self {
        Self {
            cid,
            ports,
            host: HostStream::new(socket),
            state: State::Asking,
            credit: Credit::new(window),
            guest_shutdown: 0,
            told_shutdown: 0,
            credit_asked: false,
            credit_wanted: false,
            has_turn: false,
            watched_for_writing: false,
        }
    }

    /// A connection that the guest asked for with `request`, to the service
    /// on `socket`.
    pub(super) fn to_host(
        cid: u64,
        ports: Ports,
        socket: Socket,
        window: u32,
        request: &Header,
    ) -> Result<Self, Violation> {
        let mut connection = Self::to_guest(cid, ports, socket, window);
        connection.state = State::Answering;
        connection.credit.learn(request)?;
        Ok(connection)
    }

    /// What it was promised from the pool.
    pub(super) fn window(&self) -> u32 {
        self.credit.window()
    }

    /// Whether the guest has done with it.
    pub(super) fn is_lingering(&self) -> bool {
        self.state == State::Lingering
    }

    /// Whether the guest has not answered yet.
    pub(super) fn is_unanswered(&self) -> bool {
        self.state == State::Asked
    }

    /// Whether something waits for the socket to take it.
    pub(super) fn wants_to_write(&self) -> bool {
        !self.host.is_flushed()
    }

    /// Takes a packet of the guest's, whose data is `data`.
    pub(super) fn take(&mut self, header: &Header, data: &mut Buffers) -> Result<Fate, Violation> {
        if header.operation == Operation::Reset {
            // Its figures may be nobody's: it need not come from a socket.
            return Ok(self.leave());
        }
        self.credit.learn(header)?;
        if self.credit.available() > 0 {
            self.credit_wanted = false;
        }
        match (self.state, header.operation) {
            (State::Asked, Operation::Response) => return Ok(self.open()),
            (State::Open, Operation::Data) => return self.send(data),
            (State::Open, Operation::Shutdown) => return Ok(self.shut_down(header.flags)),
            (State::Open, Operation::CreditUpdate) => {}
            (State::Open, Operation::CreditRequest) => self.credit_asked = true,
            _ => return Err(Violation),
        }
        Ok(Fate::Lives)
    }

    /// The guest resets the connection. What it sent before it closed its
    /// socket in good order still arrives.
    fn leave(&mut self) -> Fate {
        if self.guest_shutdown & shutdown::SEND != 0 && !self.host.is_flushed() {
            self.state = State::Lingering;
            Fate::Lives
        } else {
            Fate::Ends
        }
    }

    /// The guest accepts the connection: the host program hears so.
    fn open(&mut self) -> Fate {
        self.state = State::Open;
        let line = format!("OK {}\n", self.ports.host);
        if self.host.send_line(&line) {
            Fate::Lives
        } else {
            Fate::EndsWithReset
        }
    }

    /// Sends the guest's data on, or keeps what is not taken at once.
    fn send(&mut self, data: &mut Buffers) -> Result<Fate, Violation> {
        if self.guest_shutdown & shutdown::SEND != 0 {
            return Err(Violation);
        }
        let len = u32::try_from(data.len()).map_err(|_| Violation)?;
        self.credit.receive(len)?;
        self.credit.forward(self.host.send(data));
        Ok(Fate::Lives)
    }

    /// The guest says what it will not do any more.
    fn shut_down(&mut self, flags: u32) -> Fate {
        self.guest_shutdown |= flags & shutdown::BOTH;
        if self.guest_shutdown & shutdown::RECEIVE != 0 {
            self.host.stop_receiving();
        }
        self.when_sent()
    }

    /// Takes a change of the socket.
    pub(super) fn changed(&mut self, change: &Change) -> Fate {
        self.credit.forward(self.host.changed(change));
        match self.state {
            State::Asking if change.hung_up => Fate::Ends,
            State::Asked if change.hung_up => Fate::EndsWithReset,
            _ => self.when_sent(),
        }
    }

    /// What follows once all that the guest sent has gone on.
    fn when_sent(&mut self) -> Fate {
        if !self.host.is_flushed() {
            return Fate::Lives;
        }
        if self.state == State::Lingering {
            return Fate::Ends;
        }
        if self.guest_shutdown & shutdown::SEND != 0 {
            self.host.stop_sending();
        }
        // A reset is the answer to a guest that has done with both (§5.10.6.6).
        if self.guest_shutdown == shutdown::BOTH {
            Fate::EndsWithReset
        } else {
            Fate::Lives
        }
    }

    /// Whether it has something for the guest, and would use a turn.
    pub(super) fn has_something(&self) -> bool {
        match self.state {
            State::Asking | State::Answering => true,
            State::Asked | State::Lingering => false,
            State::Open => {
                self.host.can_receive() && (self.credit.available() > 0 || !self.credit_wanted)
                    || self.untold_shutdown() != 0
                    || self.credit_asked
                    || self.credit.is_worth_telling()
            }
        }
    }

    /// Makes the next packet for the guest, with its data in `room`.
    pub(super) fn take_turn(&mut self, room: &mut Buffers) -> Turn {
        match self.state {
            State::Asking => {
                self.state = State::Asked;
                return self.packet(Operation::Request);
            }
            State::Answering => {
                self.state = State::Open;
                return self.packet(Operation::Response);
            }
            State::Asked | State::Lingering => return Turn::Nothing,
            State::Open => {}
        }
        match self.read(room) {
            Turn::Nothing => {}
            turn => return turn,
        }
        let untold = self.untold_shutdown();
        if untold != 0 {
            self.told_shutdown |= untold;
            let header = self.header(Operation::Shutdown, 0);
            return Turn::Packet(Header {
                flags: self.told_shutdown,
                ..header
            });
        }
        if self.credit_asked || self.credit.is_worth_telling() {
            return self.packet(Operation::CreditUpdate);
        }
        Turn::Nothing
    }

    /// Receives from the host program as much as the guest has room for, here
    /// and in its socket.
    fn read(&mut self, room: &mut Buffers) -> Turn {
        if !self.host.can_receive() {
            return Turn::Nothing;
        }
        let available = self.credit.available();
        if available == 0 {
            if self.credit_wanted {
                return Turn::Nothing;
            }
            self.credit_wanted = true;
            return self.packet(Operation::CreditRequest);
        }
        room.truncate(available.into());
        match self.host.receive(room) {
            Received::Nothing => Turn::Nothing,
            Received::Data(len) => {
                self.credit.send(len);
                Turn::Packet(self.header(Operation::Data, len))
            }
            Received::Broken => Turn::Last(self.reset()),
        }
    }

    /// What the host program does not do any more and the guest does not know.
    fn untold_shutdown(&self) -> u32 {
        let send = if self.host.has_ended() {
            shutdown::SEND
        } else {
            0
        };
        let receive = if self.host.is_deaf() {
            shutdown::RECEIVE
        } else {
            0
        };
        (send | receive) & !self.told_shutdown
    }

    fn packet(&mut self, operation: Operation) -> Turn {
        Turn::Packet(self.header(operation, 0))
    }

    /// A header for the guest; it carries our credit, as every one does.
    fn header(&mut self, operation: Operation, len: u32) -> Header {
        let mut header = Header {
            source_cid: HOST_CID,
            destination_cid: self.cid,
            source_port: self.ports.host,
            destination_port: self.ports.guest,
            len,
            kind: STREAM,
            operation,
            flags: 0,
            buffer_size: 0,
            forwarded: 0,
        };
        self.credit.announce(&mut header);
        self.credit_asked = false;
        header
    }

    /// The packet that ends the connection for the guest.
    pub(super) fn reset(&mut self) -> Header {
        self.header(Operation::Reset, 0)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.host.as_fd()
    }
}
