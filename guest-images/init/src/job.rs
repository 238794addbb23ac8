//! What init runs when there is no root disk: one command, or an interactive
//! shell. Process 1 inherits every orphan, so waiting here is waiting for
//! anything, until the job itself is done.

use std::io;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

use crate::console::terminal;

const BUSYBOX: &str = "/bin/busybox";
const PATH: &str = "/bin:/sbin:/usr/bin:/usr/sbin";

/// Runs a command line through the shell; its exit status, or 128 plus the
/// signal that ended it, as a shell would count.
pub(crate) fn run(command: &str) -> io::Result<i32> {
    finish(Command::new(BUSYBOX).args(["sh", "-c", command]))
}

/// Runs an interactive shell in a session of its own, with the console as
/// controlling terminal: job control and Ctrl-C work.
pub(crate) fn shell() -> io::Result<i32> {
    let terminal = terminal()?;
    finish(
        Command::new(BUSYBOX)
            .args(["setsid", "-c", "sh", "-l"])
            .stdin(terminal.try_clone()?)
            .stdout(terminal.try_clone()?)
            .stderr(terminal),
    )
}

fn finish(command: &mut Command) -> io::Result<i32> {
    let child = command
        .env("PATH", PATH)
        .env("HOME", "/")
        .env("TERM", "linux")
        .spawn()?;
    let job = Pid::from_child(&child);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == job => return Ok(exit_status(status)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn exit_status(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 128,
    }
}
