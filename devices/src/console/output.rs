//! The console's output worker: takes from the [`ConsoleBuffer`] and writes
//! to a host descriptor.
//!
//! A reader that is slow makes it wait, one that is gone makes it write to
//! nowhere; neither is felt by the guest. Stopping writes what is left, within
//! the deadline.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::reactor::{Readiness, Source, Token, Worker};

use super::buffer::ConsoleBuffer;
use super::descriptor::{Descriptor, TRANSFER, may_block};
use super::relay::Relay;

const OUTPUT: Token = 0;
const BUFFER: Token = 1;

/// Writes in one go. Then others on the reactor get their turn: a guest can
/// send for ever.
const BATCH: usize = 8;

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// There may be more to write.
    Wrote,
    /// Nothing is left.
    Done,
    /// The host takes nothing at the moment.
    Refused,
}

/// The output worker.
#[derive(Debug)]
pub struct ConsoleOutput {
    buffer: ConsoleBuffer,
    host: Descriptor,
    /// Between `host` and a descriptor that may block.
    relay: Option<Relay>,
    /// Taken from the buffer, not yet written.
    chunk: Vec<u8>,
    gone: bool,
}

impl ConsoleOutput {
    /// A worker that writes what `buffer` holds to `host`.
    ///
    /// # Errors
    /// The process has no descriptor or no thread left.
    pub fn new(buffer: ConsoleBuffer, host: OwnedFd) -> io::Result<Self> {
        let (host, relay) = if may_block(&host)? {
            let (near, relay) = Relay::start(host)?;
            (near, Some(relay))
        } else {
            (host, None)
        };
        Ok(Self {
            buffer,
            host: Descriptor::new(host)?,
            relay,
            chunk: Vec::with_capacity(TRANSFER),
            gone: false,
        })
    }

    /// Writes the next bytes, if the host takes some before `deadline`, or at
    /// once without one.
    fn write_some(&mut self, deadline: Option<Instant>) -> Progress {
        if self.chunk.is_empty() && self.buffer.take(&mut self.chunk, TRANSFER) == 0 {
            return Progress::Done;
        }
        if self.gone {
            self.chunk.clear();
            return Progress::Wrote;
        }
        match self.host.write(&self.chunk, deadline) {
            Ok(Some(count)) => drop(self.chunk.drain(..count)),
            Ok(None) => return Progress::Refused,
            Err(error) => {
                log::warn!("the console's reader is gone: {error}");
                self.gone = true;
            }
        }
        Progress::Wrote
    }
}

impl Worker for ConsoleOutput {
    fn sources(&self) -> Vec<Source> {
        let buffer = Source {
            fd: self.buffer.timer(),
            readiness: Readiness::Readable,
            token: BUFFER,
        };
        let host = self.host.to_wait_for().map(|fd| Source {
            fd,
            readiness: Readiness::Writable,
            token: OUTPUT,
        });
        host.into_iter().chain([buffer]).collect()
    }

    fn ready(&mut self, _: Token) {
        for _ in 0..BATCH {
            if self.write_some(None) != Progress::Wrote {
                return;
            }
        }
        self.buffer.fire_again();
    }

