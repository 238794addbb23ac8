//! An interrupt line: an eventfd that the machine has wired to its interrupt
//! controller (with KVM: an irqfd).
//!
//! Devices hold it and pull it; they never learn who is at the other end.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// An edge-triggered interrupt line. Clones are the same line.
#[derive(Clone, Debug)]
pub struct InterruptLine(Arc<EventFd>);

impl InterruptLine {
    /// A new line that is wired to nothing yet.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map(|fd| Self(Arc::new(fd)))
    }

    /// Raises the interrupt. Never blocks: a full eventfd is a pending
    /// interrupt already.
    pub fn trigger(&self) {
        let _ = self.0.write(1);
    }

    /// How often the line was raised since the last call. For tests and for
    /// machines that poll; with an irqfd the kernel consumes the count.
    pub fn take(&self) -> u64 {
        self.0.read().unwrap_or(0)
    }

    /// The eventfd to wire to an interrupt controller.
    pub fn eventfd(&self) -> &EventFd {
        &self.0
    }
}

impl AsRawFd for InterruptLine {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
