#![allow(unsafe_code)] // The kernel's tun interface is made of ioctls.
//! The calls of the kernel's tun driver (Documentation/networking/tuntap.rst,
//! linux/if_tun.h) that [`tap`](super::tap), [`tap_open`](super::tap_open) and
//! [`tap_create`](super::tap_create) need, one function each.

use std::ffi::{c_int, c_uint};
use std::os::fd::AsFd;

use rustix::io::Result;
use rustix::ioctl::{Getter, IntegerSetter, Opcode, Setter, Updater, ioctl, opcode};

const TUNSETIFF: Opcode = opcode::write::<c_int>(b'T', 202);
const TUNSETPERSIST: Opcode = opcode::write::<c_int>(b'T', 203);
const TUNSETOWNER: Opcode = opcode::write::<c_int>(b'T', 204);
const TUNSETOFFLOAD: Opcode = opcode::write::<c_uint>(b'T', 208);
const TUNGETIFF: Opcode = opcode::read::<c_uint>(b'T', 210);
const TUNSETQUEUE: Opcode = opcode::write::<c_int>(b'T', 217);
const TUNSETVNETHDRSZ: Opcode = opcode::write::<c_int>(b'T', 216);

/// The longest name of an interface (`IFNAMSIZ` less the closing zero).
pub(super) const MAX_NAME: usize = 15;

/// `struct ifreq` (netdevice(7)) as the tun driver uses it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Interface {
    name: [u8; MAX_NAME + 1],
    /// `IFF_*` of linux/if_tun.h.
    pub(super) flags: u16,
    unused: [u8; 22],
}

impl Interface {
    /// The interface called `name`, of which the first [`MAX_NAME`] bytes
    /// count.
    pub(super) fn new(name: &str, flags: u16) -> Self {
        let mut interface = Self {
            name: [0; MAX_NAME + 1],
            flags,
            unused: [0; 22],
        };
        let len = name.len().min(MAX_NAME);
        interface.name[..len].copy_from_slice(&name.as_bytes()[..len]);
        interface
    }

    pub(super) fn name(&self) -> String {
        let bytes = self.name.split(|byte| *byte == 0).next().unwrap_or(&[]);
        String::from_utf8_lossy(bytes).into_owned()
    }
}

/// The interface that `fd` is attached to.
pub(super) fn interface(fd: impl AsFd) -> Result<Interface> {
    // SAFETY: the call fills in a whole `struct ifreq`, of which any bytes are
    // a valid `Interface`.
    unsafe { ioctl(fd, Getter::<TUNGETIFF, Interface>::new()) }
}

/// Attaches `fd`, fresh from /dev/net/tun, to an interface.
pub(super) fn attach(fd: impl AsFd, interface: &mut Interface) -> Result<()> {
    // SAFETY: the call reads and fills in a whole `struct ifreq`.
    unsafe { ioctl(fd, Updater::<TUNSETIFF, Interface>::new(interface)) }
}

/// Has the interface of `fd` stay when nobody has it open.
pub(super) fn set_persistent(fd: impl AsFd) -> Result<()> {
    // SAFETY: the call takes an integer.
    unsafe { ioctl(fd, IntegerSetter::<TUNSETPERSIST>::new_usize(1)) }
}

/// Lets the user `owner` open the interface of `fd`.
pub(super) fn set_owner(fd: impl AsFd, owner: u32) -> Result<()> {
    let owner = usize::try_from(owner).expect("KVM hosts have 64 bits");
    // SAFETY: the call takes an integer.
    unsafe { ioctl(fd, IntegerSetter::<TUNSETOWNER>::new_usize(owner)) }
}

/// Detaches `fd` from its interface, of which it is one of several queues, or
/// attaches it again, by `IFF_DETACH_QUEUE` or `IFF_ATTACH_QUEUE`.
pub(super) fn set_queue(fd: impl AsFd, flag: u16) -> Result<()> {
    let interface = Interface::new("", flag);
    // SAFETY: the call reads a whole `struct ifreq`.
    unsafe { ioctl(fd, Setter::<TUNSETQUEUE, Interface>::new(interface)) }
}

/// Sets how many bytes of header each packet has in front.
pub(super) fn set_header_size(fd: impl AsFd, size: c_int) -> Result<()> {
    // SAFETY: the call reads an int.
    unsafe { ioctl(fd, Setter::<TUNSETVNETHDRSZ, c_int>::new(size)) }
}

/// Sets which offloads (`TUN_F_*`) packets that are read may make use of.
pub(super) fn set_offloads(fd: impl AsFd, flags: c_uint) -> Result<()> {
    let flags = usize::try_from(flags).expect("KVM hosts have 64 bits");
    // SAFETY: the call takes an integer.
    unsafe { ioctl(fd, IntegerSetter::<TUNSETOFFLOAD>::new_usize(flags)) }
}
