//! The host's end of a console, at work: one worker for each direction.
//! Dropping it writes what the guest has sent so far.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::buffer::ConsoleBuffer;
use super::input::ConsoleInput;
use super::line::Line;
use super::output::ConsoleOutput;
use crate::reactor::{Attached, ReactorError, ReactorHandle, Worker};

/// How long the last of the guest's output may take to be written.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// The host's descriptors of a console.
#[derive(Debug)]
pub struct ConsoleEnds {
    /// What the guest reads, if anything.
    pub input: Option<OwnedFd>,
    /// Where the guest's output goes.
    pub output: OwnedFd,
    /// Whether Ctrl-A in the input begins an escape sequence, as it must where
    /// there is no other way to end the machine.
    pub escapes: bool,
}

impl ConsoleEnds {
    /// A console for whoever holds its far end, such as the server of a
    /// control socket; and that far end.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn served() -> io::Result<(Self, OwnedFd)> {
        let (near, far) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        let console = Self {
            input: Some(near.try_clone()?),
            output: near,
            escapes: false,
        };
        Ok((console, far))
    }
}

/// Why a console has no host's end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsoleError {
    /// The process has no descriptor left.
    #[error("the console cannot be set up")]
    Os(#[from] io::Error),
    /// A worker cannot run.
    #[error("the console cannot be served")]
    Worker(#[from] ReactorError),
}

/// The workers.
pub struct ConsoleHost {
    output: Option<Attached<ConsoleOutput>>,
    input: Option<Attached<ConsoleInput>>,
}

impl ConsoleHost {
    /// Connects `ends` to a guest that writes into `buffer` and reads from
    /// `line`, on `reactor`. `quit` is called, and must not block, when the
    /// user ends the machine.
    ///
    /// # Errors
    /// The process has no descriptor left, or the reactor has ended.
    pub fn attach(
        ends: ConsoleEnds,
        buffer: &ConsoleBuffer,
        line: impl Line + 'static,
        quit: impl Fn() + Send + 'static,
        reactor: &ReactorHandle,
    ) -> Result<Self, ConsoleError> {
        let output = ConsoleOutput::new(buffer.clone(), ends.output)?;
        // From here on, a failure detaches what is attached.
        let mut host = Self {
            output: Some(attach(output, reactor)?),
            input: None,
        };
        if let Some(input) = ends.input {
            let input = ConsoleInput::new(input, line, buffer.clone(), quit, ends.escapes)?;
            host.input = Some(attach(input, reactor)?);
        }
        Ok(host)
    }
}

fn attach<W: Worker>(worker: W, reactor: &ReactorHandle) -> Result<Attached<W>, ReactorError> {
    reactor.attach(worker).map_err(|refused| refused.reason)
}

impl Drop for ConsoleHost {
    fn drop(&mut self) {
        // Input first: nobody is left to read it.
        if let Some(input) = self.input.take() {
            let _ = input.detach(Duration::ZERO);
        }
        if let Some(output) = self.output.take()
            && let Err(error) = output.detach(FLUSH_PATIENCE)
        {
            log::warn!("the end of the console's output is lost: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::Reactor;
    use crate::virtio_console::Keyboard;
    use rustix::event::epoll;
    use std::io::Read;

    /// A descriptor that no epoll set takes: sets nested as deep as may be.
    fn unwatchable() -> OwnedFd {
        let mut sets = Vec::new();
        let mut outer = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        for _ in 0..5 {
            let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
            let (data, flags) = (epoll::EventData::new_u64(0), epoll::EventFlags::IN);
            if epoll::add(&set, &outer, data, flags).is_err() {
                break;
            }
            sets.push(std::mem::replace(&mut outer, set));
        }
        // Closed, an inner set would leave the outer ones.
        std::mem::forget(sets);
        outer
    }

    #[test]
    fn a_console_that_cannot_be_connected_leaves_no_worker_behind() {
        let reactor = Reactor::spawn("test").unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let ends = ConsoleEnds {
            input: Some(unwatchable()),
            output: writer.into(),
            escapes: false,
        };
        let buffer = ConsoleBuffer::new().unwrap();
        let keyboard = Keyboard::new().unwrap();
        let host = ConsoleHost::attach(ends, &buffer, keyboard, || {}, &reactor.handle());
        assert!(host.is_err());
        // The end of the pipe: nobody holds its other end.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }
}
