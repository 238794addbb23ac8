#![allow(unsafe_code)] // Adopts inherited descriptors by number.
//! Descriptors that cross an `exec`: bequeathed by their number, and taken
//! over by it, each once.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_setfd};

use super::HandoverError;

/// Leaves a descriptor open across `exec`, and gives its number.
pub(super) fn bequeath(fd: impl Into<OwnedFd>) -> io::Result<RawFd> {
    let fd = fd.into();
    fcntl_setfd(&fd, FdFlags::empty())?;
    Ok(fd.into_raw_fd())
}

/// The descriptors that this process was started with; of these, which have
/// been taken over.
pub(super) struct Inheritance(BTreeSet<RawFd>);

impl Inheritance {
    /// All of them.
    ///
    /// # Safety
    /// Nothing else in this process owns any of them, other than the standard
    /// streams.
    pub(super) unsafe fn new() -> Self {
        Self(BTreeSet::new())
    }

    /// Takes over descriptor `number`.
    pub(super) fn adopt(&mut self, number: RawFd) -> Result<OwnedFd, HandoverError> {
        let refused = |reason| HandoverError::Descriptor { number, reason };
        if number < 0 {
            return Err(refused("it is not a descriptor's number"));
        }
        if number <= libc::STDERR_FILENO {
            return Err(refused("it is a standard stream"));
        }
        if !self.0.insert(number) {
            return Err(refused("it is named twice"));
        }
        // SAFETY: only a question; if nothing is open by this number, it says
        // so.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        fcntl_setfd(fd, FdFlags::CLOEXEC).map_err(|_| refused("it is not open"))?;
        // SAFETY: it is open, nobody else's by the contract of `new`, and was
        // not taken over before.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    }
}
