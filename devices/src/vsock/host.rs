//! The host's end of the device: a socket that host programs connect to, and
//! a directory with the sockets of services that the guest connects to.
//!
//! Both are open descriptors. The only name in here is that of a file in the
//! directory, and it cannot lead out of it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::str::FromStr;

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, connect, socket_with,
};

use super::socket::Socket;

/// How the machine's socket is called, to which `_` and a port are added to
/// get a service's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketStem(String);

/// A name that cannot be the beginning of a socket's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of a vsock socket's file has 1 to {} characters and no '/' among them",
    SocketStem::LONGEST
)]
pub struct NotASocketStem;

impl SocketStem {
    /// Bytes that a name may have: an address takes 107 (unix(7)), and a
    /// service's is `/proc/self/fd/DIRECTORY/STEM_PORT`, with ten digits for
    /// each number.
    pub const LONGEST: usize = 107 - "/proc/self/fd//_".len() - 2 * 10;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SocketStem {
    type Err = NotASocketStem;

    fn from_str(name: &str) -> Result<Self, NotASocketStem> {
        let fits = (1..=Self::LONGEST).contains(&name.len());
        if fits && !name.contains(['/', '\0']) {
            Ok(Self(name.to_owned()))
        } else {
            Err(NotASocketStem)
        }
    }
}

impl fmt::Display for SocketStem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The host's end. Dropping it removes the machine's socket from the
/// directory: nobody listens there any more.
#[derive(Debug)]
pub struct HostEnd {
    listener: OwnedFd,
    directory: OwnedFd,
    stem: SocketStem,
}

impl HostEnd {
    /// Programs connect to `listener`, a listening Unix stream socket;
    /// services are the sockets in `directory` whose names begin with `stem`.
    ///
    /// # Errors
    /// The listener cannot be made non-blocking.
    pub fn new(listener: OwnedFd, directory: OwnedFd, stem: SocketStem) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&listener, true)?;
        Ok(Self {
            listener,
            directory,
            stem,
        })
    }

    /// Takes the next program that wants to connect; none if none does.
    pub(super) fn accept(&self) -> io::Result<Option<Socket>> {
        match accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(socket) => Ok(Some(Socket::new(socket))),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Connects to the service at `port`. A Unix socket connects at once or
    /// not at all, so this does not wait.
    pub(super) fn connect(&self, port: u32) -> io::Result<Socket> {
        let directory = self.directory.as_raw_fd();
        let path = format!("/proc/self/fd/{directory}/{}_{port}", self.stem);
        let address = SocketAddrUnix::new(path)?;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &address)?;
        Ok(Socket::new(socket))
    }
}

impl Drop for HostEnd {
    fn drop(&mut self) {
        // It may be gone already, or this process not be allowed to.
        let _ = unlinkat(&self.directory, self.stem.as_str(), AtFlags::empty());
    }
}

impl AsFd for HostEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stem_is_a_short_file_name() {
        let longest = "x".repeat(SocketStem::LONGEST);
        assert!("vm.sock".parse::<SocketStem>().is_ok());
        assert!(longest.parse::<SocketStem>().is_ok());
        for name in ["", "a/b", "/", "a\0", &format!("{longest}x")] {
            assert_eq!(name.parse::<SocketStem>(), Err(NotASocketStem), "{name}");
        }
    }

    #[test]
    fn the_longest_address_of_all_fits() {
        let stem = "x".repeat(SocketStem::LONGEST);
        let path = format!("/proc/self/fd/{}/{stem}_{}", i32::MAX, u32::MAX);
        assert_eq!(path.len(), 107);
        assert!(SocketAddrUnix::new(path).is_ok());
    }
}
