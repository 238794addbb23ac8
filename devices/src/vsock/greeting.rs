//! The greeting of a host program: `CONNECT port\n`.
//!
//! Not a byte more than the line is read, since what follows is the guest's.
//! A program that says something else is hung up on; one that says nothing
//! waits in the [`lobby`](super::lobby), as long as it may.

use std::io;

use super::ports::ANY;
use super::socket::Socket;

/// The longest line: the word, a space, ten digits and a line feed, with some
/// spaces to spare.
const LONGEST: usize = 32;

/// A host program that has not said yet what it wants.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) socket: Socket,
    /// What its connection may use, if it comes to one.
    pub(super) window: u32,
}

/// How far the greeting has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Not to the end of the line.
    Part,
    /// The guest's port that is wanted.
    Port(u32),
    /// Nonsense, or the program has gone.
    Nonsense,
}

impl Greeting {
    /// Reads the line, once it is there as a whole.
    pub(super) fn hear(&self) -> Heard {
        let mut line = [0; LONGEST];
        let len = match self.socket.peek(&mut line) {
            Ok(0) => return Heard::Nonsense,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Part,
            Err(_) => return Heard::Nonsense,
        };
        let heard = judge(&line[..len]);
        if let (Heard::Port(_), Some(end)) = (heard, end_of_line(&line[..len])) {
            // It is there: this does not wait, nor come short.
            let _ = self.socket.receive(&mut line[..=end]);
        }
        heard
    }
}

fn end_of_line(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

fn judge(bytes: &[u8]) -> Heard {
    match end_of_line(bytes) {
        Some(end) => port(&bytes[..end]).map_or(Heard::Nonsense, Heard::Port),
        None if bytes.len() < LONGEST => Heard::Part,
        None => Heard::Nonsense,
    }
}

fn port(line: &[u8]) -> Option<u32> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let (word, number, rest) = (words.next()?, words.next()?, words.next());
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let well_formed = word.eq_ignore_ascii_case("connect") && digits && rest.is_none();
    let port = number.parse().ok().filter(|port| *port != ANY)?;
    well_formed.then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_names_a_port() {
        assert_eq!(judge(b"CONNECT 52\n"), Heard::Port(52));
        assert_eq!(
            judge(b"connect 4294967294\r\ndata"),
            Heard::Port(u32::MAX - 1)
        );
        assert_eq!(judge(b"CONNECT 52"), Heard::Part);
        assert_eq!(judge(b""), Heard::Part);
    }

    #[test]
    fn anything_else_is_nonsense() {
        for line in [
            &b"CONNECT\n"[..],
            b"CONNECT 4294967295\n",
            b"CONNECT +1\n",
            b"CONNECT -1\n",
            b"CONNECT 1 2\n",
            b"GET / HTTP/1.1\n",
            b"\n",
            b"CONNECT \xff\n",
            b"CONNECT 00000000000000000000000000000001",
        ] {
            assert_eq!(judge(line), Heard::Nonsense, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..=LONGEST)) {
            judge(&bytes);
        }

        #[test]
        fn every_port_but_the_last_is_understood(port in 0..u32::MAX) {
            prop_assert_eq!(judge(format!("CONNECT {port}\n").as_bytes()), Heard::Port(port));
        }
    }
}
