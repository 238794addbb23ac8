//! The console's input worker: reads a host descriptor and hands what was
//! typed to the guest's end of the line.
//!
//! It reads only what the port has room for, so that a file or a pipe can be
//! fed to a guest without loss. A terminal is read all the same, and what
//! finds no room is lost as on a real line: a guest that reads nothing must
//! not keep the user from ending it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use vmm_sys_util::eventfd::EventFd;

use crate::reactor::{Readiness, Source, Token, Worker};

use super::buffer::ConsoleBuffer;
use super::descriptor::{Descriptor, TRANSFER};
use super::escape::{Escape, Typed};
use super::keys::{HELP, KEYS, Key};
use super::line::Line;

const INPUT: Token = 0;
const ROOM: Token = 1;

/// The input worker.
pub struct ConsoleInput {
    host: Descriptor,
    is_terminal: bool,
    line: Box<dyn Line>,
    room: Arc<EventFd>,
    /// Where the help appears.
    output: ConsoleBuffer,
    /// What Ctrl-A x does.
    quit: Box<dyn Fn() + Send>,
    /// None where every byte is the guest's.
    escape: Option<Escape<Key>>,
    ended: bool,
}

impl ConsoleInput {
    /// A worker that reads `host` for `line`. If `escapes` are looked for, help
    /// appears in `output`, and Ctrl-A x calls `quit`, which must not block.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new(
        host: OwnedFd,
        line: impl Line + 'static,
        output: ConsoleBuffer,
        quit: impl Fn() + Send + 'static,
        escapes: bool,
    ) -> io::Result<Self> {
        let host = Descriptor::new(host)?;
        Ok(Self {
            is_terminal: host.is_terminal(),
            host,
            room: line.room_event(),
            line: Box::new(line),
            output,
            quit: Box::new(quit),
            escape: escapes.then(|| Escape::new(KEYS)),
            ended: false,
        })
    }

    /// How much to read. The escape parser may let out one byte more than it
    /// takes in.
    fn wanted(&self) -> usize {
        let room = self.line.room();
        if self.is_terminal {
            TRANSFER
        } else {
            room.saturating_sub(1).min(TRANSFER)
        }
    }

    fn typed(&mut self, bytes: &[u8]) {
        let Some(escape) = &mut self.escape else {
            let _ = self.line.receive(bytes);
            return;
        };
        escape.parse(bytes, |typed| match typed {
            Typed::Byte(byte) => drop(self.line.receive(&[byte])),
            Typed::Key(Key::Break) => self.line.receive_break(),
            Typed::Key(Key::Help) => self.output.write(HELP.as_bytes()),
            Typed::Key(Key::Quit) => (self.quit)(),
        });
    }
}

impl Worker for ConsoleInput {
    fn sources(&self) -> Vec<Source> {
        // Signalled from the start: a host descriptor that cannot be waited
        // for is read when the worker is attached.
        let room = Source {
            fd: self.room.as_raw_fd(),
            readiness: Readiness::Readable,
            token: ROOM,
        };
        let host = self.host.to_wait_for().map(|fd| Source {
            fd,
            readiness: Readiness::Readable,
            token: INPUT,
        });
        host.into_iter().chain([room]).collect()
    }

    fn ready(&mut self, _: Token) {
        let mut buffer = [0; TRANSFER];
        while !self.ended {
            let wanted = self.wanted();
            if wanted == 0 {
                return;
            }
            match self.host.read(&mut buffer[..wanted]) {
                Ok(None) => return,
                Ok(Some(0)) => self.ended = true,
                Ok(Some(count)) => self.typed(&buffer[..count]),
                Err(error) => {
                    log::warn!("the console's input has ended: {error}");
                    self.ended = true;
                }
            }
        }
    }

    fn drain(&mut self, _: Instant) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::BusDevice;
    use crate::interrupt::InterruptLine;
    use crate::platform::serial::Serial;
    use crate::reactor::Reactor;
    use std::fs::File;
    use std::io::{Seek, Write};
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(30);

    struct Fixture {
        guest: Serial,
        output: ConsoleBuffer,
        quits: Receiver<()>,
    }

