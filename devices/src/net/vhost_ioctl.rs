#![allow(unsafe_code)] // The kernel's vhost interface is made of ioctls.
//! The calls of the kernel's vhost-net (linux/vhost.h, linux/vhost_types.h) that
//! [`vhost`](super::vhost) needs, one function each.
//!
//! The vhost crate has them, too, behind a type that opens the device by its path,
//! which this process cannot.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use rustix::io::Result;
use rustix::ioctl::{Getter, NoArg, Opcode, Setter, Updater, ioctl, opcode};

const GROUP: u8 = 0xaf;
const GET_FEATURES: Opcode = opcode::read::<u64>(GROUP, 0x00);
const SET_FEATURES: Opcode = opcode::write::<u64>(GROUP, 0x00);
const SET_OWNER: Opcode = opcode::none(GROUP, 0x01);
const RESET_OWNER: Opcode = opcode::none(GROUP, 0x02);
/// The number counts what is before the regions.
const SET_MEMORY: Opcode = opcode::write::<[u32; 2]>(GROUP, 0x03);
const SET_SIZE: Opcode = opcode::write::<RingNumber>(GROUP, 0x10);
const SET_RING: Opcode = opcode::write::<Ring>(GROUP, 0x11);
const SET_BASE: Opcode = opcode::write::<RingNumber>(GROUP, 0x12);
const GET_BASE: Opcode = opcode::read_write::<RingNumber>(GROUP, 0x12);
const SET_KICK: Opcode = opcode::write::<RingFile>(GROUP, 0x20);
const SET_CALL: Opcode = opcode::write::<RingFile>(GROUP, 0x21);
const SET_ERROR: Opcode = opcode::write::<RingFile>(GROUP, 0x22);
const SET_BACKEND: Opcode = opcode::write::<RingFile>(GROUP, 0x30);

/// Regions of memory at most; the kernel takes 64.
pub(super) const MAX_REGIONS: usize = 8;

/// A part of guest memory: `struct vhost_memory_region`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Region {
    /// Guest physical address.
    pub(super) guest: u64,
    /// Bytes.
    pub(super) len: u64,
    /// Where it is in this process.
    pub(super) host: u64,
    /// None are defined.
    pub(super) flags: u64,
}

/// `struct vhost_memory` with its regions, of which the first `count` are used.
#[repr(C)]
struct Memory {
    count: u32,
    padding: u32,
    regions: [Region; MAX_REGIONS],
}

/// `struct vhost_vring_addr`: where a ring is in this process.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Ring {
    pub(super) index: u32,
    pub(super) flags: u32,
    pub(super) descriptors: u64,
    pub(super) used: u64,
    pub(super) available: u64,
    /// Where what is written is logged, if flags say so.
    pub(super) log: u64,
}

/// `struct vhost_vring_state`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct RingNumber {
    index: u32,
    number: u32,
}

/// No descriptor.
pub(super) const NO_FILE: RawFd = -1;

/// `struct vhost_vring_file`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct RingFile {
    index: u32,
    file: i32,
}

/// The virtio features that it can do.
pub(super) fn features(vhost: impl AsFd) -> Result<u64> {
    // SAFETY: the call writes 64 bits, of which any are a number.
    unsafe { ioctl(vhost, Getter::<GET_FEATURES, u64>::new()) }
}

/// Sets those that it is to make use of.
pub(super) fn set_features(vhost: impl AsFd, features: u64) -> Result<()> {
    // SAFETY: the call reads 64 bits.
    unsafe { ioctl(vhost, Setter::<SET_FEATURES, u64>::new(features)) }
}

/// Makes this process the one whose memory it works on. Once, and first.
pub(super) fn set_owner(vhost: impl AsFd) -> Result<()> {
    // SAFETY: the call takes nothing.
    unsafe { ioctl(vhost, NoArg::<SET_OWNER>::new()) }
}

/// Ends that, and with it all that the kernel has of the process.
pub(super) fn reset_owner(vhost: impl AsFd) -> Result<()> {
    // SAFETY: the call takes nothing.
    unsafe { ioctl(vhost, NoArg::<RESET_OWNER>::new()) }
}

