//! The host program's end of a connection: its socket, what it has not taken
//! yet, and what it does not do any more.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::Shutdown;

use super::outbox::Outbox;
use super::socket::Socket;
use super::watch::Change;
use crate::virtio::buffers::Buffers;

/// What there was to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    Nothing,
    /// So many bytes.
    Data(u32),
    /// Nothing any more: the connection broke.
    Broken,
}

/// The end of a connection.
#[derive(Debug)]
pub(super) struct HostStream {
    socket: Socket,
    outbox: Outbox,
    /// There may be something to be received.
    readable: bool,
    /// The program sends nothing more.
    ended: bool,
    /// The program takes nothing more: what is sent to it goes nowhere.
    deaf: bool,
}

impl HostStream {
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            socket,
            outbox: Outbox::default(),
            readable: false,
            ended: false,
            deaf: false,
        }
    }

    /// Whether the program sends nothing more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the program takes nothing more.
    pub(super) fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// Whether the program has been given all there is.
    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Whether there may be something to be received.
    pub(super) fn can_receive(&self) -> bool {
        self.readable && !self.ended
    }

    /// Sends a short line, the first of all. Says whether it is sent: it is,
    /// unless the program has gone.
    pub(super) fn send_line(&self, line: &str) -> bool {
        self.socket.send(line.as_bytes()).ok() == Some(line.len())
    }

    /// Sends the guest's data on and keeps what is not taken at once. Says how
    /// many bytes have left our hands, of these.
    pub(super) fn send(&mut self, data: &mut Buffers) -> u32 {
        let mut gone = 0;
        if self.outbox.is_empty() && !self.deaf && !data.is_empty() {
            let sent = self.socket.send_guest(data);
            gone = self.judge(sent);
            data.skip(gone).expect("no more was sent than there is");
        }
        if self.deaf {
            gone += usize::try_from(data.len()).expect("a packet is short");
        } else if !data.is_empty() {
            self.outbox.append(data);
        }
        count(gone)
    }

    /// Sends what was kept, as much as is taken. Says how many bytes have left
    /// our hands.
    fn flush(&mut self) -> u32 {
        let mut gone = 0;
        while !self.outbox.is_empty() && !self.deaf {
            let sent = self.socket.send(self.outbox.bytes());
            match self.judge(sent) {
                0 => break,
                sent => {
                    self.outbox.take(sent);
                    gone += sent;
                }
            }
        }
        if self.deaf {
            gone += self.outbox.bytes().len();
            self.outbox = Outbox::default();
        }
        count(gone)
    }

    /// How much the program took, by what the system call says.
    fn judge(&mut self, sent: io::Result<usize>) -> usize {
        match sent {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => {
                self.deaf = true;
                0
            }
        }
    }

    /// Takes a change of the socket. Says how many bytes have left our hands.
    pub(super) fn changed(&mut self, change: &Change) -> u32 {
        self.readable |= change.readable;
        self.deaf |= change.hung_up;
        if change.writable { self.flush() } else { 0 }
    }

    /// Receives as much as there is room for.
    pub(super) fn receive(&mut self, room: &mut Buffers) -> Received {
        match self.socket.receive_guest(room) {
            Ok(0) => {
                self.ended = true;
                Received::Nothing
            }
            Ok(received) => Received::Data(count(received)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Received::Nothing
            }
            Err(_) => Received::Broken,
        }
    }

    /// The guest takes nothing more: the program is told.
    pub(super) fn stop_receiving(&mut self) {
        self.socket.shut_down(Shutdown::Read);
        self.ended = true;
    }

    /// The guest sends nothing more, and all that it did has gone on.
    pub(super) fn stop_sending(&self) {
        self.socket.shut_down(Shutdown::Write);
    }
}

fn count(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("no more is kept or carried than a window")
}

impl AsFd for HostStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
