#![allow(unsafe_code)] // Signal masks and signalfd have no safe wrapper.
//! The signals that ask this process to end: SIGINT, SIGTERM and SIGHUP.
//!
//! They are blocked and read from a descriptor instead, so that no handler
//! runs and the machine ends in order: disks finish what is in flight, the
//! console its output, the terminal is restored.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use vmm_sys_util::signal::create_sigset;

/// The signals, by their names.
const SIGNALS: [(libc::c_int, &str); 3] = [
    (libc::SIGINT, "SIGINT"),
    (libc::SIGTERM, "SIGTERM"),
    (libc::SIGHUP, "SIGHUP"),
];

/// Where termination signals arrive.
#[derive(Debug)]
pub struct TerminationSignals(OwnedFd);

impl TerminationSignals {
    /// Blocks the signals in this thread and in those that it starts from now
    /// on: called before any is, or they would end the process there.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn block() -> io::Result<Self> {
        let set = create_sigset(&SIGNALS.map(|(signal, _)| signal))?;
        // SAFETY: `set` is initialised and lives through the call; nobody
        // wants the old mask.
        let error =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // SAFETY: `set` is initialised and lives through the call; -1 asks for
        // a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Waits for one of the signals and says its name.
    ///
    /// # Errors
    /// The descriptor cannot be read, which does not happen.
    pub fn wait(&self) -> io::Result<&'static str> {
        // struct signalfd_siginfo: 128 bytes that begin with the signal's
        // number (signalfd(2)).
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        loop {
            match rustix::io::read(&self.0, &mut info) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let [a, b, c, d, ..] = info;
        let number = i32::from_ne_bytes([a, b, c, d]);
        let known = SIGNALS.iter().find(|(signal, _)| *signal == number);
        Ok(known.map_or("a signal", |(_, name)| name))
    }
}

/// Readable when a signal has arrived.
impl AsFd for TerminationSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocked_signals_arrive_at_the_descriptor() {
        // In a thread of its own: the test harness's others keep theirs.
        let names = std::thread::spawn(|| {
            let signals = TerminationSignals::block().unwrap();
            [libc::SIGTERM, libc::SIGHUP, libc::SIGINT].map(|signal| {
                // SAFETY: sends this very thread a signal that it has blocked.
                let sent = unsafe { libc::pthread_kill(libc::pthread_self(), signal) };
                assert_eq!(sent, 0);
                signals.wait().unwrap()
            })
        });
        assert_eq!(names.join().unwrap(), ["SIGTERM", "SIGHUP", "SIGINT"]);
    }
}
