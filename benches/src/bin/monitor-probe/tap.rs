//! Opening a tap by its name, as who hands one to a monitor does.
#![allow(unsafe_code)] // An ioctl's argument is an untyped pointer.

use std::fs::File;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, ensure};
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

/// linux/if_tun.h: a C `int` is what it is said to take.
const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);
const IFF_TAP: u16 = 2;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;

/// `struct ifreq`, as long as the kernel reads it.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// Opens the tap called `name`, made with `vnet_hdr`.
pub(crate) fn open(name: &str) -> Result<OwnedFd> {
    let mut request = Request {
        name: [0; 16],
        flags: IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
        rest: [0; 22],
    };
    // A zero ends it.
    ensure!(name.len() < request.name.len(), "{name} is no tap's name");
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    let mut options = File::options();
    let file = options.read(true).write(true).open("/dev/net/tun");
    let file = file.context("opening /dev/net/tun")?;
    // SAFETY: TUNSETIFF reads and writes a struct ifreq of 40 bytes, which it gets.
    let attached = unsafe { ioctl(&file, Setter::<TUNSETIFF, _>::new(request)) };
    attached.with_context(|| format!("opening the tap {name}"))?;
    Ok(file.into())
}
