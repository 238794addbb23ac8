//! Questions about names that are not the network's: asked of the host's
//! resolvers, in the way in which they came, by packet or by stream.
//!
//! Each is asked from a port of its own, which the kernel chooses at random, and
//! only its resolver can answer there (RFC 5452 §9).

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::stream::{Came, Stream};

/// For so long one resolver is waited for: a guest asks again after five seconds.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The longest answer in a packet (RFC 1035 §4.2.1 has 512; RFC 6891 more).
const MOST_BYTES: usize = 65_535;

/// What begins every message (RFC 1035 §4.1.1).
const HEADER: usize = 12;

/// A question that somebody else is asked.
#[derive(Debug)]
pub(super) struct Inquiry {
    pub(super) question: Vec<u8>,
    way: Way,
    resolvers: Vec<IpAddr>,
    port: u16,
    deadline: Instant,
}

/// How it is asked.
#[derive(Debug)]
enum Way {
    Packet(UdpSocket),
    Stream { stream: Stream, came: Vec<u8> },
}

/// What has become of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// This is the answer.
    Answered(Vec<u8>),
    /// It is waited for.
    Waiting,
    /// This resolver does not answer.
    Failed,
}

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Packet,
    Stream,
}

impl Inquiry {
    /// Asks the first of `resolvers` that can be asked, at `port`.
    ///
    /// # Errors
    /// None can, or none is left.
    pub(super) fn begin(
        question: Vec<u8>,
        transport: Transport,
        mut resolvers: Vec<IpAddr>,
        port: u16,
    ) -> io::Result<Self> {
        let mut failed = io::ErrorKind::NotFound.into();
        while !resolvers.is_empty() {
            let resolver = SocketAddr::new(resolvers.remove(0), port);
            match Way::open(resolver, transport, &question) {
                Ok(way) => {
                    let deadline = Instant::now() + PATIENCE;
                    return Ok(Self {
                        question,
                        way,
                        resolvers,
                        port,
                        deadline,
                    });
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Asks the next resolver.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn go_on(self) -> io::Result<Self> {
        let transport = match self.way {
            Way::Packet(_) => Transport::Packet,
            Way::Stream { .. } => Transport::Stream,
        };
        Self::begin(self.question, transport, self.resolvers, self.port)
    }

    /// What becomes ready when it can go on.
    pub(super) fn source(&self) -> BorrowedFd<'_> {
        match &self.way {
            Way::Packet(socket) => socket.as_fd(),
            Way::Stream { stream, .. } => stream.socket.as_fd(),
        }
    }

    /// Whether there is more to be sent first.
    pub(super) fn writes(&self) -> bool {
        matches!(&self.way, Way::Stream { came, stream } if came.is_empty() && stream.is_sending())
    }

    /// Whether its resolver has had its time.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        now >= self.deadline
    }

    /// Takes what has come.
    pub(super) fn turn(&mut self) -> Progress {
        match &mut self.way {
            Way::Packet(socket) => packet(socket, &self.question),
            Way::Stream { stream, came } => match answer(stream, came) {
                Ok(Some(message)) if answers(&message, &self.question) => {
                    Progress::Answered(message)
                }
                Ok(None) => Progress::Waiting,
                Ok(Some(_)) | Err(_) => Progress::Failed,
            },
        }
    }
}

impl Way {
    fn open(resolver: SocketAddr, transport: Transport, question: &[u8]) -> io::Result<Self> {
        let kind = match transport {
            Transport::Packet => Type::DGRAM,
            Transport::Stream => Type::STREAM,
        };
        let socket = Socket::new(Domain::for_address(resolver), kind, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&resolver.into()) {
            // It is under way.
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            connected => connected?,
        }
        Ok(match transport {
            Transport::Packet => {
                let socket = UdpSocket::from(socket);
                socket.send(question)?;
                Self::Packet(socket)
            }
            Transport::Stream => {
                let mut stream = Stream::new(TcpStream::from(socket))?;
                stream.send(framed(question), false);
                stream.flush()?;
                let came = Vec::new();
                Self::Stream { stream, came }
            }
        })
    }
}

fn packet(socket: &UdpSocket, question: &[u8]) -> Progress {
    let mut bytes = vec![0; MOST_BYTES];
    loop {
        return match socket.recv(&mut bytes) {
            Ok(len) if answers(&bytes[..len], question) => {
                bytes.truncate(len);
                Progress::Answered(bytes)
            }
            // Something else, or an answer to somebody else.
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Progress::Waiting,
            Err(_) => Progress::Failed,
        };
    }
}

fn answer(stream: &mut Stream, came: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    if !stream.flush()? {
        return Ok(None);
    }
    let mut bytes = [0; 4096];
    loop {
        if let Some(message) = message(came) {
            return Ok(Some(message));
        }
        match stream.read(&mut bytes)? {
            Came::Bytes(len) => came.extend(&bytes[..len]),
            Came::Nothing => return Ok(None),
            Came::End => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// `message` as a stream carries it, after its length (RFC 1035 §4.2.2).
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut bytes = len.to_be_bytes().to_vec();
    bytes.extend(&message[..usize::from(len)]);
    bytes
}

/// The message that `came` begins with, if it is whole, taken off it.
pub(super) fn message(came: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (len, rest) = came.split_first_chunk()?;
    let len = usize::from(u16::from_be_bytes(*len));
    let message = rest.get(..len)?.to_vec();
    came.drain(..2 + len);
    Some(message)
}

/// Whether `message` is an answer to `question`: the number of both is the same.
fn answers(message: &[u8], question: &[u8]) -> bool {
    const RESPONSE: u8 = 0x80;
    message.len() >= HEADER && message[..2] == question[..2] && message[2] & RESPONSE != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_off_a_stream_one_by_one() {
        let mut came = framed(b"first");
        came.extend(framed(b"second"));
        let last = came.pop().unwrap();
        assert_eq!(message(&mut came).unwrap(), b"first");
        assert_eq!(message(&mut came), None);
        came.push(last);
        assert_eq!(message(&mut came).unwrap(), b"second");
        assert_eq!(message(&mut came), None);
        assert!(came.is_empty());
    }

    #[test]
    fn an_answer_is_one_to_this_question() {
        let question = [7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1];
        let mut message = question;
        assert!(!answers(&message, &question), "it is a question");
        message[2] = 0x81;
        assert!(answers(&message, &question));
        message[0] = 8;
        assert!(!answers(&message, &question));
        assert!(!answers(&question[..11], &question));
    }
}
