#![allow(unsafe_code)] // Reads files into guest memory.
//! Performing a boot plan's segments: bytes go into guest memory once, read
//! straight into place.
//!
//! Mapping the files instead looks like less work and is not: a guest touches
//! most of its kernel, each of those 4 KiB pages then costs an exit and a page
//! fault, and two if it writes, where memory that was read into is huge pages.
//! It would also let whoever can shorten the file end this process with a
//! signal.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use boot::{Content, Segment};
use devices::memory::Ram;
use libc::off_t;
use vm_memory::{Bytes, GuestAddress};

use crate::error::{Error, Result};

/// The files that a plan's segments are ranges of.
pub(crate) struct Files<'a> {
    pub(crate) kernel: &'a File,
    pub(crate) initrd: Option<&'a File>,
}

/// Fills fresh, zeroed `ram` with a plan's `segments`.
pub(crate) fn load(segments: &[Segment], files: &Files<'_>, ram: &Ram) -> Result<()> {
    for segment in segments {
        let failed = |source| Error::Load {
            what: segment.name,
            source,
        };
        match &segment.content {
            Content::Kernel { offset, length } => {
                read(segment, files.kernel, *offset, *length, ram).map_err(failed)?;
            }
            Content::Initrd { length } => {
                let initrd = files
                    .initrd
                    .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
                read(segment, initrd, 0, *length, ram).map_err(failed)?;
            }
            Content::Bytes(bytes) => ram
                .write_slice(bytes, GuestAddress(segment.address))
                .map_err(|error| failed(io::Error::other(error)))?,
            Content::Zero => {}
        }
    }
    Ok(())
}

/// Reads `length` bytes of `file` from `offset` on to the segment's start.
fn read(segment: &Segment, file: &File, offset: u64, length: u64, ram: &Ram) -> io::Result<()> {
    each_piece(ram, segment.address, length, |at, len, from| {
        // SAFETY: `at..at + len` is mapped guest memory.
        unsafe { read_exact_at(file, at, len, offset + from) }
    })
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
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file is being written to: it became shorter; start the machine again \
                     when it is complete",
                ));
            }
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
