//! The host's end of the line to an agent, and running one command over it.
//! It knows nothing of the machine behind it: whoever owns the machine adds
//! what can be said about a failure.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use outer_agent::protocol::{CHUNK, Decoder, Frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::command::{Command, Input};
use crate::error::{Error, ErrorKind, Result};
use crate::output::Output;

/// How often a wait returns to look at the clock.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// A connected line.
#[derive(Debug)]
pub(crate) struct Line {
    stream: UnixStream,
    decoder: Decoder,
}

/// What a wait ended with.
enum Event {
    Frame(Frame),
    Input(Vec<u8>),
    Nothing,
}

impl Line {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            decoder: Decoder::default(),
        }
    }

    /// The stream, for polling.
    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Sends one frame, waiting for room.
    pub(crate) fn send(&mut self, frame: &Frame) -> Result<()> {
        self.stream.write_all(&frame.encode()).map_err(broken)
    }

    /// A frame that has already been read.
    pub(crate) fn received(&mut self) -> Result<Option<Frame>> {
        self.decoder.next_frame().map_err(broken)
    }

    /// Reads once, waiting if there is nothing.
    pub(crate) fn fill(&mut self) -> Result<()> {
        let mut bytes = vec![0; CHUNK];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(broken("closed by the other side")),
            Ok(count) => {
                self.decoder.push(&bytes[..count]);
                Ok(())
            }
            Err(source) => Err(broken(source)),
        }
    }

    /// Waits for the other side to take commands; for ever without a bound.
    pub(crate) fn wait_ready(&mut self, bound: Option<Duration>) -> Result<()> {
        let start = Instant::now();
        loop {
            match self.wait(Input::Empty)? {
                Event::Frame(Frame::Ready) => return Ok(()),
                Event::Frame(other) => return Err(unexpected(&other)),
                Event::Input(_) | Event::Nothing => {}
            }
            if let Some(bound) = bound.filter(|bound| start.elapsed() > *bound) {
                return Err(silent("booting", bound));
            }
        }
    }

    /// Runs `command` to its end, with its output going to `output`.
    pub(crate) fn run(
        &mut self,
        command: &Command,
        output: &mut dyn Output,
        stall_bound: Duration,
    ) -> Result<ExitStatus> {
        self.send(&Frame::Run(command.encode()))?;
        let mut input = command.input;
        if input == Input::Empty {
            self.send(&Frame::Stdin(Vec::new()))?;
        }
        let start = Instant::now();
        let mut last_sign = start;
        let mut failure = None;
        loop {
            let event = self.wait(input)?;
            if let Event::Frame(_) = event {
                last_sign = Instant::now();
            }
            let mut written = Ok(());
            match event {
                Event::Frame(Frame::Stdout(bytes)) => written = output.stdout(&bytes),
                Event::Frame(Frame::Stderr(bytes)) => written = output.stderr(&bytes),
                Event::Frame(Frame::Beat) | Event::Nothing => {}
                Event::Input(bytes) => {
                    if bytes.is_empty() {
                        input = Input::Empty;
                    }
                    self.send(&Frame::Stdin(bytes))?;
                }
                Event::Frame(Frame::Exited(status)) => {
                    return failure.map_or(Ok(ExitStatus::from_raw(status)), Err);
                }
                Event::Frame(Frame::Refused(why)) => {
                    let what = format!("cannot run {} in the outer machine", command.program());
                    return Err(Error::caused(ErrorKind::Refused, what, why));
                }
                Event::Frame(other) => return Err(unexpected(&other)),
            }
            if last_sign.elapsed() > stall_bound {
                return Err(silent(&command.program(), stall_bound));
            }
            if failure.is_none() {
                failure = must_end(command, written, start);
                if failure.is_some() {
                    self.send(&Frame::Kill)?;
                }
            }
        }
    }

    /// Waits a moment for a frame, or for input where it is asked for.
    fn wait(&mut self, input: Input) -> Result<Event> {
        if let Some(frame) = self.received()? {
            return Ok(Event::Frame(frame));
        }
        let stdin = std::io::stdin();
        let mut fds = vec![PollFd::new(&self.stream, PollFlags::IN)];
        if input == Input::Inherited {
            fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, Some(&TICK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(source) => return Err(broken(source)),
        }
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let (from_agent, from_us) = (ready(&fds[0]), fds.get(1).is_some_and(ready));
        if from_agent {
            self.fill()?;
            return Ok(self.received()?.map_or(Event::Nothing, Event::Frame));
        }
        if from_us {
            return read_input().map(Event::Input);
        }
        Ok(Event::Nothing)
    }
}

