//! A network without any privilege: passt (passt(1)), a process that speaks
//! Ethernet to the guest and uses ordinary sockets to the outside. It gives the
//! guest this host's address by DHCP, answers names, and ends with the machine.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Output, Stdio};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::error::Error;

/// The program, of the distribution's package of the same name.
const PROGRAM: &str = "passt";

/// What it says of its log, if there is no daemon to take that.
const NOISE: &str = "Failed to send ";

/// Starts a network stack, and returns the cable that leads to it.
///
/// # Errors
/// There is no passt, or it cannot start here, for a reason that it tells.
pub fn start() -> Result<OwnedFd, Error> {
    let cannot = |error: io::Error| {
        Error::host(format!("{PROGRAM} cannot be started for --net user")).because(error)
    };
    let (near, far) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|errno| cannot(errno.into()))?;
    fcntl_setfd(&far, FdFlags::empty()).map_err(|errno| cannot(errno.into()))?;
    // When it is ready it goes on in the background, and what was started ends.
    let started = Command::new(PROGRAM)
        .args(["--quiet", "--fd", &far.as_raw_fd().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    match started {
        Ok(output) if output.status.success() => Ok(near),
        Ok(output) => Err(refused(&output)),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::host(format!(
            "there is no program {PROGRAM}, which --net user takes"
        ))
        .remedy(format!("installing it: sudo apt install {PROGRAM}"))),
        Err(error) => Err(cannot(error)),
    }
}

fn refused(output: &Output) -> Error {
    let said = String::from_utf8_lossy(&output.stderr);
    let told = said.lines().filter(|line| !line.starts_with(NOISE));
    let why = told.map(str::trim).rfind(|line| !line.is_empty());
    let why = why.map_or_else(|| output.status.to_string(), String::from);
    Error::host(format!("{PROGRAM} cannot serve --net user here")).because(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    #[test]
    fn what_it_says_last_is_why() {
        let said = "Failed to send 47 bytes to syslog\nDon't run as root.\n\
                    External interface not usable\nFailed to send 9 bytes to syslog\n\n";
        let output = Output {
            status: ExitStatus::from_raw(1 << 8),
            stdout: Vec::new(),
            stderr: said.into(),
        };
        let report = refused(&output).report();
        assert!(report.contains("External interface not usable"), "{report}");
        let silent = Output {
            stderr: Vec::new(),
            ..output
        };
        assert!(refused(&silent).report().contains("exit status: 1"));
    }
}
