//! A network without any privilege: passt (passt(1)), a process that speaks
//! Ethernet to the guest and uses ordinary sockets to the outside. It gives the
//! guest this host's address by DHCP, answers names, and ends with the machine.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Output, Stdio};

use network::publication::{Protocol, Publication};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::error::Error;
use crate::option::net::UserOption;
use crate::resolvers;

/// The program, of the distribution's package of the same name.
const PROGRAM: &str = "passt";

/// What it says of its log, if there is no daemon to take that.
const NOISE: &str = "Failed to send ";

/// Starts a network stack as asked, and returns the cable that leads to it.
///
/// # Errors
/// There is no passt, or it cannot start here, for a reason that it tells.
pub fn start(user: &UserOption) -> Result<OwnedFd, Error> {
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
        .args(user.published.iter().flat_map(published))
        .args(reach(user.host, resolvers::of_others()))
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

/// How passt is told what of the host the guest reaches: by itself it has the router
/// be the host's loopback interface, and name servers that are there behind it.
fn reach(host: bool, resolvers: Vec<IpAddr>) -> Vec<String> {
    let mut arguments = Vec::new();
    if !host {
        arguments.push("--no-map-gw".into());
        for resolver in resolvers {
            arguments.extend(["--dns".into(), resolver.to_string()]);
        }
    }
    arguments
}

/// How it is told of a port (passt(1), `--tcp-ports`).
fn published(publication: &Publication) -> [String; 2] {
    let option = match publication.protocol {
        Protocol::Tcp => "--tcp-ports",
        Protocol::Udp => "--udp-ports",
    };
    let Publication {
        host_port,
        guest_port,
        ..
    } = publication;
    let address = publication
        .host_address
        .map(|address| format!("{address}/"));
    let address = address.unwrap_or_default();
    [option.into(), format!("{address}{host_port}:{guest_port}")]
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
    fn ports_are_told_as_it_understands_them() {
        let told = |text: &str| published(&text.parse().unwrap()).join(" ");
        assert_eq!(told("8080:80"), "--tcp-ports 8080:80");
        assert_eq!(told("127.0.0.1:53:53/udp"), "--udp-ports 127.0.0.1/53:53");
    }

    #[test]
    fn the_host_itself_is_reached_if_asked_for() {
        let resolvers = || vec!["192.0.2.1".parse().unwrap()];
        let told = reach(false, resolvers()).join(" ");
        assert_eq!(told, "--no-map-gw --dns 192.0.2.1");
        assert!(reach(true, resolvers()).is_empty());
    }

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
