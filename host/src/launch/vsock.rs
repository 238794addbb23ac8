//! The host's end of a guest's vsock: a Unix socket, made here.
//!
//! One that nobody listens on any more was left behind by a machine that was
//! killed, and is replaced; one in use is refused, and so is anything else.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use vmm::SocketStem;
use vmm::config::VsockConfig;

use crate::error::Error;
use crate::option::vsock::VsockOption;

/// Programs that may wait to be let in: as many as the kernel allows
/// (net.core.somaxconn).
const BACKLOG: i32 = i32::MAX;

/// Makes the socket, as the last thing before the machine starts.
///
/// # Errors
/// It cannot be made there, or another machine listens.
pub fn open(option: &VsockOption) -> Result<VsockConfig, Error> {
    let (directory, stem) = place(option)?;
    let address = address(option, &directory, &stem)?;
    clear(option, &directory, &stem, &address)?;
    let listener = listening(&address).map_err(|error| {
        refused(option, "cannot be made")
            .because(io::Error::from(error))
            .remedy("another socket=PATH, in a directory that may be written to")
    })?;
    Ok(VsockConfig {
        cid: option.cid,
        listener,
        directory: directory.into(),
        stem,
    })
}

/// Removes the socket, for a machine that does not start after all.
pub fn remove(config: &VsockConfig) {
    let _ = unlinkat(&config.directory, config.stem.as_str(), AtFlags::empty());
}

fn refused(option: &VsockOption, why: &str) -> Error {
    let path = option.socket.display();
    Error::configuration(format!("vsock socket '{path}' {why}"))
}

/// The directory, opened, and the name in it.
fn place(option: &VsockOption) -> Result<(File, SocketStem), Error> {
    let name = option.socket.file_name().and_then(|name| name.to_str());
    let stem = name
        .ok_or_else(|| refused(option, "has no name that can be read").remedy("another name"))?
        .parse::<SocketStem>()
        .map_err(|error| refused(option, "cannot be called so").because(error))?;
    let parent = option.socket.parent().unwrap_or(Path::new(""));
    let parent = match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    };
    let directory = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY)
        .open(parent)
        .map_err(|error| {
            refused(option, "has no directory to be in")
                .because(error)
                .remedy("making the directory, or another socket=PATH")
        })?;
    Ok((directory, stem))
}

/// The address by way of the directory's descriptor: however long the path is,
/// it fits.
fn address(
    option: &VsockOption,
    directory: &File,
    stem: &SocketStem,
) -> Result<SocketAddrUnix, Error> {
    let path = format!("/proc/self/fd/{}/{stem}", directory.as_raw_fd());
    SocketAddrUnix::new(path)
        .map_err(|error| refused(option, "cannot be named").because(io::Error::from(error)))
}

/// Sees to it that nothing is in the way.
fn clear(
    option: &VsockOption,
    directory: &File,
    stem: &SocketStem,
    address: &SocketAddrUnix,
) -> Result<(), Error> {
    let kind = match std::fs::symlink_metadata(&option.socket) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(option, "cannot be examined").because(error)),
    };
    if !kind.is_socket() {
        return Err(refused(option, "exists and is no socket").remedy("another socket=PATH"));
    }
    let probe = stream().and_then(|socket| connect(&socket, address));
    match probe {
        Err(Errno::CONNREFUSED) => {
            unlinkat(directory, stem.as_str(), AtFlags::empty()).map_err(|error| {
                refused(option, "is left over and cannot be removed")
                    .because(io::Error::from(error))
                    .remedy("removing it, or another socket=PATH")
            })
        }
        Err(error) if error != Errno::AGAIN => Err(refused(option, "cannot be probed")
            .because(io::Error::from(error))
            .remedy("another socket=PATH")),
        _ => Err(refused(option, "is in use")
            .remedy("ending the machine that uses it, or another socket=PATH")),
    }
}

fn stream() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn listening(address: &SocketAddrUnix) -> rustix::io::Result<OwnedFd> {
    let socket = stream()?;
    bind(&socket, address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::PathBuf;

    fn option(socket: PathBuf) -> VsockOption {
        VsockOption {
            cid: vmm::GuestCid::new(3).unwrap(),
            socket,
        }
    }

    fn refusal(socket: PathBuf) -> String {
        open(&option(socket)).unwrap_err().to_string()
    }

    #[test]
    fn a_socket_is_made_that_programs_can_connect_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vm.sock");
        let config = open(&option(path.clone())).unwrap();
        UnixStream::connect(&path).unwrap();
        assert_eq!(config.stem.as_str(), "vm.sock");
        assert!(refusal(path.clone()).contains("is in use"));
        remove(&config);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_machine_left_behind_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vm.sock");
        drop(UnixListener::bind(&path).unwrap());
        let _config = open(&option(path.clone())).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_long_path_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("d".repeat(200));
        std::fs::create_dir(&deep).unwrap();
        open(&option(deep.join("vm.sock"))).unwrap();
        assert!(deep.join("vm.sock").exists());
    }

    #[test]
    fn what_is_in_the_way_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("precious");
        std::fs::write(&file, "data").unwrap();
        assert!(refusal(file.clone()).contains("is no socket"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "data");
        assert!(refusal(directory.path().join("none/vm.sock")).contains("has no directory"));
        assert!(refusal(directory.path().join("x".repeat(80))).contains("cannot be called so"));
        assert!(refusal("/".into()).contains("no name"));
    }
}
