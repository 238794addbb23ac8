#![allow(unsafe_code)] // madvise and mincore.
//! The host's pages behind guest memory: how they go back to the host, and
//! which of them are there.
//!
//! [`Ram`](super::Ram) asks on behalf of devices. What is given back reads as
//! zeroes and takes no host memory until it is written again.

use std::io;

use rustix::mm::{Advice, madvise};
use vm_memory::VolatileSlice;

/// Bytes in an ordinary page of the host, an x86_64.
const PAGE: usize = 4096;

/// Pages looked at in one system call; a byte is needed for each.
const PAGES_AT_ONCE: usize = 64 << 10;

/// What guest memory is made of on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPages {
    /// Bytes in a page, a power of two. Less than one cannot be given back.
    pub size: usize,
    /// Whether it is a shared mapping of a memory file, rather than private
    /// anonymous memory.
    pub shared: bool,
}

impl Default for HostPages {
    /// Private memory in ordinary pages.
    fn default() -> Self {
        Self {
            size: PAGE,
            shared: false,
        }
    }
}

impl HostPages {
    /// Gives the whole pages in `piece` back to the host, in one system call.
    /// Returns how many bytes that is.
    pub(super) fn discard(self, piece: &VolatileSlice<'_>) -> io::Result<u64> {
        let start = piece.ptr_guard_mut().as_ptr();
        let lead = start.addr().next_multiple_of(self.size) - start.addr();
        let len = piece.len().saturating_sub(lead) & !(self.size - 1);
        if len == 0 {
            return Ok(0);
        }
        // A shared page belongs to the file: it is the file that gets a hole.
        let advice = if self.shared {
            Advice::LinuxRemove
        } else {
            Advice::LinuxDontNeed
        };
        // SAFETY: the range lies in mapped guest memory, which is only read
        // and written volatile: that it turns into zeroes is like a write.
        unsafe { madvise(start.wrapping_add(lead).cast(), len, advice)? };
        Ok(len as u64)
    }
}

