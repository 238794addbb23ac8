#![allow(unsafe_code)]
//! Raw device registers, of both kinds that a PC has: memory windows through
//! /dev/mem, and I/O ports. Used by `garbage` alone. Unsafe because it is the
//! point: a write here may do anything to this guest.

use std::arch::asm;
use std::fs::OpenOptions;
use std::io;
use std::ops::RangeInclusive;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Access widths, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Width {
    One,
    Two,
    Four,
    Eight,
}

impl Width {
    pub(super) const ALL: [Self; 4] = [Self::One, Self::Two, Self::Four, Self::Eight];

    pub(super) fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

/// The smallest unit that can be mapped, in bytes.
const PAGE: u64 = 4096;

/// A mapped window of device memory.
pub(super) struct Window {
    /// What is mapped: whole pages.
    mapping: NonNull<u8>,
    mapped: usize,
    /// The window within: its start, and its length in bytes.
    offset: usize,
    length: usize,
}

impl Window {
    /// Maps physical addresses, which must begin and end on eight bytes. A
    /// kernel that guards driven devices allows it with `iomem=relaxed`.
    pub(super) fn map(range: &RangeInclusive<u64>) -> io::Result<Self> {
        let memory = OpenOptions::new().read(true).write(true).open("/dev/mem")?;
        let first = range.start() & !(PAGE - 1);
        let end = range.end() + 1;
        if !range.start().is_multiple_of(8) || !end.is_multiple_of(8) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let size = |bytes: u64| usize::try_from(bytes).map_err(io::Error::other);
        let mapped = size(end.next_multiple_of(PAGE) - first)?;
        // SAFETY: a new mapping, placed by the kernel, aliases nothing.
        let mapping = unsafe {
            mmap(
                std::ptr::null_mut(),
                mapped,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &memory,
                first,
            )?
        };
        Ok(Self {
            mapping: NonNull::new(mapping.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?,
            mapped,
            offset: size(range.start() - first)?,
            length: size(end - range.start())?,
        })
    }

    /// Writes the low bytes of a value; the offset is cut to the width.
    pub(super) fn write(&self, offset: usize, width: Width, value: u64) {
        let bytes = value.to_le_bytes();
        let at = self.at(offset - offset % width.bytes());
        // SAFETY: `at` is aligned to the width and the whole access in the
        // mapping, for the window begins and ends on the widest access.
        unsafe {
            match (width, bytes) {
                (Width::One, [a, ..]) => at.write_volatile(a),
                (Width::Two, [a, b, ..]) => {
                    at.cast::<u16>().write_volatile(u16::from_le_bytes([a, b]));
                }
                (Width::Four, [a, b, c, d, ..]) => at
                    .cast::<u32>()
                    .write_volatile(u32::from_le_bytes([a, b, c, d])),
                (Width::Eight, _) => at.cast::<u64>().write_volatile(value),
            }
        }
    }

    /// Reads a byte: the read itself is what matters.
    pub(super) fn read(&self, offset: usize) -> u8 {
        // SAFETY: in the mapping.
        unsafe { self.at(offset).read_volatile() }
    }

    fn at(&self, offset: usize) -> *mut u8 {
        let within = self.offset + offset % self.length;
        // SAFETY: window start plus less than its length is in the mapping.
        unsafe { self.mapping.as_ptr().add(within) }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own and ends with it.
        let _ = unsafe { munmap(self.mapping.as_ptr().cast(), self.mapped) };
    }
}

/// The right to use every I/O port, which this process has from now on.
pub(super) struct Ports(());

impl Ports {
    pub(super) fn open() -> io::Result<Self> {
        // SAFETY: changes only what this process may do.
        match unsafe { libc::iopl(3) } {
            0 => Ok(Self(())),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Writes the low bytes of a value; ports know no wider access than four.
    pub(super) fn write(&self, port: u16, width: Width, value: u64) {
        let [a, b, c, d, ..] = value.to_le_bytes();
        // SAFETY: `out` touches no memory; iopl, which made `self`, allows it.
        unsafe {
            match width {
                Width::One => asm!("out dx, al", in("dx") port, in("al") a),
                Width::Two => {
                    asm!("out dx, ax", in("dx") port, in("ax") u16::from_le_bytes([a, b]));
                }
                Width::Four | Width::Eight => {
                    asm!("out dx, eax", in("dx") port, in("eax") u32::from_le_bytes([a, b, c, d]));
                }
            }
        }
    }

    /// Reads a byte.
    pub(super) fn read(&self, port: u16) -> u8 {
        let value: u8;
        // SAFETY: as for `write`.
        unsafe { asm!("in al, dx", in("dx") port, out("al") value) };
        value
    }
}
