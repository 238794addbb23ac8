//! A TCP connection that is never waited for: what is to be sent goes when it
//! can, and a guest that does not go on is left behind.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// For so long a connection may do nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) socket: TcpStream,
    outgoing: Vec<u8>,
    sent: usize,
    /// Whether it ends when all is sent.
    closes: bool,
    deadline: Instant,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Something to come.
    Read,
    /// Room for what is to go, or its turn.
    Write,
    /// An answer of somebody else.
    Other,
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// This many bytes.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// The end.
    End,
}

impl Stream {
    /// The connection `socket`, of which nobody else knows.
    pub(super) fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            outgoing: Vec::new(),
            sent: 0,
            closes: false,
            deadline: Instant::now() + PATIENCE,
        })
    }

    /// Has `bytes` go when what went before has gone, as the last if it `closes`.
    pub(super) fn send(&mut self, bytes: Vec<u8>, closes: bool) {
        self.outgoing = bytes;
        self.sent = 0;
        self.closes = closes;
        self.deadline = Instant::now() + PATIENCE;
    }

    /// Sends what there is room for: whether that was all.
    ///
    /// # Errors
    /// The connection is over.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while self.sent < self.outgoing.len() {
            match self.socket.write(&self.outgoing[self.sent..]) {
                Ok(len) => self.sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outgoing = Vec::new();
        self.sent = 0;
        match self.closes {
            true => Err(ErrorKind::ConnectionAborted.into()),
            false => Ok(true),
        }
    }

    /// Takes what has come, as much as `buffer` has room for.
    ///
    /// # Errors
    /// The connection is over.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Came> {
        loop {
            return match self.socket.read(buffer) {
                Ok(0) => Ok(Came::End),
                Ok(len) => Ok(Came::Bytes(len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Came::Nothing),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// Whether not all has gone.
    pub(super) fn is_sending(&self) -> bool {
        self.sent < self.outgoing.len()
    }

    /// Whether it has done nothing for too long.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        now >= self.deadline
    }
}
