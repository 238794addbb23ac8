//! A thread between the console's worker and a host descriptor that may block.
//!
//! To poll such a descriptor is not enough: a terminal says that it can be
//! written to when it has room for less than is written, and another process
//! may take the room of a pipe first. Whoever writes then waits for the
//! reader, for ever if it is stuck. This thread may; the worker, which shares
//! its own with others, writes to a socket that never blocks.
//!
//! It ends when the worker has hung up and all is written, or when the
//! descriptor's reader is gone. If its reader is stuck, it waits on after the
//! machine has gone, and holds nothing but the descriptor.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair, sockopt,
};

use super::descriptor::TRANSFER;
use crate::thread;

/// The thread's handle.
#[derive(Debug)]
pub(super) struct Relay {
    /// Hung up on when the thread has ended.
    ended: Receiver<Infallible>,
}

impl Relay {
    /// Starts a thread that writes to `host` what is written to the descriptor
    /// that comes back, which does not block and holds little.
    ///
    /// # Errors
    /// The process has no descriptor or no thread left.
    pub(super) fn start(host: OwnedFd) -> io::Result<(OwnedFd, Self)> {
        let (near, far) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::io::ioctl_fionbio(&near, true)?;
        // What waits is to wait in the console's buffer, which keeps the last.
        sockopt::set_socket_send_buffer_size(&near, TRANSFER)?;
        let (running, ended) = channel();
        thread::builder("console-output").spawn(move || {
            let _running: std::sync::mpsc::Sender<Infallible> = running;
            // Without a reader there is nothing to do, nor anybody to tell.
            let _ = pass_on(&far, &host);
        })?;
        Ok((near, Self { ended }))
    }

    /// Has the thread end once it has written what was written to `near`.
    /// Returns whether it has by `deadline`.
    pub(super) fn finish(self, near: impl AsFd, deadline: Instant) -> bool {
        let _ = shutdown(near, Shutdown::Write);
        let left = deadline.saturating_duration_since(Instant::now());
        self.ended.recv_timeout(left) == Err(RecvTimeoutError::Disconnected)
    }
}

/// Writes to `host` what comes from `far`, to its end.
fn pass_on(far: &OwnedFd, host: &OwnedFd) -> io::Result<()> {
    let mut buffer = [0; TRANSFER];
    loop {
        let len = retry_on_intr(|| read(far, &mut buffer))?;
        if len == 0 {
            return Ok(());
        }
        write_all(host, &buffer[..len])?;
    }
}

fn write_all(host: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match write(host, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Somebody who has it too has made it non-blocking since.
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::new(host, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn everything_is_passed_on_before_the_end() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (near, relay) = Relay::start(writer.into()).unwrap();
        write(&near, b"first").unwrap();
        let mut received = [0; 5];
        reader.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"first");
        write(&near, b"second").unwrap();
        assert!(relay.finish(&near, Instant::now() + PATIENCE));
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"second");
    }

    #[test]
    fn a_reader_that_takes_nothing_is_waited_for_as_long_as_one_likes() {
        let (_reader, writer) = io::pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(&writer, TRANSFER).unwrap();
        let (near, relay) = Relay::start(writer.into()).unwrap();
        // Twice what the pipe holds.
        for _ in 0..2 {
            poll(&mut [PollFd::new(&near, PollFlags::OUT)], None).unwrap();
            assert_eq!(write(&near, &[b'x'; TRANSFER]), Ok(TRANSFER));
        }
        assert!(!relay.finish(&near, Instant::now()));
    }

    #[test]
    fn a_reader_that_is_gone_ends_it() {
        let (reader, writer) = io::pipe().unwrap();
        let (near, relay) = Relay::start(writer.into()).unwrap();
        drop(reader);
        write(&near, b"x").unwrap();
        assert!(relay.finish(&near, Instant::now() + PATIENCE));
    }
}
