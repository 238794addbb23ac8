#![allow(unsafe_code)] // Lays files into guest memory and reads into it.
//! Performing a boot plan's segments: bytes go into guest memory once.
//!
//! Whole pages of a kernel or initrd are not copied at all where memory is
//! private and not allocated in advance: the file is laid into guest memory,
//! its pages are read when the guest touches them and copied when it writes.
//! So the time to the first guest instruction does not grow with the kernel,
//! and machines that boot the same kernel share what they do not change. The
//! file must not be written to meanwhile; replacing it, as package managers
//! do, is harmless. Everything else is read straight into place.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use boot::{Content, Segment};
use devices::memory::Ram;
use libc::off_t;
use vm_memory::{Bytes, GuestAddress};

use super::mapping::overlay;
use super::ram::{Backing, MemoryConfig};
use crate::error::{Error, Result};

const PAGE: u64 = 4096;

/// The files that a plan's segments are ranges of.
pub(crate) struct Files<'a> {
    pub(crate) kernel: &'a File,
    pub(crate) initrd: Option<&'a File>,
}

/// Fills fresh, zeroed `ram`, made by `memory`, with a plan's `segments`.
pub(crate) fn load(
    segments: &[Segment],
    files: &Files<'_>,
    ram: &Ram,
    memory: &MemoryConfig,
) -> Result<()> {
    // Pages of a file would take the place of those that were allocated.
    let overlaid = memory.backing == Backing::Anonymous && !memory.prefault;
    for segment in segments {
        let failed = |source| Error::Load {
            what: segment.name,
            source,
        };
        match &segment.content {
            Content::Kernel { offset, length } => {
                load_file(segment, files.kernel, *offset, *length, ram, overlaid)
                    .map_err(failed)?;
            }
            Content::Initrd { length } => {
                let initrd = files
                    .initrd
                    .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
                load_file(segment, initrd, 0, *length, ram, overlaid).map_err(failed)?;
            }
            Content::Bytes(bytes) => ram
                .write_slice(bytes, GuestAddress(segment.address))
                .map_err(|error| failed(io::Error::other(error)))?,
            Content::Zero => {}
        }
    }
    Ok(())
}

/// Puts `length` bytes of `file` from `offset` on at the segment's start.
fn load_file(
    segment: &Segment,
    file: &File,
    offset: u64,
    length: u64,
    ram: &Ram,
    overlaid: bool,
) -> io::Result<()> {
    check_length(file, offset, length)?;
    let mut done = 0;
    if overlaid && segment.address.is_multiple_of(PAGE) && offset.is_multiple_of(PAGE) {
        done = length - length % PAGE;
        each_piece(ram, segment.address, done, |at, len, from| {
            // SAFETY: the pieces are whole pages of guest memory, fresh and
            // not yet anybody's.
            unsafe { overlay(at, len, file, offset + from) }
        })?;
    }
    each_piece(
        ram,
        segment.address + done,
        length - done,
        |at, len, from| {
            // SAFETY: `at..at + len` is mapped guest memory.
            unsafe { read_exact_at(file, at, len, offset + done + from) }
        },
    )
}

/// Refuses a file that has become shorter than `offset + length` since the
/// boot was planned: mapping it succeeds, but touching what is not there ends
/// the process.
fn check_length(file: &File, offset: u64, length: u64) -> io::Result<()> {
    match offset.checked_add(length) {
        Some(end) if end <= file.metadata()?.len() => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file is being written to: it became shorter; start the machine again \
             when it is complete",
        )),
    }
}

/// Calls `each` with the host pieces of a guest range and their offsets in it.
fn each_piece(
    ram: &Ram,
    address: u64,
    len: u64,
    mut each: impl FnMut(*mut u8, usize, u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut result = Ok(());
    let mut from = 0;
    let size = usize::try_from(len).map_err(io::Error::other)?;
    ram.pieces(address, size, |at, len| {
        if result.is_ok() {
            result = each(at, len, from);
        }
        from += len as u64;
    })
    .map_err(io::Error::other)?;
    result
}

/// Reads exactly `len` bytes of `file` into memory at `at`.
///
/// # Safety
/// `at..at + len` is mapped and nobody holds references into it.
unsafe fn read_exact_at(file: &File, at: *mut u8, len: usize, offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < len {
        let position = off_t::try_from(offset + done as u64).map_err(io::Error::other)?;
        // SAFETY: by this function's contract, less what is done.
        let read =
            unsafe { libc::pread(file.as_raw_fd(), at.add(done).cast(), len - done, position) };
        match usize::try_from(read) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => done += read,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
