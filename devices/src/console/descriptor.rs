//! A host descriptor, used without ever blocking.
//!
//! The console's workers read and write through it. It polls before each
//! transfer instead of setting a flag that others share. That is enough for
//! reading and for writing to what does not block anyway; for the rest there
//! is [`may_block`].

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::Errno;

/// A polled pipe takes this much in one write without blocking (PIPE_BUF), a
/// polled socket much more.
pub(super) const TRANSFER: usize = 4096;

/// A descriptor of the host's.
#[derive(Debug)]
pub(super) struct Descriptor {
    fd: OwnedFd,
    waitable: bool,
}

impl Descriptor {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let waitable = is_waitable(&fd)?;
        Ok(Self { fd, waitable })
    }

    /// The descriptor to wait for; none if it is always ready, such as a
    /// regular file or /dev/null, which cannot be waited for.
    pub(super) fn to_wait_for(&self) -> Option<RawFd> {
        self.waitable.then(|| self.fd.as_raw_fd())
    }

    pub(super) fn is_terminal(&self) -> bool {
        rustix::termios::isatty(&self.fd)
    }

    /// Reads if there is something, or the end, to be read; `None` if not.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if !self.is_ready(PollFlags::IN, None)? {
            return Ok(None);
        }
        unless_blocked(rustix::io::read(&self.fd, buffer))
    }

    /// Writes the beginning of `bytes` if the descriptor takes something
    /// before `deadline`, or at once without one; `None` if not.
    pub(super) fn write(
        &self,
        bytes: &[u8],
        deadline: Option<Instant>,
    ) -> io::Result<Option<usize>> {
        if !self.is_ready(PollFlags::OUT, deadline)? {
            return Ok(None);
        }
        let bytes = &bytes[..bytes.len().min(TRANSFER)];
        unless_blocked(rustix::io::write(&self.fd, bytes))
    }

    /// Whether a transfer would not block: it may fail.
    fn is_ready(&self, what: PollFlags, deadline: Option<Instant>) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.fd, what)];
        loop {
            let left = deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now()))
                .unwrap_or_default();
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut fds, Some(&timeout)) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(ready) => return Ok(ready > 0),
            }
        }
    }
}

fn unless_blocked(result: Result<usize, Errno>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether writing to `fd` may wait for a reader: it is something that readers
/// empty, and not marked as non-blocking.
pub(super) fn may_block(fd: impl AsFd) -> io::Result<bool> {
    let marked = fcntl_getfl(&fd)?.contains(OFlags::NONBLOCK);
    Ok(!marked && is_waitable(fd)?)
}

/// Whether epoll takes the descriptor.
fn is_waitable(fd: impl AsFd) -> io::Result<bool> {
    let probe = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let data = epoll::EventData::new_u64(0);
    match epoll::add(&probe, fd, data, epoll::EventFlags::IN) {
        Ok(()) => Ok(true),
        Err(Errno::PERM) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{PipeReader, PipeWriter, Read, Write};

    fn pipe() -> (PipeReader, PipeWriter) {
        std::io::pipe().unwrap()
    }

    #[test]
    fn a_blocking_pipe_is_read_without_blocking() {
        let (reader, mut writer) = pipe();
        let descriptor = Descriptor::new(reader.into()).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(descriptor.read(&mut buffer).unwrap(), None);
        writer.write_all(b"abc").unwrap();
        assert_eq!(descriptor.read(&mut buffer).unwrap(), Some(3));
        drop(writer);
        assert_eq!(descriptor.read(&mut buffer).unwrap(), Some(0));
    }

    #[test]
    fn a_blocking_pipe_is_filled_without_blocking() {
        let (mut reader, writer) = pipe();
        let descriptor = Descriptor::new(writer.into()).unwrap();
        let bytes = [b'x'; 3 * TRANSFER];
        let mut total = 0;
        while let Some(count) = descriptor.write(&bytes, None).unwrap() {
            total += count;
        }
        drop(descriptor);
        let mut received = Vec::new();
        reader.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), total);
        assert!(total >= TRANSFER);
    }

    #[test]
    fn a_pipe_without_a_reader_is_an_error_and_not_a_wait() {
        let (reader, writer) = pipe();
        let descriptor = Descriptor::new(writer.into()).unwrap();
        drop(reader);
        let error = descriptor.write(b"x", None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_may_block_is_known() {
        assert!(!may_block(tempfile::tempfile().unwrap()).unwrap());
        assert!(!may_block(std::fs::File::open("/dev/null").unwrap()).unwrap());
        let (_reader, writer) = pipe();
        assert!(may_block(&writer).unwrap());
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        assert!(!may_block(&writer).unwrap());
    }

    #[test]
    fn a_file_is_not_waited_for_and_a_pipe_is() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Descriptor::new(file.into()).unwrap().to_wait_for(), None);
        let (reader, _writer) = pipe();
        let fd = reader.as_raw_fd();
        let descriptor = Descriptor::new(reader.into()).unwrap();
        assert_eq!(descriptor.to_wait_for(), Some(fd));
    }
}
