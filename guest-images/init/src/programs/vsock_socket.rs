#![allow(unsafe_code)]
//! Vsock sockets of this guest (vsock(7)), for `guest vsock`. Unsafe because
//! an address of this family is passed as an untyped pointer.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, OwnedFd};

use libc::{AF_VSOCK, VMADDR_CID_ANY, VMADDR_CID_HOST, sockaddr_vm, socklen_t};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// Connects to the host.
pub(super) fn connect(port: u32) -> io::Result<OwnedFd> {
    let socket = stream()?;
    let (address, len) = address(VMADDR_CID_HOST, port);
    // SAFETY: the address lives, and is as long as is said.
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), len) };
    done(result)?;
    Ok(socket)
}

/// Listens for whoever connects.
pub(super) fn listen(port: u32) -> io::Result<OwnedFd> {
    let socket = stream()?;
    let (address, len) = address(VMADDR_CID_ANY, port);
    // SAFETY: the address lives, and is as long as is said.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    done(result)?;
    rustix::net::listen(&socket, i32::MAX)?;
    Ok(socket)
}

fn stream() -> io::Result<OwnedFd> {
    let (family, flags) = (AddressFamily::VSOCK, SocketFlags::CLOEXEC);
    Ok(socket_with(family, SocketType::STREAM, flags, None)?)
}

fn address(cid: u32, port: u32) -> (sockaddr_vm, socklen_t) {
    // SAFETY: zeroes are an address.
    let mut address: sockaddr_vm = unsafe { zeroed() };
    address.svm_family = libc::sa_family_t::try_from(AF_VSOCK).expect("a small number");
    address.svm_cid = cid;
    address.svm_port = port;
    let len = socklen_t::try_from(size_of::<sockaddr_vm>()).expect("a small number");
    (address, len)
}

fn done(result: i32) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
