//! What a device has in place of a port that was taken away: what is sent is
//! lost and nothing arrives, as with a cable pulled.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

use super::offloads::Offloads;
use super::port::{Port, Sent};
use super::posted::Posted;
use crate::virtio::buffers::Buffers;

/// A port that is gone.
pub(super) struct SeveredPort {
    offloads: Offloads,
    /// Never signalled.
    silence: OwnedFd,
}

impl SeveredPort {
    /// In place of a port that could carry `offloads`.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub(super) fn new(offloads: Offloads) -> io::Result<Self> {
        Ok(Self {
            offloads,
            silence: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }
}

impl Port for SeveredPort {
    fn arrivals(&self) -> BorrowedFd<'_> {
        self.silence.as_fd()
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn set_offloads(&mut self, _: Offloads) -> io::Result<()> {
        Ok(())
    }

    fn send(&mut self, _: &Buffers) -> io::Result<Sent> {
        Err(io::Error::from_raw_os_error(libc::ENODEV))
    }

    fn receive(&mut self, _: &mut Posted) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}
