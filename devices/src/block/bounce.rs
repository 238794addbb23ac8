//! Memory of the host that operations go through piece by piece, where guest
//! buffers will not do. Bounded, aligned, and reused; it is touched, and so
//! taken, only when it is needed.

use std::io;

use vm_memory::{GuestAddress, GuestMemoryMmap};

use crate::memory::Ram;
use crate::virtio::buffers::Buffers;

/// Bytes in a piece: a multiple of every block size, and little enough that a
/// part of an operation does not keep the others waiting.
pub(super) const PIECE: usize = 256 << 10;

/// A piece of memory that begins at a page.
pub(super) struct Piece {
    address: u64,
    buffers: Buffers,
}

/// `count` pieces.
///
/// # Errors
/// There is no address space for them.
pub(super) fn pieces(count: usize) -> io::Result<Vec<Piece>> {
    let range = (GuestAddress(0), count * PIECE);
    let memory = GuestMemoryMmap::from_ranges(&[range]).map_err(io::Error::other)?;
    let memory = Ram::new(memory);
    let addresses = (0..).step_by(PIECE).take(count);
    let piece = |address| Piece {
        address,
        buffers: Buffers::new(memory.clone()),
    };
    Ok(addresses.map(piece).collect())
}

impl Piece {
    /// The first `len` bytes of the piece, as a fresh list.
    pub(super) fn refill(&mut self, len: usize) -> &mut Buffers {
        self.buffers.clear();
        let len = u32::try_from(len).expect("a piece is small");
        self.buffers
            .append(self.address, len)
            .expect("the piece lies in the memory that it was cut from");
        &mut self.buffers
    }

    /// The piece as a disk takes it, and what to know it by when it comes back.
    pub(super) fn into_parts(self) -> (u64, Buffers) {
        (self.address, self.buffers)
    }

    /// What [`into_parts`](Self::into_parts) gave.
    pub(super) fn from_parts(address: u64, buffers: Buffers) -> Self {
        Self { address, buffers }
    }
}
