//! The guest's console, kept for whoever attaches to it.
//!
//! What the guest writes is always taken, whether or not somebody is there to
//! read it, so that the guest never waits for a client. The last 64 KiB of it
//! are what a client begins with. Input waits in the client's socket until the
//! guest reads.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;

use super::connection::MAX_WAITING;
use super::failure::{Code, Failure};
use super::socket::Socket;

/// How much of the past a client is shown.
pub(super) const HISTORY: usize = 64 << 10;

/// What is kept: the past of a client that attaches, and as much again as may
/// wait for it.
const KEPT: usize = HISTORY + MAX_WAITING;

/// What a connection to a console speaks.
pub(super) const PROTOCOL: &str = "plinth-console";

/// What begins the response. What follows are the console's bytes, both ways.
pub(super) const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Connection: Upgrade\r\nUpgrade: plinth-console\r\n\r\n";

/// Most bytes that a client is given in one go.
const CHUNK: usize = 16 << 10;

/// The far end of a [served](crate::config::ConsoleConfig::served) console.
#[derive(Debug)]
pub(super) struct Console {
    socket: Socket,
    /// The end of all output.
    kept: VecDeque<u8>,
    /// How many bytes of output there have been.
    written: u64,
    /// Input that the guest has no room for.
    input: Vec<u8>,
    /// The client that is attached.
    attached: Option<u64>,
    /// The machine has let go of its end.
    ended: bool,
}

/// A client fell so far behind that what it was to read next is gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overtaken;

impl Console {
    pub(super) fn new(far: OwnedFd) -> Self {
        Self {
            socket: Socket::new(far),
            kept: VecDeque::new(),
            written: 0,
            input: Vec::new(),
            attached: None,
            ended: false,
        }
    }

    /// What to wait for; none when there is nothing to come.
    pub(super) fn interest(&self) -> Option<PollFlags> {
        let mut interest = PollFlags::IN;
        interest.set(PollFlags::OUT, !self.input.is_empty());
        (!self.ended).then_some(interest)
    }

    /// Takes all output that there is, and gives the input that there is.
    pub(super) fn serve(&mut self) {
        let mut bytes = Vec::new();
        // The guest writes slower than this reads: it pays an exit for each
        // byte, or copies as this does. Still, it gets a bound.
        for _ in 0..KEPT / CHUNK {
            match self.socket.receive(&mut bytes) {
                Ok(Some(received)) if received.count > 0 => self.keep(&bytes),
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => {
                    self.ended = true;
                    break;
                }
            }
            bytes.clear();
        }
        self.give_input();
    }

    /// Takes what is left of the output. There will be no more.
    pub(super) fn close(&mut self) {
        const ROUNDS: usize = 16;
        let mut before = None;
        for _ in 0..ROUNDS {
            if before == Some(self.written) {
                break;
            }
            before = Some(self.written);
            self.serve();
        }
        self.ended = true;
    }

    /// Attaches `client`, who reads from the position given on.
    pub(super) fn attach(&mut self, client: u64) -> Result<u64, Failure> {
        if self.attached.is_some() {
            let why = "someone is attached to the console already; it has room for one";
            return Err(Failure::new(Code::Conflict, why));
        }
        self.attached = Some(client);
        let history = self.kept.len().min(HISTORY) as u64;
        Ok(self.written - history)
    }

    /// `client` has gone, if it was attached at all.
    pub(super) fn detach(&mut self, client: u64) {
        if self.attached == Some(client) {
            self.attached = None;
            // The next client's input is not to begin with this one's.
            self.input.clear();
        }
    }

    /// Appends what follows `position` to `out`, and says where that ends.
    pub(super) fn read(&self, position: u64, out: &mut Vec<u8>) -> Result<u64, Overtaken> {
        let behind = self.written - position;
        let behind = usize::try_from(behind).map_err(|_| Overtaken)?;
        let start = self.kept.len().checked_sub(behind).ok_or(Overtaken)?;
        let count = behind.min(CHUNK);
        out.extend(self.kept.range(start..start + count));
        Ok(position + count as u64)
    }

    /// Whether a client that has read up to `position` has read all that
    /// there will ever be.
    pub(super) fn is_over(&self, position: u64) -> bool {
        self.ended && position == self.written
    }

