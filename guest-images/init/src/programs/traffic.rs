//! `guest traffic`: how much a network carries. One end serves; the other has it
//! take part in a pattern for a time, and prints what arrived, as the receiver
//! counted it:
//!
//! ```text
//! traffic: round-trips 20410 in 1000012345 ns
//! ```
//!
//! What is asked, and the count of what the server received, go over a TCP
//! connection, which also is what streams flow over; datagrams go to and from the
//! server's port of the same number. Both ends are this program.

mod ask;
mod flow;
mod serve;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use super::{Outcome, print, usage};

/// Who sends what; names are the asking end's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    /// A datagram there and back, one at a time.
    RoundTrips,
    /// A TCP stream; its units are bytes.
    StreamOut,
    StreamIn,
    /// Datagrams as fast as they can be sent.
    PacketsOut,
    PacketsIn,
}

const PATTERNS: [(&str, Pattern); 5] = [
    ("round-trips", Pattern::RoundTrips),
    ("stream-out", Pattern::StreamOut),
    ("stream-in", Pattern::StreamIn),
    ("packets-out", Pattern::PacketsOut),
    ("packets-in", Pattern::PacketsIn),
];

pub(super) fn run(words: &[&str]) -> Outcome {
    match *words {
        ["serve", port] => serve::Server::bind(port.parse()?)?.run()?,
        [name, address, milliseconds] => {
            let pattern = PATTERNS.iter().find(|(other, _)| *other == name);
            let Some((name, pattern)) = pattern else {
                return usage();
            };
            let request = Request {
                pattern: *pattern,
                milliseconds: milliseconds.parse()?,
            };
            let Count { units, time } = ask::ask(address.parse()?, request)?;
            print(format_args!(
                "traffic: {name} {units} in {} ns",
                time.as_nanos()
            ))?;
        }
        _ => return usage(),
    }
    Ok(())
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    pattern: Pattern,
    /// For how long is sent.
    milliseconds: u32,
}

impl Request {
    fn duration(self) -> Duration {
        Duration::from_millis(self.milliseconds.into())
    }

    fn write(self, connection: &mut TcpStream) -> io::Result<()> {
        let mut bytes = [self.pattern as u8, 0, 0, 0, 0];
        bytes[1..].copy_from_slice(&self.milliseconds.to_be_bytes());
        connection.write_all(&bytes)
    }

    fn read(connection: &mut TcpStream) -> io::Result<Self> {
        let mut bytes = [0; 5];
        connection.read_exact(&mut bytes)?;
        let [number, milliseconds @ ..] = bytes;
        let known = PATTERNS.iter().map(|(_, pattern)| *pattern);
        let mut asked = known.filter(|pattern| *pattern as u8 == number);
        Ok(Self {
            pattern: asked.next().ok_or(ErrorKind::InvalidData)?,
            milliseconds: u32::from_be_bytes(milliseconds),
        })
    }
}

/// What arrived, and in how long a time: bytes of a stream, or datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    units: u64,
    time: Duration,
}

impl Count {
    fn write(self, connection: &mut TcpStream) -> io::Result<()> {
        let nanoseconds = u64::try_from(self.time.as_nanos()).unwrap_or(u64::MAX);
        connection.write_all(&[self.units.to_be_bytes(), nanoseconds.to_be_bytes()].concat())
    }

    fn read(connection: &mut TcpStream) -> io::Result<Self> {
        let mut number = || {
            let mut bytes = [0; 8];
            connection.read_exact(&mut bytes)?;
            Ok::<_, io::Error>(u64::from_be_bytes(bytes))
        };
        Ok(Self {
            units: number()?,
            time: Duration::from_nanos(number()?),
        })
    }
}

/// The next datagram, or none for so long that none comes any more.
fn next(socket: &UdpSocket, datagram: &mut [u8]) -> io::Result<Option<usize>> {
    match socket.recv(datagram) {
        Ok(length) => Ok(Some(length)),
        // What SO_RCVTIMEO says of the end of its time (socket(7)).
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