fn broken(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::caused(
        ErrorKind::Died,
        "the outer machine's line is broken",
        source,
    )
}

fn unexpected(frame: &Frame) -> Error {
    broken(format!("unexpected frame {frame:?}"))
}

fn silent(during: &str, bound: Duration) -> Error {
    let seconds = bound.as_secs();
    Error::new(
        ErrorKind::Stuck,
        format!("no sign of life for {seconds} s while {during}"),
    )
}

/// Why `command` must be killed, if it must.
fn must_end(command: &Command, written: std::io::Result<()>, start: Instant) -> Option<Error> {
    if let Err(source) = written {
        let what = format!("passing on the output of {}", command.program());
        return Some(Error::caused(ErrorKind::Stream, what, source));
    }
    let bound = command.timeout.filter(|bound| start.elapsed() > *bound)?;
    let what = format!(
        "{} ran for more than {} s",
        command.program(),
        bound.as_secs()
    );
    Some(Error::new(ErrorKind::TimedOut, what))
}

/// Reads our standard input without a buffer, which would hide input from
/// the next poll.
fn read_input() -> Result<Vec<u8>> {
    let mut bytes = vec![0; CHUNK];
    let count = rustix::io::read(rustix::stdio::stdin(), &mut bytes)
        .map_err(|source| Error::caused(ErrorKind::Stream, "reading standard input", source))?;
    bytes.truncate(count);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Captured;

    const BOUND: Duration = Duration::from_secs(30);

    /// Runs `true` over a line whose other side says `frames` and hangs up.
    fn run_against(frames: &[Frame], bound: Duration) -> (Result<ExitStatus>, Captured) {
        let (near, mut far) = UnixStream::pair().unwrap();
        for frame in frames {
            far.write_all(&frame.encode()).unwrap();
        }
        far.shutdown(std::net::Shutdown::Write).unwrap();
        let mut output = Captured::default();
        let result = Line::new(near).run(&Command::new("true"), &mut output, bound);
        (result, output)
    }

    #[test]
    fn output_and_status_come_through() {
        let frames = [
            Frame::Stdout(b"a".to_vec()),
            Frame::Beat,
            Frame::Stderr(b"b".to_vec()),
            Frame::Stdout(b"c".to_vec()),
            Frame::Exited(7 << 8),
        ];
        let (status, output) = run_against(&frames, BOUND);
        assert_eq!(status.unwrap().code(), Some(7));
        assert_eq!(
            (&output.stdout[..], &output.stderr[..]),
            (&b"ac"[..], &b"b"[..])
        );
    }

    #[test]
    fn a_missing_status_is_a_failure() {
        let (result, _) = run_against(&[Frame::Stdout(b"ok".to_vec())], BOUND);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Died);
    }

    #[test]
    fn a_refusal_says_why() {
        let (result, _) = run_against(&[Frame::Refused("no such file".to_owned())], BOUND);
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains("true"));
    }

    #[test]
    fn silence_is_a_stuck_machine() {
        let (near, _far) = UnixStream::pair().unwrap();
        let bound = Duration::from_millis(1);
        let result = Line::new(near).run(&Command::new("true"), &mut Captured::default(), bound);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Stuck);
    }

    #[test]
    fn output_that_cannot_be_written_ends_the_command() {
        struct Full;
        impl Output for Full {
            fn stdout(&mut self, _: &[u8]) -> std::io::Result<()> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
            fn stderr(&mut self, _: &[u8]) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(&Frame::Stdout(b"x".to_vec()).encode())
            .unwrap();
        let agent = std::thread::spawn(move || {
            let mut far = Line::new(far);
            loop {
                match far.received().unwrap() {
                    Some(Frame::Kill) => break far.send(&Frame::Exited(9)).unwrap(),
                    Some(_) => {}
                    None => far.fill().unwrap(),
                }
            }
        });
        let result = Line::new(near).run(&Command::new("true"), &mut Full, BOUND);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Stream);
        agent.join().unwrap();
    }
}
