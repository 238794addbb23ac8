#![allow(unsafe_code)] // readv and writev on guest memory.
//! A descriptor that carries one packet with each read and write, as a tap or
//! a datagram socket does.
//!
//! The only place where packets meet the kernel. The descriptor does not
//! block, so the calls are never interrupted by a signal.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::posted::Posted;
use crate::virtio::buffers::Buffers;

/// A non-blocking descriptor for packets.
#[derive(Debug)]
pub struct PacketFd(OwnedFd);

impl PacketFd {
    /// Takes `fd` and makes it non-blocking.
    ///
    /// # Errors
    /// The descriptor cannot be made non-blocking.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self(fd))
    }

    /// Sends what is left in `packet` as one packet.
    ///
    /// # Errors
    /// The kernel did not take it.
    pub fn send(&self, packet: &Buffers) -> io::Result<()> {
        let pieces = packet.iovecs();
        // SAFETY: the pieces are guest memory that `packet` keeps mapped, and
        // the kernel only reads them.
        let sent = unsafe { libc::writev(self.0.as_raw_fd(), pieces.as_ptr(), count(pieces)) };
        length(sent).map(|_| ())
    }

    /// Receives one packet into `posted` and returns its length in bytes.
    ///
    /// # Errors
    /// There is none, or the other end is gone.
    pub fn receive(&self, posted: &mut Posted) -> io::Result<usize> {
        let pieces = posted.iovecs();
        // SAFETY: the pieces are memory that `posted` keeps and lends for
        // writing.
        let received = unsafe { libc::readv(self.0.as_raw_fd(), pieces.as_ptr(), count(pieces)) };
        match length(received)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            received => Ok(received),
        }
    }
}

impl AsFd for PacketFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn count(pieces: &[libc::iovec]) -> libc::c_int {
    libc::c_int::try_from(pieces.len()).expect("a list holds MAX_PIECES at most")
}

/// A system call's result: a negative one is an error in `errno`.
fn length(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
