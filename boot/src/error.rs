//! Why no boot plan could be made. The one error type of this crate.
//!
//! Each message says what is wrong, with which value, and what to do about it;
//! the reader is the person who handed the kernel in.

use std::io;
use std::ops::Range;

use crate::layout::MIB;

/// Why a kernel, or the machine it should find, was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel image could not be read.
    #[error("cannot read the {what} of the kernel image")]
    Read {
        /// The part that was being read.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
    },

    /// The file is not a kernel in a format that can be booted.
    #[error(
        "the kernel image is {found}; give an uncompressed x86_64 ELF kernel (vmlinux) \
         or a bzImage (vmlinuz)"
    )]
    NotAKernel {
        /// What the file is instead, with its article.
        found: String,
    },

    /// The file ends before something its headers promise.
    #[error(
        "the kernel image is truncated: its {what} ends at byte {end}, but the file \
         has {size} bytes; copy or build it again"
    )]
    Truncated {
        /// The part that is cut off.
        what: &'static str,
        /// Where that part ends, in bytes from the start of the file.
        end: u64,
        /// Size of the file in bytes.
        size: u64,
    },

    /// The headers contradict themselves.
    #[error("the kernel image is malformed: {0}; copy or build it again")]
    Malformed(String),

    /// A kernel, but not one with the entry point that is needed.
    #[error("the kernel has no usable entry: {0}")]
    NoEntry(&'static str),

    /// Something must lie where the guest has no RAM.
    #[error(
        "the {what} needs guest memory {:#x}-{:#x}, but RAM for it is {:#x}-{:#x}{}",
        .needs.start, .needs.end, .ram.start, .ram.end, more_memory(.needs, .ram)
    )]
    OutsideRam {
        /// What does not fit.
        what: &'static str,
        /// The addresses it needs.
        needs: Range<u64>,
        /// The addresses it could have.
        ram: Range<u64>,
    },

    /// Two things claim the same guest memory.
    #[error(
        "the {first} at {:#x}-{:#x} and the {second} at {:#x}-{:#x} overlap in guest \
         memory; copy or build the kernel again",
        .first_at.start, .first_at.end, .second_at.start, .second_at.end
    )]
    Overlap {
        /// The lower one.
        first: &'static str,
        /// Where it lies.
        first_at: Range<u64>,
        /// The higher one.
        second: &'static str,
        /// Where it lies.
        second_at: Range<u64>,
    },

    /// The initrd has no room beside the kernel.
    #[error(
        "the initrd of {length} bytes finds no room below {limit:#x} beside the kernel; \
         give the guest more memory or a smaller initrd"
    )]
    InitrdDoesNotFit {
        /// Length of the initrd in bytes.
        length: u64,
        /// Highest address the kernel accepts, exclusive.
        limit: u64,
    },

    /// An initrd was given, but it is empty.
    #[error("the initrd is empty; give a cpio archive, or no initrd at all")]
    InitrdEmpty,

    /// The command line is longer than the kernel takes.
    #[error("the kernel command line has {length} bytes, the limit is {limit}; shorten it")]
    CommandLineTooLong {
        /// Length in bytes, without the terminating NUL.
        length: usize,
        /// Most that is allowed, without the terminating NUL.
        limit: usize,
    },

    /// The command line holds a character that cannot be part of it.
    #[error(
        "the kernel command line has {character:?} at byte {position}; only printable \
         ASCII and tabs are allowed"
    )]
    CommandLineCharacter {
        /// The first character that is not allowed.
        character: char,
        /// Its offset in bytes.
        position: usize,
    },

    /// The amount of memory cannot be given to a guest.
    #[error(
        "{bytes} bytes of guest memory is not possible; give a whole number of MiB \
         from {} MiB to {} MiB",
        crate::layout::MEMORY_MIN / MIB, crate::layout::MEMORY_MAX / MIB
    )]
    MemorySize {
        /// What was asked for.
        bytes: u64,
    },

    /// Memory cannot grow that far.
    #[error(
        "guest memory cannot grow from {bytes} to {most} bytes; give a maximum that is larger \
         by a multiple of {} MiB",
        crate::layout::GROWTH_STEP / MIB
    )]
    MemoryGrowth {
        /// What there is from the start.
        bytes: u64,
        /// What was asked for at the most.
        most: u64,
    },

    /// The number of vCPUs cannot be given to a guest.
    #[error("{count} vCPUs is not possible; give 1 to {}", crate::CpuCount::MAX)]
    CpuCount {
        /// What was asked for.
        count: u64,
    },

    /// A virtio-mmio device is where it cannot be.
    #[error("virtio-mmio device {index}: {reason}")]
    MmioDevice {
        /// Its position in [`Machine::virtio_mmio`](crate::Machine::virtio_mmio).
        index: usize,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// A text for the SMBIOS tables cannot be stored there.
    #[error(
        "{text:?} cannot be an SMBIOS text; give at most {} printable ASCII characters",
        crate::smbios::Text::MAX
    )]
    SmbiosText {
        /// The text, cut to its first characters.
        text: String,
    },
}

/// The remedy of [`Error::OutsideRam`], where more memory is one.
fn more_memory(needs: &Range<u64>, ram: &Range<u64>) -> String {
    if needs.start >= ram.start && needs.end <= crate::layout::LOW_RAM_LIMIT {
        format!(
            "; give the guest at least {} MiB of memory",
            needs.end.div_ceil(MIB)
        )
    } else {
        "; the kernel is linked for an address that no guest has".into()
    }
}
