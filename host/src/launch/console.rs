//! The host's end of a guest's console.
//!
//! A slow reader must not block the VM process, so output wants a
//! non-blocking descriptor. That flag belongs to the open file description,
//! which this terminal or pipe shares with the user's shell and with whatever
//! else writes to it: setting it would make their writes fail, also after
//! this process has gone. Opening the same terminal or pipe once more gives a
//! description of our own. Where that cannot be (a socket, another user's
//! terminal) the inherited one serves, at the cost of a thread in the VM process.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use vmm::config::ConsoleConfig;

use crate::error::Error;
use crate::option::console::ConsoleEnd;

use super::outputs::Output;

/// An open console.
#[derive(Debug, Default)]
pub struct Opened {
    /// The machine's end, if the guest has a console.
    pub config: Option<ConsoleConfig>,
    /// The file that is going to be emptied for it, if it is one.
    pub file: Option<Output>,
    /// The far end, if it is the control socket that has it.
    pub far: Option<OwnedFd>,
}

/// Opens the console.
///
/// # Errors
/// The file cannot be written to.
pub fn open(end: &ConsoleEnd) -> Result<Opened, Error> {
    let unusable =
        |error| Error::unexpected("standard input and output cannot be used").because(error);
    match end {
        ConsoleEnd::None => Ok(Opened::default()),
        ConsoleEnd::Stdio => Ok(Opened {
            config: Some(stdio().map_err(unusable)?),
            ..Opened::default()
        }),
        ConsoleEnd::Socket => {
            let pair = ConsoleConfig::served();
            let (config, far) = pair.map_err(|error| {
                Error::unexpected("the console for the control socket").because(error)
            })?;
            Ok(Opened {
                config: Some(config),
                far: Some(far),
                ..Opened::default()
            })
        }
        ConsoleEnd::File(path) => {
            let (config, output) = file(path)?;
            Ok(Opened {
                config: Some(config),
                file: Some(output),
                ..Opened::default()
            })
        }
    }
}

fn stdio() -> io::Result<ConsoleConfig> {
    let output = match reopened(io::stdout().as_fd()) {
        Some(file) => file.into(),
        None => io::stdout().as_fd().try_clone_to_owned()?,
    };
    Ok(ConsoleConfig {
        input: Some(io::stdin().as_fd().try_clone_to_owned()?),
        output,
        escapes: true,
    })
}

/// The same terminal or pipe as `fd` by a description of its own that does
/// not block; none for anything else. (A regular file never blocks, and
/// opened again would be written from its start.)
fn reopened(fd: BorrowedFd<'_>) -> Option<File> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let kind = std::fs::metadata(&path).ok()?.file_type();
    if !kind.is_fifo() && !rustix::termios::isatty(fd) {
        return None;
    }
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .ok()
}

fn file(path: &Path) -> Result<(ConsoleConfig, Output), Error> {
    let refused = |error: io::Error| {
        Error::configuration(format!(
            "console file '{}' cannot be written to",
            path.display()
        ))
        .because(error)
        .remedy("another path with --console file=PATH")
    };
    let output = Output::open(path).map_err(refused)?;
    let config = ConsoleConfig {
        input: None,
        output: output.file().map_err(refused)?.into(),
        escapes: false,
    };
    Ok((config, output))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{OFlags, fcntl_getfl};

    #[test]
    fn a_pipe_is_reopened_without_touching_the_flags_of_the_first() {
        let (_reader, writer) = io::pipe().unwrap();
        let ours = reopened(writer.as_fd()).unwrap();
        assert!(fcntl_getfl(&ours).unwrap().contains(OFlags::NONBLOCK));
        assert!(!fcntl_getfl(&writer).unwrap().contains(OFlags::NONBLOCK));
    }

    #[test]
    fn a_regular_file_is_not_reopened() {
        let file = tempfile::tempfile().unwrap();
        assert!(reopened(file.as_fd()).is_none());
    }
}
