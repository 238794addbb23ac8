//! Starting a command: in a session of its own, with pipes or a terminal.
#![allow(unsafe_code)] // pre_exec: a session must be made between fork and exec.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use outer_agent::protocol::Run;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A started command and our ends of its streams.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stdin: Option<File>,
    pub(crate) stdout: Option<File>,
    /// None with a terminal, which has one stream for both.
    pub(crate) stderr: Option<File>,
}

/// Starts `run`.
pub(crate) fn spawn(run: &Run) -> io::Result<Running> {
    let text = |bytes: &Vec<u8>| OsStr::from_bytes(bytes).to_owned();
    let (program, args) = run
        .argv
        .split_first()
        .ok_or_else(|| io::Error::other("no command given"))?;
    let mut command = Command::new(text(program));
    command
        .args(args.iter().map(text))
        .current_dir(text(&run.cwd))
        .env_clear();
    for variable in &run.env {
        if let Some(at) = variable.iter().position(|byte| *byte == b'=') {
            let (name, value) = (&variable[..at], &variable[at + 1..]);
            command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
        }
    }
    match run.terminal {
        Some(size) => on_terminal(command, size),
        None => on_pipes(command),
    }
}

fn on_pipes(mut command: Command) -> io::Result<Running> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = in_new_session(command, false)?;
    fn file(stream: impl Into<OwnedFd>) -> File {
        File::from(stream.into())
    }
    Ok(Running {
        stdin: child.stdin.take().map(file),
        stdout: child.stdout.take().map(file),
        stderr: child.stderr.take().map(file),
        child,
    })
}

fn on_terminal(mut command: Command, (rows, columns): (u16, u16)) -> io::Result<Running> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&master, size)?;
    let name = ptsname(&master, Vec::new())?;
    let slave = OpenOptions::new()
        .read(true)
        .write(true)
        .open(OsStr::from_bytes(name.to_bytes()))?;
    command
        .stdin(slave.try_clone()?)
        .stdout(slave.try_clone()?)
        .stderr(slave);
    let master = File::from(master);
    Ok(Running {
        child: in_new_session(command, true)?,
        stdin: Some(master.try_clone()?),
        stdout: Some(master),
        stderr: None,
    })
}

/// The new session's process group is what `Kill`, and the end of the
/// command, take down as a whole. The command's copies of our pipe ends die
/// with `command` here; without that we would never see their end.
fn in_new_session(mut command: Command, terminal: bool) -> io::Result<Child> {
    let prepare = move || {
        rustix::process::setsid()?;
        if terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        Ok(())
    };
    // SAFETY: `prepare` makes two system calls, both async-signal-safe, and
    // touches no memory that another thread could have left half-changed.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}
