#![allow(unsafe_code)] // Hands guest memory to the kernel and writes to it.
//! Posted buffers: what the driver has given for packets to be received into
//! and no packet has used yet.
//!
//! The receive side keeps as many as the largest packet may need, as one list
//! of memory pieces that a single `readv` fills without a copy. Behind them
//! lies a spill, so that a packet is never cut off when the driver's buffers
//! run short: what lands there moves on into buffers that are posted later.
//!
//! Invariant: `iovecs` holds the pieces of the held buffers in order, all in
//! memory that `ram` keeps mapped, and then the spill.

use std::collections::VecDeque;
use std::ops::Range;

use libc::iovec;
use vm_memory::VolatileSlice;

use super::header::{LARGEST_PACKET, SIZE};
use crate::memory::Ram;
use crate::virtio::buffers::{Buffers, MAX_PIECES};

/// Posted buffers, in the order in which packets use them.
#[derive(Debug)]
pub struct Posted {
    /// Keeps the memory mapped that the pieces point into.
    _ram: Ram,
    held: VecDeque<Held>,
    iovecs: Vec<iovec>,
    /// Bytes in the held buffers.
    room: usize,
    spill: Box<[u8]>,
    /// The part of the spill that has to move on.
    spilled: Range<usize>,
}

// SAFETY: the pointers stand for ranges of `ram` and `spill`, which may be
// used from any thread.
unsafe impl Send for Posted {}

/// One buffer: a chain of descriptors.
#[derive(Clone, Copy, Debug)]
struct Held {
    head: u16,
    pieces: usize,
    len: usize,
}

/// Why a buffer was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Shorter than a header (§5.1.6.3.1), or in too many pieces.
    Unusable,
    /// Not before others are used.
    Full,
}

/// The spill takes one piece of a `readv`.
const MAX_HELD_PIECES: usize = MAX_PIECES - 1;

impl Posted {
    pub(super) fn new(ram: &Ram) -> Self {
        Self {
            _ram: ram.clone(),
            held: VecDeque::new(),
            iovecs: vec![iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: LARGEST_PACKET,
            }],
            room: 0,
            spill: vec![0; LARGEST_PACKET].into(),
            spilled: 0..0,
        }
    }

    /// How many buffers are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Bytes in the held buffers.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// Where to receive a packet, for a system call. The pointers stay valid
    /// for as long as this is borrowed; the guest sees at once what is written
    /// through them.
    pub fn iovecs(&mut self) -> &[iovec] {
        let last = self.iovecs.last_mut().expect("the spill is always there");
        last.iov_base = self.spill.as_mut_ptr().cast();
        &self.iovecs
    }

    /// Takes the buffer `head`, and moves into it what spilled.
    pub(super) fn add(&mut self, head: u16, buffer: &Buffers) -> Result<(), Refused> {
        let pieces = buffer.iovecs();
        let len = usize::try_from(buffer.len()).map_err(|_| Refused::Unusable)?;
        if len < SIZE || pieces.len() > MAX_HELD_PIECES {
            return Err(Refused::Unusable);
        }
        let end = self.iovecs.len() - 1;
        if end + pieces.len() > MAX_HELD_PIECES {
            return Err(Refused::Full);
        }
        self.iovecs.splice(end..end, pieces.iter().copied());
        self.held.push_back(Held {
            head,
            pieces: pieces.len(),
            len,
        });
        let at = self.room;
        self.room += len;
        self.move_spilled(at, len);
        Ok(())
    }

    fn move_spilled(&mut self, at: usize, len: usize) {
        let moving = self.spilled.len().min(len);
        let rest = self.spilled.start + moving;
        write(
            self.held_pieces(),
            at,
            &self.spill[self.spilled.start..rest],
        );
        self.spilled.start = rest;
    }

    /// A packet of `len` bytes was received into the pieces. Returns whether
    /// the held buffers hold it all.
    pub(super) fn received(&mut self, len: usize) -> bool {
        self.spilled = 0..len.saturating_sub(self.room).min(self.spill.len());
        self.spilled.is_empty()
    }

    /// Whether part of a packet still waits for buffers.
    pub(super) fn is_short(&self) -> bool {
        !self.spilled.is_empty()
    }

    /// Forgets the packet that waits for buffers.
    pub(super) fn forget_spilled(&mut self) {
        self.spilled = 0..0;
    }

    /// Puts a packet of these `parts` where it is to be received.
    pub(super) fn put(&mut self, parts: &[&[u8]]) {
        // The spill is where it is now.
        let _ = self.iovecs();
        let mut at = 0;
        for part in parts {
            write(&self.iovecs, at, part);
            at += part.len();
        }
    }

    /// What did not fit the held buffers.
    #[cfg(test)]
    pub(super) fn spilled(&self) -> &[u8] {
        &self.spill[self.spilled.clone()]
    }

    /// Overwrites the first bytes of the packet received last.
    pub(super) fn write(&mut self, at: usize, data: &[u8]) {
        write(self.held_pieces(), at, data);
    }

    fn held_pieces(&self) -> &[iovec] {
        &self.iovecs[..self.iovecs.len() - 1]
    }

    /// The buffers that a packet of `len` bytes uses, as pairs of head and
    /// bytes used.
    pub(super) fn used_by(&self, len: usize) -> impl Iterator<Item = (u16, u32)> {
        let mut left = len;
        self.held.iter().map_while(move |buffer| {
            let used = buffer.len.min(left);
            left -= used;
            let written = u32::try_from(used).expect("a packet is short");
            (used > 0).then_some((buffer.head, written))
        })
    }

    /// Removes the first `count` buffers, which a packet has used.
    pub(super) fn remove(&mut self, count: usize) {
        let removed = self.held.drain(..count);
        let (pieces, bytes) = removed.fold((0, 0), |(pieces, bytes), buffer| {
            (pieces + buffer.pieces, bytes + buffer.len)
        });
        self.iovecs.drain(..pieces);
        self.room -= bytes;
    }

    /// Lets go of all buffers. Returns how many there were.
    pub(super) fn release(&mut self) -> usize {
        let count = self.held.len();
        self.remove(count);
        self.forget_spilled();
        count
    }
}

/// Writes `data` over what is `at` bytes into the pieces, as far as they go.
fn write(pieces: &[iovec], mut at: usize, mut data: &[u8]) {
    for piece in pieces {
        if data.is_empty() {
            return;
        }
        if at >= piece.iov_len {
            at -= piece.iov_len;
            continue;
        }
        let (now, later) = data.split_at(data.len().min(piece.iov_len - at));
        // SAFETY: callers pass pieces of held buffers, whose memory stays
        // mapped, and `at..at + now.len()` lies within this one. The guest may
        // use it too, hence volatile.
        let slice = unsafe { VolatileSlice::new(piece.iov_base.cast::<u8>().add(at), now.len()) };
        slice.copy_from(now);
        (at, data) = (0, later);
    }
}
