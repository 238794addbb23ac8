//! One boot: a monitor's process, watched through its console and its end.
#![allow(unsafe_code)] // pre_exec: the time of exec is taken in the child.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use benches::family;
use outer::child;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::{ClockId, clock_gettime};

/// Longer without a sign of life, in virtual time, and a guest hangs.
const PATIENCE: Timespec = Timespec {
    tv_sec: 300,
    tv_nsec: 0,
};

/// A running monitor, which is ended with what it has started where it is dropped, and
/// where the probe ends.
pub(crate) struct Boot {
    child: Child,
    ended: OwnedFd,
    /// Until its last writer is gone.
    console: Option<File>,
    printed: Vec<u8>,
    /// Virtual time at exec, in nanoseconds.
    start: u64,
}

impl Boot {
    /// Executes `argv` with its output in a pipe and no input.
    pub(crate) fn start(argv: &[String]) -> Result<Self> {
        let (program, arguments) = argv.split_first().context("an empty command")?;
        let (console, output) = pipe_with(PipeFlags::CLOEXEC)?;
        let (clock, tell) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let take_time = move || {
            rustix::io::write(&tell, &now().to_ne_bytes())?;
            Ok(())
        };
        child::ends_with_parent(&mut command);
        // SAFETY: the closure makes two system calls, both async-signal-safe,
        // and touches no memory that another thread could have changed.
        unsafe { command.pre_exec(take_time) };
        let child = command
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let mut start = [0; 8];
        File::from(clock).read_exact(&mut start)?;
        Ok(Self {
            ended: pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?,
            child,
            console: Some(File::from(console)),
            printed: Vec::new(),
            start: u64::from_ne_bytes(start),
        })
    }

    /// The process that was started.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Virtual time at exec, in nanoseconds.
    pub(crate) fn started_at(&self) -> u64 {
        self.start
    }

    /// Waits for the guest to print `line`; nanoseconds from exec.
    pub(crate) fn wait_for_line(&mut self, line: &str) -> Result<u64> {
        while self.console.is_some() {
            self.read()?;
            let elapsed = now() - self.start;
            if self.has_printed(line) {
                return Ok(elapsed);
            }
        }
        self.fail("the monitor ended early")
    }

    /// Waits for the process to end; nanoseconds from exec. Its guest must have
    /// printed `last_line`: one that crashes ends as well, and sooner.
    pub(crate) fn wait_for_end(mut self, last_line: &str) -> Result<u64> {
        while self.console.is_some() {
            self.read()?;
        }
        self.wait_until_readable(self.ended.as_fd())?;
        let elapsed = now() - self.start;
        let status = self.child.wait()?;
        eprintln!("the monitor ended, {status}; its console:");
        std::io::stderr().write_all(&self.printed)?;
        match self.has_printed(last_line) {
            true => Ok(elapsed),
            false => self.fail(&format!(
                "the monitor ended, {status}, without its guest's \"{last_line}\""
            )),
        }
    }

    fn has_printed(&self, line: &str) -> bool {
        let line = [line.as_bytes(), b"\r\n"].concat();
        self.printed.windows(line.len()).any(|found| found == line)
    }

    /// Lets the guest come to rest.
    pub(crate) fn settle(&mut self) -> Result<()> {
        std::thread::sleep(Duration::from_millis(500));
        self.still_runs()
    }

    /// Fails if it has ended.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => self.fail(&format!("the monitor has ended, {status}")),
        }
    }

    fn read(&mut self) -> Result<()> {
        let Some(console) = &self.console else {
            return Ok(());
        };
        self.wait_until_readable(console.as_fd())?;
        let mut bytes = [0; 4096];
        let mut reader = console;
        match reader.read(&mut bytes)? {
            0 => self.console = None,
            count => self.printed.extend(&bytes[..count]),
        }
        Ok(())
    }

    fn wait_until_readable(&self, fd: impl AsFd) -> Result<()> {
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        match poll(&mut fds, Some(&PATIENCE))? {
            0 => self.fail("the guest hangs"),
            _ => Ok(()),
        }
    }

    fn fail<T>(&self, what: &str) -> Result<T> {
        bail!(
            "{what}; its console:\n{}",
            String::from_utf8_lossy(&self.printed)
        )
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        // The number of one that was waited for may be somebody else's by now.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            family::kill(self.child.id());
            let _ = self.child.wait();
        }
    }
}

/// Time in nanoseconds, on the clock that traces use.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |n: i64| u64::try_from(n).expect("the clock started at zero");
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}
