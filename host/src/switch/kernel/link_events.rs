//! Being told when links of a namespace come, go or change (rtnetlink(7),
//! RTMGRP_LINK): that something did, not what.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::error::{KernelError, Refusal};
use super::namespace::Namespace;

/// The group of messages about links (`RTNLGRP_LINK`, linux/rtnetlink.h).
const GROUP: u32 = 1;

/// A socket that is readable when anything happened.
#[derive(Debug)]
pub struct LinkEvents(Socket);

impl LinkEvents {
    /// Listens in `namespace`.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub fn open(namespace: &Namespace) -> Result<Self, KernelError> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            socket.add_membership(GROUP)?;
            socket.set_non_blocking(true)?;
            Ok(socket)
        };
        let failed = |error| {
            let task = format!("{namespace}: changes of links cannot be watched");
            Refusal::from(error).at(task)
        };
        Ok(Self(namespace.within(open)?.map_err(failed)?))
    }

    /// Forgets what happened up to now.
    pub fn clear(&self) {
        let mut message = [0; 512];
        loop {
            match rustix::io::read(self.as_fd(), &mut message) {
                Ok(_) => {}
                // More happened than there was room for: that is told, too.
                Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for LinkEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
