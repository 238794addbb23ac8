//! A wrapper for disks that care where buffers lie (O_DIRECT).
//!
//! Guest buffers that are not aligned go through [aligned
//! memory](super::bounce) of the host: slower, never an error. Aligned buffers
//! pass through untouched.

use std::io;

use super::bounced_disk::{BouncedDisk, Passage};
use super::carrier::Carrier;
use super::disk::{Disk, DiskInfo, Operation};
use crate::virtio::buffers::{Buffers, TooShort};

/// Operations with unaligned buffers that go through at a time: drivers make
/// them seldom.
const PIECES: usize = 4;

/// A disk that takes buffers at any address.
///
/// # Errors
/// There is no address space for the memory.
pub(super) fn aligned_disk(inner: Box<dyn Disk>) -> io::Result<Box<dyn Disk>> {
    let carrier = Carrier::new(Alignment);
    Ok(Box::new(BouncedDisk::new(inner, carrier, PIECES)?))
}

/// The passage of bytes that lie in the wrong place.
struct Alignment;

impl Passage for Alignment {
    const UNIT: u64 = 1;

    /// Direct I/O can use buffers as they are if each begins aligned and holds
    /// whole blocks.
    fn takes(&self, operation: &Operation, disk: &DiskInfo) -> bool {
        let (Ok(alignment), Ok(block)) = (
            usize::try_from(disk.buffer_alignment),
            usize::try_from(disk.logical_block),
        ) else {
            return true;
        };
        !operation.data.iovecs().iter().all(|piece| {
            piece.iov_base.addr().is_multiple_of(alignment) && piece.iov_len.is_multiple_of(block)
        })
    }

    fn store(
        &mut self,
        _: u64,
        len: usize,
        guest: &mut Buffers,
        piece: &mut Buffers,
    ) -> Result<(), TooShort> {
        piece.fill_from(guest, len)
    }

    fn load(
        &mut self,
        _: u64,
        len: usize,
        piece: &mut Buffers,
        guest: &mut Buffers,
    ) -> Result<(), TooShort> {
        guest.fill_from(piece, len)
    }
}