    /// Always finishes: output that the host does not take in time is given
    /// up, since nothing else waits for it.
    fn drain(&mut self, deadline: Instant) -> bool {
        let written = loop {
            match self.write_some(Some(deadline)) {
                Progress::Wrote => {}
                Progress::Done => break true,
                Progress::Refused => break false,
            }
        };
        let relay = self.relay.take();
        let passed_on = relay.is_none_or(|relay| relay.finish(&self.host, deadline));
        if !(written && passed_on) {
            log::warn!("the console's reader is too slow: its last output is lost");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::Reactor;
    use std::fs::File;
    use std::io::{PipeReader, Read, Seek};
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A worker that writes to a pipe, which may block.
    fn piped() -> (ConsoleBuffer, ConsoleOutput, PipeReader) {
        piped_with(false)
    }

    fn piped_with(non_blocking: bool) -> (ConsoleBuffer, ConsoleOutput, PipeReader) {
        let buffer = ConsoleBuffer::new().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, non_blocking).unwrap();
        let output = ConsoleOutput::new(buffer.clone(), writer.into()).unwrap();
        (buffer, output, reader)
    }

    #[test]
    fn output_reaches_the_host_while_the_worker_runs() {
        let (buffer, output, mut reader) = piped();
        let reactor = Reactor::spawn("test").unwrap();
        let attached = reactor.handle().attach(output).unwrap();
        for line in ["first\n", "second\n"] {
            buffer.write(line.as_bytes());
            let mut received = vec![0; line.len()];
            reader.read_exact(&mut received).unwrap();
            assert_eq!(received, line.as_bytes());
        }
        attached.detach(PATIENCE).unwrap();
    }

    #[test]
    fn a_reader_that_starts_late_gets_everything_in_order() {
        let (buffer, output, mut reader) = piped();
        let reactor = Reactor::spawn("test").unwrap();
        let attached = reactor.handle().attach(output).unwrap();
        // More than the pipe holds, no more than the buffer does.
        rustix::pipe::fcntl_setpipe_size(&reader, TRANSFER).unwrap();
        let bytes: Vec<u8> = (0..60_000u32)
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect();
        let (first, second) = bytes.split_at(30_000);
        buffer.write(first);
        let mut received = vec![0; 1];
        reader.read_exact(&mut received).unwrap();
        buffer.write(second);
        let rest = std::thread::spawn(move || {
            reader.read_to_end(&mut received).unwrap();
            received
        });
        drop(attached.detach(PATIENCE).unwrap());
        assert_eq!(buffer.lost(), 0);
        assert!(rest.join().unwrap() == bytes);
    }

    #[test]
    fn stopping_writes_everything_to_a_file() {
        let buffer = ConsoleBuffer::new().unwrap();
        let mut file: File = tempfile::tempfile().unwrap();
        let mut output =
            ConsoleOutput::new(buffer.clone(), file.try_clone().unwrap().into()).unwrap();
        buffer.write(&[b'x'; 50_000]);
        assert!(output.drain(Instant::now() + PATIENCE));
        let mut received = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), 50_000);
    }

    #[test]
    fn a_guest_that_sends_a_lot_leaves_others_on_the_reactor_their_turn() {
        let buffer = ConsoleBuffer::new().unwrap();
        let file: File = tempfile::tempfile().unwrap();
        let mut output =
            ConsoleOutput::new(buffer.clone(), file.try_clone().unwrap().into()).unwrap();
        let written = || usize::try_from(file.metadata().unwrap().len()).unwrap();
        buffer.write(&[b'x'; BATCH * TRANSFER + 1]);
        output.ready(BUFFER);
        assert_eq!(written(), BATCH * TRANSFER);
        // The timer wakes it for the rest.
        let reactor = Reactor::spawn("test").unwrap();
        drop(reactor.handle().attach(output).unwrap());
        while written() == BATCH * TRANSFER {
            std::thread::yield_now();
        }
        assert_eq!(written(), BATCH * TRANSFER + 1);
    }

    #[test]
    fn a_stuck_reader_does_not_hold_up_stopping() {
        let (buffer, mut output, _reader) = piped();
        for _ in 0..4 {
            buffer.write(&[b'x'; 60_000]);
            output.ready(BUFFER);
        }
        assert!(output.drain(Instant::now()));
    }

    /// A terminal that is not read, says that it can be written to, and has not
    /// room for much; and its far end.
    fn nearly_full_terminal() -> (OwnedFd, OwnedFd) {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
        use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let far = openpt(flags).unwrap();
        unlockpt(&far).unwrap();
        let terminal = ioctl_tiocgptpeer(&far, flags).unwrap();
        let blocking = fcntl_getfl(&terminal).unwrap();
        fcntl_setfl(&terminal, blocking | OFlags::NONBLOCK).unwrap();
        while rustix::io::write(&terminal, &[b'x'; 4096]).is_ok() {}
        fcntl_setfl(&terminal, blocking).unwrap();
        rustix::io::read(&far, &mut [0; 1024]).unwrap();
        (far, terminal)
    }

    #[test]
    fn a_terminal_that_takes_less_than_it_says_holds_up_nobody() {
        let (_far, terminal) = nearly_full_terminal();
        let buffer = ConsoleBuffer::new().unwrap();
        let mut output = ConsoleOutput::new(buffer.clone(), terminal).unwrap();
        buffer.write(&[b'x'; 60_000]);
        let (sender, outcome) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            output.ready(BUFFER);
            sender.send(output.drain(Instant::now())).unwrap();
        });
        assert_eq!(outcome.recv_timeout(PATIENCE), Ok(true));
    }

    #[test]
    fn a_reader_that_is_gone_is_written_to_no_more() {
        let (buffer, mut output, reader) = piped_with(true);
        drop(reader);
        buffer.write(b"lost");
        output.ready(BUFFER);
        buffer.write(b"lost too");
        output.ready(BUFFER);
        assert!(output.gone);
        assert_eq!(buffer.take(&mut Vec::new(), 1), 0, "taken all the same");
    }
}
