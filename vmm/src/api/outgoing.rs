//! What waits to be sent to a client, and how long it may wait.
//!
//! A client that takes a byte now and then would keep an answer, and its
//! place, for as long as it likes. So there are two bounds: one for taking
//! something, which the connection keeps, and this one for taking it all.

use std::io;
use std::time::{Duration, Instant};

use super::socket::Socket;

/// How long a client may take to take an answer whole.
pub(super) const WHOLE: Duration = Duration::from_secs(60);

/// Bytes for a client.
#[derive(Debug)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// When the first of them came.
    began: Instant,
}

impl Outgoing {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            bytes: Vec::new(),
            began: now,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What waits, to be added to.
    pub(super) fn at(&mut self, now: Instant) -> &mut Vec<u8> {
        if self.bytes.is_empty() {
            self.began = now;
        }
        &mut self.bytes
    }

    /// The time for taking it all begins anew.
    pub(super) fn restart(&mut self, now: Instant) {
        self.began = now;
    }

    /// When all is to have been taken.
    pub(super) fn deadline(&self) -> Instant {
        self.began + WHOLE
    }

    /// Nothing of it will be sent.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Sends as much as the client takes, and returns how much.
    ///
    /// # Errors
    /// The client has gone.
    pub(super) fn flush(&mut self, socket: &Socket) -> io::Result<usize> {
        let mut sent = 0;
        while !self.bytes.is_empty() {
            match socket.send(&self.bytes)? {
                0 => break,
                count => {
                    self.bytes.drain(..count);
                    sent += count;
                }
            }
        }
        Ok(sent)
    }
}
