//! Guest memory as devices see it.
//!
//! There is one concrete type and nothing is generic over it. Devices reach
//! guest memory through [`crate::virtio::chain`] only; this file is where
//! guest physical addresses become host pointers.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// The guest's random-access memory. Clones are the same memory, which lives
/// as long as any of them: a request in flight keeps its buffers mapped.
#[derive(Clone)]
pub struct Ram(Arc<Shared>);

struct Shared {
    memory: GuestMemoryMmap<()>,
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

impl Ram {
    /// Wraps memory whose regions own their mappings.
    pub fn new(memory: GuestMemoryMmap<()>) -> Self {
        Self::with_backing(memory, ())
    }

    /// Wraps memory that stays mapped for as long as `backing` lives.
    pub fn with_backing(memory: GuestMemoryMmap<()>, backing: impl Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            memory,
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