    fn fixture(host: OwnedFd) -> (ConsoleInput, Fixture) {
        fixture_with(host, true)
    }

    fn fixture_with(host: OwnedFd, escapes: bool) -> (ConsoleInput, Fixture) {
        let output = ConsoleBuffer::new().unwrap();
        let guest = Serial::new(InterruptLine::new().unwrap(), output.clone()).unwrap();
        let (sender, quits) = channel();
        let quit = move || sender.send(()).unwrap();
        let input = ConsoleInput::new(host, guest.clone(), output.clone(), quit, escapes).unwrap();
        let fixture = Fixture {
            guest,
            output,
            quits,
        };
        (input, fixture)
    }

    impl Fixture {
        /// Reads as a driver that polls, until `len` bytes have come.
        fn read(&mut self, len: usize) -> Vec<u8> {
            let mut bytes = Vec::new();
            let deadline = Instant::now() + PATIENCE;
            while bytes.len() < len {
                assert!(Instant::now() < deadline, "{} of {len} bytes", bytes.len());
                let (mut status, mut data) = ([0], [0]);
                self.guest.read(5, &mut status);
                if status[0] & 1 != 0 {
                    self.guest.read(0, &mut data);
                    bytes.push(data[0]);
                }
            }
            bytes
        }
    }

    #[test]
    fn what_is_typed_reaches_the_guest() {
        let (reader, mut writer) = io::pipe().unwrap();
        let (input, mut f) = fixture(reader.into());
        let reactor = Reactor::spawn("test").unwrap();
        let attached = reactor.handle().attach(input).unwrap();
        for line in [b"first", b"other"] {
            writer.write_all(line).unwrap();
            assert_eq!(f.read(line.len()), line);
        }
        attached.detach(PATIENCE).unwrap();
    }

    #[test]
    fn a_file_is_fed_completely_as_the_guest_reads() {
        let bytes: Vec<u8> = (0..20_000u32)
            .map(|at| u8::try_from(at % 200 + 2).unwrap())
            .collect();
        let mut file: File = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        file.rewind().unwrap();
        let (input, mut f) = fixture(file.into());
        let reactor = Reactor::spawn("test").unwrap();
        let _attached = reactor.handle().attach(input).unwrap();
        assert!(f.read(bytes.len()) == bytes);
    }

    #[test]
    fn a_pipe_is_fed_completely_as_the_guest_reads() {
        let bytes = vec![b'x'; 20_000];
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(&bytes).unwrap();
        let (input, mut f) = fixture(reader.into());
        let reactor = Reactor::spawn("test").unwrap();
        let _attached = reactor.handle().attach(input).unwrap();
        assert_eq!(f.read(bytes.len()).len(), bytes.len());
    }

    #[test]
    fn escape_sequences_go_to_the_machine() {
        let (reader, mut writer) = io::pipe().unwrap();
        let (mut input, mut f) = fixture(reader.into());
        writer.write_all(b"a\x01h\x01c\x01x").unwrap();
        input.ready(INPUT);
        assert_eq!(f.quits.try_recv(), Ok(()));
        assert_eq!(f.read(2), b"a\0", "the break reads as a zero");
        let mut help = Vec::new();
        f.output.take(&mut help, 10_000);
        assert_eq!(help, HELP.as_bytes());
    }

    #[test]
    fn without_escapes_every_byte_is_the_guest_s() {
        let (reader, mut writer) = io::pipe().unwrap();
        let (mut input, mut f) = fixture_with(reader.into(), false);
        writer.write_all(b"\x01x\x01\x01").unwrap();
        input.ready(INPUT);
        assert_eq!(f.read(4), b"\x01x\x01\x01");
        assert!(f.quits.try_recv().is_err());
    }

    #[test]
    fn the_end_of_input_ends_nothing_else() {
        let null = File::open("/dev/null").unwrap();
        let (mut input, f) = fixture(null.into());
        input.ready(ROOM);
        assert!(input.ended);
        assert!(f.quits.try_recv().is_err());
    }
}
