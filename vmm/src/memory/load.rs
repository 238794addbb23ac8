#![allow(unsafe_code)] // Reads files into guest memory.
//! Performing a boot plan's segments: bytes go into guest memory once.
//!
//! Kernel and initrd are read straight into place. Mapping the files there
//! instead would start the guest sooner, but a kernel patches nearly all of
//! its text while it boots, and each page of a mapped file costs up to three
//! exits and a copy, where memory that was read is huge pages.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use boot::{BootPlan, Content, Segment};
use devices::memory::Ram;
use libc::off_t;
use vm_memory::{Bytes, GuestAddress};

use crate::error::{Error, Result};

/// The files that a plan's segments are ranges of.
pub(crate) struct Files<'a> {
    pub(crate) kernel: &'a File,
    pub(crate) initrd: Option<&'a File>,
}

/// Fills fresh, zeroed `ram` as `plan` says.
pub(crate) fn load(plan: &BootPlan, files: &Files<'_>, ram: &Ram) -> Result<()> {
    for segment in &plan.segments {
        let failed = |source| Error::Load {
            what: segment.name,
            source,
        };
        match &segment.content {
            Content::Kernel { offset, length } => {
                load_file(segment, files.kernel, *offset, *length, ram).map_err(failed)?;
            }
            Content::Initrd { length } => {
                let initrd = files
                    .initrd
                    .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
                load_file(segment, initrd, 0, *length, ram).map_err(failed)?;
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
) -> io::Result<()> {
    let mut result = Ok(());
    let mut from = offset;
    let size = usize::try_from(length).map_err(io::Error::other)?;
    ram.pieces(segment.address, size, |at, len| {
        if result.is_ok() {
            // SAFETY: `at..at + len` is mapped guest memory.
            result = unsafe { read_exact_at(file, at, len, from) };
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
