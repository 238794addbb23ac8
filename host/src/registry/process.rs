//! A machine's process, known by a descriptor: its number may belong to
//! another process by the time that somebody looks.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process that was the machine's when it was opened.
#[derive(Debug)]
pub struct Process(OwnedFd);

impl Process {
    /// Opens process `pid`. The caller makes sure afterwards that it is the
    /// right one.
    ///
    /// # Errors
    /// There is none, or no descriptor is left.
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self(pidfd_open(pid, PidfdFlags::empty())?))
    }

    /// Waits until the process has ended, and says whether it has.
    ///
    /// # Errors
    /// The kernel has no memory left.
    pub fn wait(&self, patience: Duration) -> io::Result<bool> {
        let patience = Timespec::try_from(patience).ok();
        let mut events = [PollFd::new(&self.0, PollFlags::IN)];
        Ok(retry_on_intr(|| poll(&mut events, patience.as_ref()))? > 0)
    }

    /// Asks the process to end (SIGTERM).
    ///
    /// # Errors
    /// It has ended, or belongs to somebody else.
    pub fn terminate(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.0, Signal::TERM)?)
    }

    /// Ends the process as it is, whatever it is doing (SIGKILL).
    ///
    /// # Errors
    /// It has ended, or belongs to somebody else.
    pub fn kill(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.0, Signal::KILL)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_waited_for_and_killed() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = Process::open(child.id()).unwrap();
        assert!(!process.wait(Duration::ZERO).unwrap());
        process.kill().unwrap();
        assert!(process.wait(Duration::from_secs(60)).unwrap());
        child.wait().unwrap();
        assert!(process.kill().is_err());
        assert!(Process::open(0).is_err());
    }
}
