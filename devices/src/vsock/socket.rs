#![allow(unsafe_code)] // recvmsg and sendmsg on guest memory.
//! A host program's end of a connection: a Unix stream socket that does not
//! block.
//!
//! The only place where a guest's bytes meet the kernel. No call raises
//! SIGPIPE, and none is interrupted by a signal, since none waits.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use crate::virtio::buffers::Buffers;

/// The socket.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// A connected socket, opened as non-blocking.
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Sends what is left in `data`, or the beginning of it; says how much.
    pub(super) fn send_guest(&self, data: &Buffers) -> io::Result<usize> {
        let message = message(data.iovecs());
        // SAFETY: the message names guest memory that `data` keeps mapped and
        // the kernel only reads, and nothing else.
        let sent = unsafe { libc::sendmsg(self.0.as_raw_fd(), &message, libc::MSG_NOSIGNAL) };
        length(sent)
    }

    /// Receives into `room` and says how much; 0 is the end.
    pub(super) fn receive_guest(&self, room: &mut Buffers) -> io::Result<usize> {
        let mut message = message(room.iovecs());
        // SAFETY: the message names guest memory that `room` keeps mapped and
        // lends for writing, and nothing else.
        let received = unsafe { libc::recvmsg(self.0.as_raw_fd(), &mut message, 0) };
        length(received)
    }

    /// Sends the beginning of `bytes` and says how much.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    /// Looks at what can be received, without receiving it.
    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(&self.0, buffer, RecvFlags::PEEK)?.0)
    }

    /// Receives.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(&self.0, buffer, RecvFlags::empty())?.0)
    }

    /// Ends one direction. It may have ended already.
    pub(super) fn shut_down(&self, direction: Shutdown) {
        let _ = shutdown(&self.0, direction);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A message of `pieces` and nothing else.
fn message(pieces: &[libc::iovec]) -> libc::msghdr {
    // SAFETY: zeroes are a message without anything in it.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = pieces.as_ptr().cast_mut();
    message.msg_iovlen = pieces.len();
    message
}

/// A system call's result: a negative one is an error in `errno`.
fn length(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
