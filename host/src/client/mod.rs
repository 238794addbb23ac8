//! A client of a machine's control socket: HTTP/1.1 over a Unix socket, one
//! request at a time, without a runtime.
//!
//! What answers is a VM process, and a guest may have taken it over: answers
//! are bounded in length, waited for with patience that ends, and never
//! trusted to be well-formed.

pub mod body;
pub mod connection;

pub mod head;
pub mod request;

use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::printable::printable;
use body::Body;
use head::Head;
use request::Request;

/// Longest body of an answer that is read at once.
const MAX_BODY: u64 = 16 << 20;

/// How long an answer may take that waits for nothing but the VM process.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody listens at the socket.
    #[error("its control socket cannot be reached")]
    Unreachable(#[source] io::Error),
    /// The conversation broke off.
    #[error("the conversation with it broke off")]
    Broken(#[source] io::Error),
    /// It took too long.
    #[error("it did not answer in {} s", .0.as_secs())]
    Silent(Duration),
    /// What came is no answer.
    #[error("its answer is not understood: {0}")]
    Nonsense(&'static str),
    /// It said no.
    #[error("{}", .0.message)]
    Refused(Refusal),
}

/// An answer that says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What kind of failure it is, for programs.
    pub code: String,
    /// What, which, why, and what to do.
    pub message: String,
}

/// A connection to a machine's control socket.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to `socket`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(socket: &Path) -> Result<Self, Failure> {
        let stream = UnixStream::connect(socket).map_err(Failure::Unreachable)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Asks, and waits for the whole answer, never longer than `patience`
    /// without hearing anything.
    ///
    /// # Errors
    /// It is refused, or there is no answer.
    pub fn ask(&mut self, request: &Request<'_>, patience: Duration) -> Result<Vec<u8>, Failure> {
        let head = self.start(request, patience)?;
        self.rest(head, patience)
    }

    /// Asks for what comes bit by bit, however long that takes.
    ///
    /// # Errors
    /// It is refused, or there is no answer.
    pub fn stream(mut self, request: &Request<'_>) -> Result<Body<BufReader<UnixStream>>, Failure> {
        let head = self.start(request, PATIENCE)?;
        let stream = self.stream.get_ref();
        stream.set_read_timeout(None).map_err(Failure::Broken)?;
        Ok(Body::new(self.stream, head.length))
    }

    /// Asks to speak another protocol from now on. What has come of it
    /// already is in the buffer.
    ///
    /// # Errors
    /// It is refused, or there is no answer.
    pub fn upgrade(mut self, request: &Request<'_>) -> Result<BufReader<UnixStream>, Failure> {
        let head = self.start(request, PATIENCE)?;
        if head.status != 101 {
            return Err(Failure::Nonsense("it does not change protocols"));
        }
        let stream = self.stream.get_ref();
        stream.set_read_timeout(None).map_err(Failure::Broken)?;
        stream.set_write_timeout(None).map_err(Failure::Broken)?;
        Ok(self.stream)
    }

    /// Sends a request and reads the head of its answer, which says yes.
    fn start(&mut self, request: &Request<'_>, patience: Duration) -> Result<Head, Failure> {
        let broken = |error| broken(error, patience);
        let stream = self.stream.get_mut();
        stream.set_read_timeout(Some(patience)).map_err(broken)?;
        stream.set_write_timeout(Some(patience)).map_err(broken)?;
        request.send(stream).map_err(broken)?;
        let head = head::read(&mut self.stream).map_err(broken)??;
        if head.status < 400 {
            return Ok(head);
        }
        let body = self.rest(head, patience)?;
        Err(Failure::Refused(Refusal::new(head.status, &body)))
    }

    fn rest(&mut self, head: Head, patience: Duration) -> Result<Vec<u8>, Failure> {
        let mut whole = Vec::new();
        Body::new(&mut self.stream, head.length)
            .take(MAX_BODY)
            .read_to_end(&mut whole)
            .map_err(|error| broken(error, patience))?;
        Ok(whole)
    }
}

impl Refusal {
    fn new(status: u16, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Document {
            error: Fields,
        }
        #[derive(Deserialize)]
        struct Fields {
            code: String,
            message: String,
        }
        match serde_json::from_slice(body) {
            Ok(Document { error }) => Self {
                status,
                code: printable(&error.code),
                message: printable(&error.message),
            },
            Err(_) => Self {
                status,
                code: "unknown".into(),
                message: format!("it answered with HTTP status {status}"),
            },
        }
    }
}

fn broken(error: io::Error, patience: Duration) -> Failure {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::Silent(patience),
        _ => Failure::Broken(error),
    }
}

#[cfg(test)]
mod tests;
