//! Carrying a running command's streams between it and the host, until it has
//! ended and everything it wrote has been sent.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use outer_agent::protocol::{CHUNK, Frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, waitpid,
};

use crate::port::Port;
use crate::spawn::Running;

/// More unread input than this, and we stop taking more from the host.
const MAX_PENDING_INPUT: usize = 1 << 20;

/// Serves `running` to its end; returns its status as of wait(2).
///
/// With `beat`, listens to the host and tells it that often that we live.
pub(crate) fn pump(
    mut running: Running,
    port: &mut Port,
    beat: Option<Duration>,
) -> io::Result<i32> {
    let group = Pid::from_child(&running.child);
    let ended = pidfd_open(group, PidfdFlags::empty())?;
    for stream in [&running.stdin, &running.stdout, &running.stderr]
        .into_iter()
        .flatten()
    {
        fcntl_setfl(stream, OFlags::NONBLOCK)?;
    }
    let mut input = Input::default();
    loop {
        let wait_for_host = beat.is_some() && input.pending.len() < MAX_PENDING_INPUT;
        let ready = wait(
            [
                Some(ended.as_fd()),
                wait_for_host.then(|| port.as_fd()),
                running.stdout.as_ref().map(AsFd::as_fd),
                running.stderr.as_ref().map(AsFd::as_fd),
            ],
            running.stdin.as_ref().filter(|_| !input.pending.is_empty()),
            beat,
        )?;
        let Some([has_ended, host, stdout, stderr]) = ready else {
            port.send(&Frame::Beat)?;
            continue;
        };
        if host && !port.fill()? {
            let _ = kill_process_group(group, Signal::KILL);
        }
        while let Some(frame) = port.received()? {
            match frame {
                Frame::Stdin(bytes) => input.push(&bytes),
                Frame::Kill => drop(kill_process_group(group, Signal::KILL)),
                other => return Err(io::Error::other(format!("unexpected frame {other:?}"))),
            }
        }
        input.feed(&mut running.stdin);
        if stdout {
            forward(&mut running.stdout, port, Frame::Stdout)?;
        }
        if stderr {
            forward(&mut running.stderr, port, Frame::Stderr)?;
        }
        if has_ended {
            break;
        }
    }
    // What it left running in its group would disturb the next command and
    // could hold its pipes open.
    let _ = kill_process_group(group, Signal::KILL);
    let status = running.child.wait()?;
    while forward(&mut running.stdout, port, Frame::Stdout)? {}
    while forward(&mut running.stderr, port, Frame::Stderr)? {}
    // As process 1 we inherit what commands orphan.
    while let Ok(Some(_)) = waitpid(None, WaitOptions::NOHANG) {}
    Ok(status.into_raw())
}

/// Which of `readers` can be read, or None when `timeout` passed.
fn wait<const N: usize>(
    readers: [Option<std::os::fd::BorrowedFd<'_>>; N],
    writer: Option<&File>,
    timeout: Option<Duration>,
) -> io::Result<Option<[bool; N]>> {
    let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(N + 1);
    for fd in readers.iter().flatten() {
        fds.push(PollFd::from_borrowed_fd(*fd, PollFlags::IN));
    }
    fds.extend(writer.map(|file| PollFd::new(file, PollFlags::OUT)));
    let timeout = timeout
        .map(Timespec::try_from)
        .transpose()
        .map_err(io::Error::other)?;
    match poll(&mut fds, timeout.as_ref()) {
        Ok(0) => return Ok(None),
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut polled = fds.iter();
    Ok(Some(readers.map(|reader| {
        reader.is_some() && polled.next().is_some_and(|fd| !fd.revents().is_empty())
    })))
}

/// Sends what can be read from `stream` now; false when there is nothing more
/// now or ever, in which case an ended stream is closed.
fn forward(
    stream: &mut Option<File>,
    port: &mut Port,
    frame: fn(Vec<u8>) -> Frame,
) -> io::Result<bool> {
    let Some(file) = stream else {
        return Ok(false);
    };
    let mut bytes = vec![0; CHUNK];
    match file.read(&mut bytes) {
        Ok(count) if count > 0 => {
            bytes.truncate(count);
            port.send(&frame(bytes))?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        // The end of a pipe; a terminal answers EIO when its last user left.
        Ok(_) | Err(_) => {
            *stream = None;
            Ok(false)
        }
    }
}

/// Input on its way to the command.
#[derive(Debug, Default)]
struct Input {
    pending: Vec<u8>,
    at_end: bool,
}

impl Input {
    fn push(&mut self, bytes: &[u8]) {
        self.at_end |= bytes.is_empty();
        self.pending.extend(bytes);
    }

    /// Writes what the command takes now; closes its input after the end, and
    /// when the command has closed it.
    fn feed(&mut self, stdin: &mut Option<File>) {
        let Some(file) = stdin else {
            self.pending.clear();
            return;
        };
        while !self.pending.is_empty() {
            match file.write(&self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    *stdin = None;
                    return;
                }
            }
        }
        if self.at_end {
            *stdin = None;
        }
    }
}