/// How many bytes of `piece`, whole pages, take host memory. Gives up, with
/// `Interrupted`, when `goes_on` says no, which it is asked now and then.
///
/// mincore(2) is asked about exactly these pages, where a figure from /proc
/// would be of the whole process, as text, out of a file to be opened.
pub(super) fn resident(piece: &VolatileSlice<'_>, goes_on: &impl Fn() -> bool) -> io::Result<u64> {
    let start = piece.ptr_guard_mut().as_ptr();
    let mut there = vec![0_u8; PAGES_AT_ONCE.min(piece.len().div_ceil(PAGE))];
    let mut pages = 0;
    for offset in (0..piece.len()).step_by(PAGES_AT_ONCE * PAGE) {
        if !goes_on() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = (piece.len() - offset).min(PAGES_AT_ONCE * PAGE);
        // SAFETY: the range is mapped, and `there` has a byte for each of its
        // pages.
        let failed = unsafe {
            let at = start.wrapping_add(offset).cast();
            libc::mincore(at, len, there.as_mut_ptr())
        };
        if failed != 0 {
            return Err(io::Error::last_os_error());
        }
        let looked_at = &there[..len.div_ceil(PAGE)];
        pages += looked_at.iter().filter(|page| **page & 1 != 0).count();
    }
    Ok((pages * PAGE) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{DiscardError, NotRam, Ram};
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use std::fs::File;
    use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};

    const PAGE: u64 = super::PAGE as u64;
    const SIZE: u64 = 64 * PAGE;
    /// The second region begins here, one page behind the first one's end.
    const SECOND: u64 = SIZE + PAGE;

    fn anonymous() -> Ram {
        let size = usize::try_from(SIZE).unwrap();
        let ranges = [(GuestAddress(0), size), (GuestAddress(SECOND), size)];
        Ram::new(GuestMemoryMmap::from_ranges(&ranges).unwrap())
    }

    fn shared() -> Ram {
        let file = File::from(memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
        ftruncate(&file, 2 * SIZE).unwrap();
        let range = |base, offset| {
            let file = FileOffset::new(file.try_clone().unwrap(), offset);
            (
                GuestAddress(base),
                usize::try_from(SIZE).unwrap(),
                Some(file),
            )
        };
        let ranges = [range(0, 0), range(SECOND, SIZE)];
        let pages = HostPages {
            shared: true,
            ..HostPages::default()
        };
        Ram::with_backing(
            GuestMemoryMmap::from_ranges_with_files(ranges).unwrap(),
            pages,
            (),
        )
    }

    fn fill(ram: &Ram) {
        let ones = vec![1; usize::try_from(SIZE).unwrap()];
        for base in [0, SECOND] {
            ram.write_slice(&ones, GuestAddress(base)).unwrap();
        }
    }

    /// The pages that are all zeroes, or all ones.
    fn is(ram: &Ram, page: u64, byte: u8) -> bool {
        let mut bytes = [!byte; 4096];
        ram.read_slice(&mut bytes, GuestAddress(page * PAGE))
            .unwrap();
        bytes == [byte; 4096]
    }

    #[test]
    fn nobody_counts_on_who_is_told_to_give_up() {
        let error = anonymous().resident_while(|| false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn what_is_given_back_is_zero_and_takes_no_memory() {
        for ram in [anonymous(), shared()] {
            assert_eq!(ram.resident().unwrap(), 0);
            fill(&ram);
            assert_eq!(ram.resident().unwrap(), 2 * SIZE);
            assert_eq!(ram.discard(PAGE..5 * PAGE).unwrap(), 4 * PAGE);
            assert_eq!(ram.resident().unwrap(), 2 * SIZE - 4 * PAGE);
            assert!(is(&ram, 0, 1) && is(&ram, 5, 1));
            assert!((1..5).all(|page| is(&ram, page, 0)));

            ram.write_obj(7_u8, GuestAddress(2 * PAGE)).unwrap();
            assert_eq!(ram.read_obj::<u8>(GuestAddress(2 * PAGE)).unwrap(), 7);
        }
    }

    #[test]
    fn less_than_a_page_stays() {
        for ram in [anonymous(), shared()] {
            fill(&ram);
            assert_eq!(ram.discard(1..2 * PAGE).unwrap(), PAGE);
            assert_eq!(ram.discard(3 * PAGE..4 * PAGE - 1).unwrap(), 0);
            assert_eq!(ram.discard(8 * PAGE..8 * PAGE).unwrap(), 0);
            assert!(is(&ram, 0, 1) && is(&ram, 1, 0) && is(&ram, 3, 1) && is(&ram, 8, 1));
        }
    }

    #[test]
    fn pages_within_a_larger_one_stay() {
        let size = usize::try_from(SIZE).unwrap();
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), size)]).unwrap();
        let pages = HostPages {
            size: 2 << 20,
            shared: false,
        };
        let ram = Ram::with_backing(memory, pages, ());
        ram.write_obj(7_u8, GuestAddress(0)).unwrap();
        assert_eq!(ram.discard(0..SIZE).unwrap(), 0);
        assert_eq!(ram.read_obj::<u8>(GuestAddress(0)).unwrap(), 7);
    }

    #[test]
    fn what_is_not_guest_memory_is_refused() {
        let ram = anonymous();
        fill(&ram);
        for range in [
            SIZE..SECOND,
            SIZE - PAGE..SECOND + PAGE,
            SECOND + SIZE - PAGE..SECOND + SIZE + PAGE,
            u64::MAX - PAGE..u64::MAX,
            0..u64::MAX,
        ] {
            let address = range.start;
            let error = ram.discard(range).unwrap_err();
            assert!(
                matches!(error, DiscardError::NotRam(NotRam { address: a, .. }) if a == address),
                "{error}"
            );
        }
    }
}
