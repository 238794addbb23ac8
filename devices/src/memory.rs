//! Guest memory as devices see it.
//!
//! There is one concrete type and nothing is generic over it. Devices reach
//! guest memory through [`crate::virtio::chain`] only; this file is where
//! guest physical addresses become host pointers. What is behind them, and how
//! it goes back to the host, are [`pages`].

pub mod pages;

use std::fmt;
use std::io;
use std::ops::{Deref, Range};
use std::sync::Arc;

use vm_memory::{
    GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, VolatileSlice,
};

use pages::HostPages;

/// The guest's random-access memory. Clones are the same memory, which lives
/// as long as any of them: a request in flight keeps its buffers mapped.
#[derive(Clone)]
pub struct Ram(Arc<Shared>);

struct Shared {
    memory: GuestMemoryMmap<()>,
    pages: HostPages,
    /// What keeps the memory mapped, where the regions do not do so
    /// themselves. Declared last: dropped last.
    _backing: Box<dyn Send + Sync>,
}

/// A range that is not guest memory.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("guest range {address:#x}+{len:#x} is not in guest memory")]
pub struct NotRam {
    /// First guest physical address of the range.
    pub address: u64,
    /// Length in bytes.
    pub len: u64,
}

/// Why guest memory did not go back to the host.
#[derive(Debug, thiserror::Error)]
pub enum DiscardError {
    /// It is none.
    #[error(transparent)]
    NotRam(#[from] NotRam),
    /// The host's kernel refused.
    #[error("the host did not take guest memory back: {0}")]
    Host(#[from] io::Error),
}

impl Ram {
    /// Wraps private, anonymous memory whose regions own their mappings.
    pub fn new(memory: GuestMemoryMmap<()>) -> Self {
        Self::with_backing(memory, HostPages::default(), ())
    }

    /// Wraps memory made of `pages` that stays mapped for as long as `backing`
    /// lives.
    pub fn with_backing(
        memory: GuestMemoryMmap<()>,
        pages: HostPages,
        backing: impl Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            memory,
            pages,
            _backing: Box::new(backing),
        }))
    }

    /// Calls `each` with the host address and length of every contiguous host
    /// piece of the guest range `address..address + len`, in order.
    ///
    /// # Errors
    /// Part of the range is not guest memory; `each` may have been called for
    /// the pieces before it.
    pub fn pieces(
        &self,
        address: u64,
        len: usize,
        mut each: impl FnMut(*mut u8, usize),
    ) -> Result<(), NotRam> {
        let refused = || NotRam {
            address,
            len: len as u64,
        };
        for slice in self.get_slices(GuestAddress(address), len) {
            let slice = slice.map_err(|_| refused())?;
            each(slice.ptr_guard_mut().as_ptr(), slice.len());
        }
        Ok(())
    }

    /// Gives the whole host pages in a range of guest memory back to the host:
    /// they read as zeroes and take no memory until they are written again.
    /// Returns how many bytes that were; less than a page at either end stays.
    ///
    /// # Errors
    /// Part of the range is not guest memory, or the host refuses; what is
    /// before that may have gone already.
    pub fn discard(&self, range: Range<u64>) -> Result<u64, DiscardError> {
        let len = range.end.saturating_sub(range.start);
        let refused = || NotRam {
            address: range.start,
            len,
        };
        let size = usize::try_from(len).map_err(|_| refused())?;
        let mut given = 0;
        for slice in self.get_slices(GuestAddress(range.start), size) {
            given += self.discard_piece(&slice.map_err(|_| refused())?)?;
        }
        Ok(given)
    }

    /// The same for a piece of it.
    pub(crate) fn discard_piece(&self, piece: &VolatileSlice<'_>) -> io::Result<u64> {
        self.0.pages.discard(piece)
    }

    /// How many bytes of it take host memory at the moment. Looks at every
    /// page, so it is for those who ask, not for every turn of something.
    ///
    /// # Errors
    /// The host's kernel does not tell.
    pub fn resident(&self) -> io::Result<u64> {
        self.resident_while(|| true)
    }

    /// The same, and gives up soon after `goes_on` says no.
    ///
    /// # Errors
    /// It was given up ([`Interrupted`](io::ErrorKind::Interrupted)), or the
    /// host's kernel does not tell.
    pub fn resident_while(&self, goes_on: impl Fn() -> bool) -> io::Result<u64> {
        let regions = self.iter().map(|region| {
            let whole = region.as_volatile_slice().map_err(io::Error::other)?;
            pages::resident(&whole, &goes_on)
        });
        regions.sum()
    }
}

impl Deref for Ram {
    type Target = GuestMemoryMmap<()>;

    fn deref(&self) -> &Self::Target {
        &self.0.memory
    }
}

impl fmt::Debug for Ram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ram").field(&self.0.memory).finish()
    }
}
