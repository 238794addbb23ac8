#![allow(unsafe_code)] // mmap and munmap.
//! A mapping: a range of this process's address space behind a range of guest
//! memory.
//!
//! It is aligned to a huge page, so that guest and host addresses agree in
//! their low bits and the kernel can back either by huge pages. It reserves no
//! swap: a guest's memory is what it touches.

use std::fs::File;
use std::io;
use std::ptr;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

/// What guest and host addresses are congruent to: the size of a huge page on
/// x86_64. 1 GiB pages need as much, see [`Mapping::new`].
const HUGE_PAGE: usize = 2 << 20;

/// What a mapping is of.
#[derive(Debug)]
pub(super) enum Source<'a> {
    /// Zeroes, private to this process.
    Anonymous,
    /// A file from the given offset on, shared.
    File(&'a File, u64),
    /// The same of a file of huge pages, which are set aside at once: without
    /// that, a host that runs out kills the process when the guest touches one.
    HugePages(&'a File, u64),
}

/// Mapped memory, readable and writable; unmapped when dropped.
#[derive(Debug)]
pub(super) struct Mapping {
    start: *mut u8,
    len: usize,
}

// SAFETY: the mapping is plain memory; all access to it is volatile.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `source`, a multiple of the page size, aligned to
    /// `alignment` (a huge page at least).
    pub(super) fn new(source: &Source<'_>, len: usize, alignment: usize) -> io::Result<Self> {
        let alignment = alignment.max(HUGE_PAGE);
        let reserved = len
            .checked_add(alignment)
            .ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        // SAFETY: the kernel chooses addresses that nothing else uses.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                reserved,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        }
        .cast::<u8>();
        // From here on, dropping unmaps what there is, whatever fails.
        let mut mapping = Self {
            start,
            len: reserved,
        };
        let lead = start.align_offset(alignment);
        // SAFETY: `lead` is less than the alignment, so that `len` bytes are
        // left after it. What is cut off belongs to nobody yet.
        unsafe {
            trim(start, lead)?;
            mapping.start = start.add(lead);
            mapping.len = reserved - lead;
            trim(mapping.start.add(len), mapping.len - len)?;
            mapping.len = len;
            mapping.place(0, len, source)?;
        }
        Ok(mapping)
    }

    /// First host address.
    pub(super) fn start(&self) -> *mut u8 {
        self.start
    }

    /// Puts `source` behind `len` bytes from `offset` on, over what was there.
    ///
    /// # Safety
    /// Nobody may rely on what was there. `offset` and `len` are multiples of
    /// the page size within the mapping.
    unsafe fn place(&self, offset: usize, len: usize, source: &Source<'_>) -> io::Result<()> {
        debug_assert!(offset.checked_add(len).is_some_and(|end| end <= self.len));
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::FIXED;
        let lazy = flags | MapFlags::NORESERVE;
        // SAFETY: the range is within the mapping, by this function's contract.
        unsafe {
            let at = self.start.add(offset).cast();
            match *source {
                Source::Anonymous => mmap_anonymous(at, len, prot, lazy | MapFlags::PRIVATE)?,
                Source::File(file, from) => {
                    mmap(at, len, prot, lazy | MapFlags::SHARED, file, from)?
                }
                Source::HugePages(file, from) => {
                    mmap(at, len, prot, flags | MapFlags::SHARED, file, from)?
                }
            };
        }
        Ok(())
    }

    /// Asks the kernel for transparent huge pages, or for none.
    pub(super) fn advise_huge_pages(&self, wanted: bool) -> io::Result<()> {
        let advice = if wanted {
            Advice::LinuxHugepage
        } else {
            Advice::LinuxNoHugepage
        };
        // SAFETY: the range is this mapping's own; the advice changes no data.
        unsafe { madvise(self.start.cast(), self.len, advice)? };
        Ok(())
    }

    /// Has the kernel allocate all of the mapping now.
    pub(super) fn prefault(&self) -> io::Result<()> {
        // SAFETY: as above. (rustix does not know this advice yet.)
        match unsafe { libc::madvise(self.start.cast(), self.len, libc::MADV_POPULATE_WRITE) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping's own, and whoever held pointers
        // into it held the mapping too.
        if let Err(error) = unsafe { munmap(self.start.cast(), self.len) } {
            log::error!("guest memory cannot be unmapped: {error}");
        }
    }
}

/// Unmaps what was reserved beyond need.
///
/// # Safety
/// The range was reserved and is used by nobody.
unsafe fn trim(start: *mut u8, len: usize) -> io::Result<()> {
    if len > 0 {
        // SAFETY: by this function's contract.
        unsafe { munmap(start.cast(), len)? };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    const LEN: usize = HUGE_PAGE;

    #[test]
    fn a_mapping_has_the_alignment_that_is_asked_for() {
        for alignment in [1, 4096, HUGE_PAGE, 1 << 30] {
            let mapping = Mapping::new(&Source::Anonymous, LEN, alignment).unwrap();
            let aligned = alignment.max(HUGE_PAGE);
            assert_eq!(mapping.start().addr() % aligned, 0);
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for len in [usize::MAX, usize::MAX - (1 << 30), 1 << 60] {
            assert!(Mapping::new(&Source::Anonymous, len, 1 << 30).is_err());
        }
    }

    #[test]
    fn a_shared_mapping_is_the_file_from_its_offset_on() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(2 * LEN as u64).unwrap();
        file.write_all_at(b"second", LEN as u64).unwrap();
        let mapping = Mapping::new(&Source::File(&file, LEN as u64), LEN, 1).unwrap();
        // SAFETY: the mapping is 2 MiB long and nobody else's.
        let bytes = unsafe { std::slice::from_raw_parts_mut(mapping.start(), LEN) };
        assert_eq!(&bytes[..6], b"second");
        bytes[..6].copy_from_slice(b"change");
        let mut seen = [0; 6];
        file.read_exact_at(&mut seen, LEN as u64).unwrap();
        assert_eq!(&seen, b"change");
    }
}