    /// Whether there is room for input.
    pub(super) fn takes_input(&self) -> bool {
        self.input.is_empty() && !self.ended
    }

    /// Input from the client.
    pub(super) fn type_in(&mut self, bytes: &mut Vec<u8>) {
        self.input.append(bytes);
        self.give_input();
    }

    fn give_input(&mut self) {
        while !self.input.is_empty() {
            match self.socket.send(&self.input) {
                Ok(0) => return,
                Ok(count) => drop(self.input.drain(..count)),
                // Nobody is left to read it.
                Err(_) => self.input.clear(),
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        self.kept.extend(bytes);
        let surplus = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..surplus);
    }
}

impl AsFd for Console {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What to say where there is no such console.
pub(super) fn elsewhere() -> Failure {
    Failure::new(
        Code::Conflict,
        "the console is on a terminal or in a file, or there is none; \
         start the machine with --console socket to attach to it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConsoleConfig;
    use std::fs::File;
    use std::io::{Read, Write};

    fn console() -> (Console, File, File) {
        let (near, far) = ConsoleConfig::served().unwrap();
        (
            Console::new(far),
            near.output.into(),
            near.input.unwrap().into(),
        )
    }

    #[test]
    fn the_guest_never_waits_though_nobody_reads() {
        let (mut console, mut guest, _) = console();
        let mut written = 0;
        while written < 10 * KEPT {
            written += guest.write(&[b'x'; 5000]).unwrap_or(0);
            console.serve();
        }
        assert_eq!(console.kept.len(), KEPT);
        assert_eq!(console.written, written as u64);
    }

    #[test]
    fn a_client_begins_with_the_past_and_reads_on() {
        let (mut console, mut guest, _) = console();
        guest.write_all(&[b'o'; 9]).unwrap();
        for _ in 0..2 {
            guest.write_all(&[b'x'; HISTORY / 2]).unwrap();
            console.serve();
        }
        let mut at = console.attach(1).unwrap();
        guest.write_all(b"more").unwrap();
        console.serve();
        let mut read = Vec::new();
        while read.len() < HISTORY + 4 {
            at = console.read(at, &mut read).unwrap();
        }
        assert!(read.starts_with(b"xx") && read.ends_with(b"xmore"));
        assert_eq!(console.read(at, &mut Vec::new()), Ok(at));
    }

    #[test]
    fn a_client_that_falls_behind_is_overtaken() {
        let (mut console, mut guest, _) = console();
        guest.write_all(&[b'o'; HISTORY]).unwrap();
        console.serve();
        let at = console.attach(1).unwrap();
        for _ in 0..16 {
            guest.write_all(&[b'x'; MAX_WAITING / 16]).unwrap();
            console.serve();
        }
        assert!(console.read(at, &mut Vec::new()).is_ok());
        guest.write_all(b"x").unwrap();
        console.serve();
        assert_eq!(console.read(at, &mut Vec::new()), Err(Overtaken));
    }

    #[test]
    fn one_client_at_a_time_is_attached() {
        let (mut console, ..) = console();
        console.attach(1).unwrap();
        assert_eq!(console.attach(2).unwrap_err().code, Code::Conflict);
        console.detach(2);
        console.attach(2).unwrap_err();
        console.detach(1);
        console.attach(2).unwrap();
    }

    #[test]
    fn input_waits_until_the_guest_reads_it() {
        let (mut console, _output, mut guest) = console();
        let mut typed = 0;
        while console.takes_input() {
            console.type_in(&mut vec![b'x'; 5000]);
            typed += 5000;
        }
        assert_eq!(console.interest(), Some(PollFlags::IN | PollFlags::OUT));
        let mut received = 0;
        while received < typed {
            received += guest.read(&mut [0; 9000]).unwrap();
            console.serve();
        }
        assert!(console.takes_input());
    }

    #[test]
    fn it_is_over_when_the_machine_has_let_go_and_all_is_read() {
        let (mut console, mut output, input) = console();
        output.write_all(b"bye").unwrap();
        drop((output, input));
        console.serve();
        let at = console.attach(1).unwrap();
        assert!(!console.is_over(at));
        let mut last = Vec::new();
        let at = console.read(at, &mut last).unwrap();
        assert_eq!(last, b"bye");
        assert!(console.is_over(at) && console.interest().is_none());
    }
}