/// Says where guest memory is: `regions`, of which [`MAX_REGIONS`] count.
pub(super) fn set_memory(vhost: impl AsFd, regions: &[Region]) -> Result<()> {
    let mut memory = Memory {
        count: 0,
        padding: 0,
        regions: [Region::default(); MAX_REGIONS],
    };
    for (place, region) in memory.regions.iter_mut().zip(regions) {
        *place = *region;
        memory.count += 1;
    }
    // SAFETY: the call reads as many regions as the count says, which are there. The
    // kernel writes to them while a ring has a backend; so long `VhostTap` keeps a
    // handle of the memory, and takes the backends away when it is dropped.
    unsafe { ioctl(vhost, Setter::<SET_MEMORY, Memory>::new(memory)) }
}

/// Says how many entries ring `index` has.
pub(super) fn set_size(vhost: impl AsFd, index: u32, number: u32) -> Result<()> {
    // SAFETY: the call reads a whole `struct vhost_vring_state`.
    unsafe {
        ioctl(
            vhost,
            Setter::<SET_SIZE, _>::new(RingNumber { index, number }),
        )
    }
}

/// Says where a ring is. The kernel takes any address of this process.
pub(super) fn set_ring(vhost: impl AsFd, ring: Ring) -> Result<()> {
    // SAFETY: the call reads a whole `struct vhost_vring_addr`, of which `VhostTap` has
    // looked the addresses up in guest memory, which it keeps mapped.
    unsafe { ioctl(vhost, Setter::<SET_RING, Ring>::new(ring)) }
}

/// Says which available entry of ring `index` is the next.
pub(super) fn set_base(vhost: impl AsFd, index: u32, number: u32) -> Result<()> {
    // SAFETY: the call reads a whole `struct vhost_vring_state`.
    unsafe {
        ioctl(
            vhost,
            Setter::<SET_BASE, _>::new(RingNumber { index, number }),
        )
    }
}

/// Which available entry of ring `index` is the next.
pub(super) fn base(vhost: impl AsFd, index: u32) -> Result<u32> {
    let mut state = RingNumber { index, number: 0 };
    // SAFETY: the call reads and writes a whole `struct vhost_vring_state`.
    unsafe { ioctl(vhost, Updater::<GET_BASE, _>::new(&mut state)) }?;
    Ok(state.number)
}

/// Sets the eventfd by which the driver says that ring `index` has entries.
pub(super) fn set_kick(vhost: impl AsFd, index: u32, kick: RawFd) -> Result<()> {
    let file = RingFile { index, file: kick };
    // SAFETY: the call reads a whole `struct vhost_vring_file`.
    unsafe { ioctl(vhost, Setter::<SET_KICK, _>::new(file)) }
}

/// Sets the eventfd that is signalled where the driver wants an interrupt.
pub(super) fn set_call(vhost: impl AsFd, index: u32, call: RawFd) -> Result<()> {
    let file = RingFile { index, file: call };
    // SAFETY: as in `set_kick`.
    unsafe { ioctl(vhost, Setter::<SET_CALL, _>::new(file)) }
}

/// Sets the eventfd that is signalled when ring `index` makes no sense.
pub(super) fn set_error(vhost: impl AsFd, index: u32, error: RawFd) -> Result<()> {
    let file = RingFile { index, file: error };
    // SAFETY: as in `set_kick`.
    unsafe { ioctl(vhost, Setter::<SET_ERROR, _>::new(file)) }
}

/// Has ring `index` served by `backend`, a queue of a tap, or not any more.
pub(super) fn set_backend(
    vhost: impl AsFd,
    index: u32,
    backend: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let file = backend.map_or(NO_FILE, |backend| backend.as_raw_fd());
    let file = RingFile { index, file };
    // SAFETY: as in `set_kick`.
    unsafe { ioctl(vhost, Setter::<SET_BACKEND, _>::new(file)) }
}
