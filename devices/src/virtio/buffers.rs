#![allow(unsafe_code)] // Copies to and from guest memory by host pointer.
//! A list of guest buffers, read or written as one stream.
//!
//! A [`Chain`](super::chain::Chain) has two: what the driver wrote for the
//! device and what the device may write. Devices consume them from the front
//! (headers), take the last byte (a block request's status) and hand what is
//! left to the kernel as an iovec. The list is reused from request to
//! request, so that the data path does not allocate.
//!
//! Invariant: every entry points into memory that `ram` keeps mapped. The
//! guest may change the bytes at any time, so each is read once, volatile.

use std::io;

use libc::iovec;
use vm_memory::VolatileSlice;

use crate::memory::{NotRam, Ram};

/// More pieces than this in one list make a chain oversized. It is what one
/// `readv` takes (`IOV_MAX`, `limits.h`).
pub const MAX_PIECES: usize = 1024;

/// Guest buffers, in order.
#[derive(Debug)]
pub struct Buffers {
    /// Keeps the memory mapped that the pieces point into.
    ram: Ram,
    pieces: Vec<iovec>,
    /// How many pieces at the front are consumed. They stay as they were.
    consumed: usize,
    /// Bytes of the next piece that are consumed, in front of what it says.
    passed: usize,
    /// Bytes in the pieces that are not consumed.
    len: u64,
}

// SAFETY: the pointers stand for ranges of `ram`, which may be used from any
// thread.
unsafe impl Send for Buffers {}

/// Fewer bytes are left than were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the buffers end too early")]
pub struct TooShort;

/// Why a piece cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    NotRam,
    TooMany,
}

impl Buffers {
    /// An empty list over `ram`.
    pub(crate) fn new(ram: Ram) -> Self {
        Self {
            ram,
            pieces: Vec::new(),
            consumed: 0,
            passed: 0,
            len: 0,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.consumed = 0;
        self.passed = 0;
        self.len = 0;
    }

    /// Moves the list out, leaving an empty one: for handing buffers to a
    /// backend that owns them until it is done, so that they cannot be
    /// refilled meanwhile.
    pub fn take(&mut self) -> Self {
        let empty = Self::new(self.ram.clone());
        std::mem::replace(self, empty)
    }

    /// Appends the guest range `address..address + len`, all of it or nothing.
    pub(crate) fn append(&mut self, address: u64, len: u32) -> Result<(), Refused> {
        if len == 0 {
            return Ok(());
        }
        // A u32 always fits a usize on the 64-bit targets that KVM has.
        let size = usize::try_from(len).map_err(|_| Refused::NotRam)?;
        let held = self.pieces.len();
        let pieces = &mut self.pieces;
        let found = self.ram.pieces(address, size, |start, len| {
            pieces.push(iovec {
                iov_base: start.cast(),
                iov_len: len,
            });
        });
        let appended = match found {
            Err(NotRam { .. }) => Err(Refused::NotRam),
            Ok(()) if pieces.len() > MAX_PIECES => Err(Refused::TooMany),
            Ok(()) => Ok(()),
        };
        match appended {
            Ok(()) => self.len += u64::from(len),
            Err(_) => self.pieces.truncate(held),
        }
        appended
    }

    /// Bytes left.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What is left, for a system call. The pointers stay valid as long as
    /// this list lives and is not refilled.
    pub fn iovecs(&self) -> &[iovec] {
        &self.pieces[self.consumed..]
    }

    /// Moves the next `data.len()` bytes out of guest memory into `data`.
    ///
    /// # Errors
    /// Fewer bytes are left; nothing is consumed.
    pub fn read(&mut self, data: &mut [u8]) -> Result<(), TooShort> {
        self.consume(data.len(), |piece, at| {
            piece.copy_to(&mut data[at..at + piece.len()]);
        })
    }

    /// Copies what is left but for its first `skipped` bytes to the end of `bytes`.
    /// Nothing is consumed.
    pub(crate) fn append_to(&self, bytes: &mut Vec<u8>, mut skipped: usize) {
        for piece in self.iovecs() {
            let skips = skipped.min(piece.iov_len);
            skipped -= skips;
            let (start, len) = (bytes.len(), piece.iov_len - skips);
            bytes.resize(start + len, 0);
            // SAFETY: the piece is memory that `ram` keeps mapped for longer than
            // the slice lives, and no more than its length is passed over.
            let slice = unsafe { VolatileSlice::new(piece.iov_base.cast::<u8>().add(skips), len) };
            slice.copy_to(&mut bytes[start..]);
        }
    }

    /// Moves `data` into the next bytes of guest memory.
    ///
    /// # Errors
    /// Fewer bytes are left; nothing is consumed.
    pub fn write(&mut self, data: &[u8]) -> Result<(), TooShort> {
        self.consume(data.len(), |piece, at| {
            piece.copy_from(&data[at..at + piece.len()]);
        })
    }

    /// Moves the next `count` bytes of `source` into the next bytes of this
    /// list.
    ///
    /// # Errors
    /// Either has fewer bytes left; nothing is consumed.
    pub fn fill_from(&mut self, source: &mut Self, count: usize) -> Result<(), TooShort> {
        if source.len < count as u64 {
            return Err(TooShort);
        }
        self.consume(count, |to, _| {
            let copy = |from: &VolatileSlice<'_>, at| {
                let to = to.offset(at).expect("at lies within the piece");
                from.copy_to_volatile_slice(to);
            };
            let consumed = source.consume(to.len(), copy);
            consumed.expect("the source has at least count bytes");
        })
    }

    /// Moves the next `count` bytes of room into `front`, which holds them
    /// alone then: for a header that is known only when what follows it is.
    ///
    /// # Errors
    /// Fewer bytes are left; nothing is consumed.
    pub(crate) fn move_front(&mut self, count: usize, front: &mut Self) -> Result<(), TooShort> {
        front.clear();
        let pieces = &mut front.pieces;
        self.consume(count, |piece, _| {
            pieces.push(iovec {
                iov_base: piece.ptr_guard_mut().as_ptr().cast(),
                iov_len: piece.len(),
            });
        })?;
        front.len = count as u64;
        Ok(())
    }

    /// Splits the next `count` bytes off, as a list of their own; that of all
    /// there are without allocating.
    ///
    /// # Errors
    /// Fewer bytes are left; nothing is consumed.
    pub(crate) fn split_front(&mut self, count: usize) -> Result<Self, TooShort> {
        if self.len == count as u64 {
            return Ok(self.take());
        }
        let mut front = Self::new(self.ram.clone());
        self.move_front(count, &mut front)?;
        Ok(front)
    }

    /// Passes over the next `count` bytes.
    ///
    /// # Errors
    /// Fewer bytes are left; nothing is consumed.
    pub fn skip(&mut self, count: usize) -> Result<(), TooShort> {
        self.consume(count, |_, _| {})
    }

    /// Takes the last `count` bytes that were consumed back, to be consumed
    /// again: for what failed and is tried another time.
    ///
    /// # Panics
    /// So many were not consumed.
    pub(crate) fn rewind(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            if self.passed == 0 {
                self.consumed -= 1;
                let piece = &mut self.pieces[self.consumed];
                self.passed = std::mem::take(&mut piece.iov_len);
                piece.iov_base = piece.iov_base.wrapping_byte_add(self.passed);
            }
            let back = self.passed.min(left);
            let piece = &mut self.pieces[self.consumed];
            piece.iov_base = piece.iov_base.wrapping_byte_sub(back);
            piece.iov_len += back;
            self.passed -= back;
            left -= back;
        }
        self.len += count as u64;
    }

    /// Fills the next `count` bytes of guest memory with zeroes.
    ///
    /// # Errors
    /// Fewer bytes are left; nothing is consumed.
    pub fn write_zeroes(&mut self, count: usize) -> Result<(), TooShort> {
        const ZEROES: [u8; 4096] = [0; 4096];
        self.consume(count, |piece, _| {
            let mut at = 0;
            while at < piece.len() {
                let rest = piece.offset(at).expect("at lies within the piece");
                at += rest.copy_from_zeroes(&ZEROES);
            }
        })
    }

    /// Gives the whole host pages in what is left back to the host, and
    /// consumes it: what the driver reported free. One system call for each
    /// piece. Returns how many bytes went.
    ///
    /// # Errors
    /// The host refuses.
    pub fn discard(&mut self) -> io::Result<u64> {
        let ram = self.ram.clone();
        let mut given = Ok(0);
        let count = usize::try_from(self.len).expect("guest memory fits the address space");
        let consumed = self.consume(count, |piece, _| {
            if let Ok(bytes) = &mut given {
                match ram.discard_piece(piece) {
                    Ok(more) => *bytes += more,
                    Err(error) => given = Err(error),
                }
            }
        });
        consumed.expect("no more is consumed than there is");
        given
    }

    /// Takes the last byte off the list, leaving what is before it.
    ///
    /// # Errors
    /// Nothing is left.
    pub fn take_last_byte(&mut self) -> Result<GuestByte, TooShort> {
        let last = self.pieces[self.consumed..].last_mut().ok_or(TooShort)?;
        last.iov_len -= 1;
        // SAFETY: the piece had at least one byte, at base + old length - 1.
        let address = unsafe { last.iov_base.cast::<u8>().add(last.iov_len) };
        if last.iov_len == 0 {
            self.drop_last();
        }
        self.len -= 1;
        Ok(GuestByte {
            _ram: self.ram.clone(),
            address,
        })
    }

    /// Drops what is beyond the next `len` bytes.
    pub fn truncate(&mut self, len: u64) {
        let mut excess = self.len.saturating_sub(len);
        self.len -= excess;
        while excess > 0 {
            let last = self
                .pieces
                .last_mut()
                .expect("pieces hold at least the excess");
            let held = last.iov_len as u64;
            if held > excess {
                last.iov_len = usize::try_from(held - excess).expect("shorter than the piece");
                return;
            }
            excess -= held;
            self.drop_last();
        }
    }

    fn drop_last(&mut self) {
        self.pieces.pop();
        if self.consumed == self.pieces.len() {
            self.passed = 0;
        }
    }

    /// Calls `each` with every piece of the next `count` bytes and its offset
    /// among them, and consumes them.
    fn consume(
        &mut self,
        count: usize,
        mut each: impl FnMut(&VolatileSlice<'_>, usize),
    ) -> Result<(), TooShort> {
        if self.len < count as u64 {
            return Err(TooShort);
        }
        let mut done = 0;
        while done < count {
            let piece = &mut self.pieces[self.consumed];
            let take = piece.iov_len.min(count - done);
            // SAFETY: the piece is `take` bytes or more of memory that `ram`
            // keeps mapped for longer than the slice lives.
            let slice = unsafe { VolatileSlice::new(piece.iov_base.cast(), take) };
            each(&slice, done);
            done += take;
            piece.iov_len -= take;
            // SAFETY: at most one past the end of the piece.
            piece.iov_base = unsafe { piece.iov_base.cast::<u8>().add(take) }.cast();
            self.passed += take;
            if piece.iov_len == 0 {
                // As it was, for `rewind`.
                piece.iov_len = std::mem::take(&mut self.passed);
                piece.iov_base = piece.iov_base.wrapping_byte_sub(piece.iov_len);
                self.consumed += 1;
            }
        }
        self.len -= count as u64;
        Ok(())
    }
}

/// Copying from a shorter array of zeroes, as far as either reaches.
trait CopyFromZeroes {
    fn copy_from_zeroes(&self, zeroes: &[u8]) -> usize;
}

impl CopyFromZeroes for VolatileSlice<'_> {
    fn copy_from_zeroes(&self, zeroes: &[u8]) -> usize {
        let len = self.len().min(zeroes.len());
        self.copy_from(&zeroes[..len]);
        len
    }
}

/// One byte of guest memory that the device will write later.
#[derive(Debug)]
pub struct GuestByte {
    /// Keeps the byte mapped.
    _ram: Ram,
    address: *mut u8,
}

// SAFETY: as for `Buffers`.
unsafe impl Send for GuestByte {}

impl GuestByte {
    /// Writes the byte.
    pub fn write(self, value: u8) {
        // SAFETY: the address lies in memory that `_ram` keeps mapped; the
        // guest may look at it at any time, hence volatile.
        unsafe { self.address.write_volatile(value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

    /// Two regions side by side, so that a range may span both.
    fn ram() -> Ram {
        Ram::new(
            GuestMemoryMmap::from_ranges(&[
                (GuestAddress(0), 0x1000),
                (GuestAddress(0x1000), 0x1000),
            ])
            .unwrap(),
        )
    }

    #[test]
    fn a_stream_crosses_pieces_and_regions() {
        let ram = ram();
        ram.write_slice(b"abcdef", GuestAddress(0xffd)).unwrap();
        let mut buffers = Buffers::new(ram);
        buffers.append(0xffd, 2).unwrap();
        buffers.append(0xfff, 4).unwrap();
        assert_eq!(buffers.len(), 6);
        assert_eq!(buffers.iovecs().len(), 3);
        let mut head = [0; 3];
        buffers.read(&mut head).unwrap();
        assert_eq!(&head, b"abc");
        let mut rest = [0; 3];
        buffers.read(&mut rest).unwrap();
        assert_eq!(&rest, b"def");
        assert!(buffers.is_empty());
        assert_eq!(buffers.read(&mut [0]), Err(TooShort));
    }

    #[test]
    fn what_is_left_is_copied_without_its_beginning() {
        let ram = ram();
        ram.write_slice(b"abcdefgh", GuestAddress(0xffd)).unwrap();
        let mut buffers = Buffers::new(ram);
        buffers.append(0xffd, 3).unwrap();
        buffers.append(0x1000, 5).unwrap();
        buffers.read(&mut [0]).unwrap();
        for (skipped, copied) in [(0, "xbcdefgh"), (1, "xcdefgh"), (2, "xdefgh"), (5, "xgh")] {
            let mut bytes = b"x".to_vec();
            buffers.append_to(&mut bytes, skipped);
            assert_eq!(bytes, copied.as_bytes());
        }
        assert_eq!(buffers.len(), 7);
    }

    proptest! {
        #[test]
        fn what_is_rewound_is_what_was_consumed(
            lens in prop::collection::vec(1u32..9, 1..6),
            steps in prop::collection::vec((0usize..12, 0usize..12), 1..12),
        ) {
            let ram = ram();
            let bytes: Vec<u8> = (0..64).collect();
            ram.write_slice(&bytes, GuestAddress(0xfe0)).unwrap();
            let mut buffers = Buffers::new(ram);
            let mut at = 0xfe0;
            for len in lens {
                buffers.append(at, len).unwrap();
                at += u64::from(len);
            }
            let total = usize::try_from(buffers.len()).unwrap();
            let mut consumed = 0;
            for (forth, back) in steps {
                let forth = forth.min(total - consumed);
                let mut data = vec![0; forth];
                buffers.read(&mut data).unwrap();
                prop_assert_eq!(&data[..], &bytes[consumed..consumed + forth]);
                consumed += forth;
                let back = back.min(consumed);
                buffers.rewind(back);
                consumed -= back;
                prop_assert_eq!(buffers.len(), (total - consumed) as u64);
                let pieces = buffers.iovecs().iter();
                prop_assert_eq!(pieces.map(|piece| piece.iov_len).sum::<usize>(), total - consumed);
            }
        }
    }

    #[test]
    fn a_failed_read_consumes_nothing() {
        let mut buffers = Buffers::new(ram());
        buffers.append(0, 4).unwrap();
        assert_eq!(buffers.read(&mut [0; 5]), Err(TooShort));
        assert_eq!(buffers.len(), 4);
    }

    #[test]
    fn bytes_move_from_list_to_list_across_pieces() {
        let ram = ram();
        ram.write_slice(b"abcdefgh", GuestAddress(0x100)).unwrap();
        let mut source = Buffers::new(ram.clone());
        source.append(0x100, 3).unwrap();
        source.append(0x103, 5).unwrap();
        let mut target = Buffers::new(ram.clone());
        for at in [0x200, 0x300, 0x400] {
            target.append(at, 2).unwrap();
        }
        target.fill_from(&mut source, 5).unwrap();
        assert_eq!((source.len(), target.len()), (3, 1));
        let mut moved = [0; 2];
        for (at, expected) in [(0x200, b"ab"), (0x300, b"cd"), (0x400, b"e\0")] {
            ram.read_slice(&mut moved, GuestAddress(at)).unwrap();
            assert_eq!(&moved, expected);
        }
        assert_eq!(target.fill_from(&mut source, 2), Err(TooShort));
        assert_eq!(source.fill_from(&mut target, 2), Err(TooShort));
        assert_eq!((source.len(), target.len()), (3, 1));
    }

    #[test]
    fn ranges_outside_memory_and_too_many_pieces_are_refused() {
        let mut buffers = Buffers::new(ram());
        for (address, len) in [(0x2000, 1), (0x1fff, 2), (u64::MAX, 2), (0, u32::MAX)] {
            assert_eq!(
                buffers.append(address, len),
                Err(Refused::NotRam),
                "{address:#x}+{len:#x}"
            );
        }
        buffers.clear();
        for _ in 0..MAX_PIECES {
            buffers.append(0, 1).unwrap();
        }
        assert_eq!(buffers.append(0, 1), Err(Refused::TooMany));
    }

    #[test]
    fn a_refused_range_leaves_no_trace() {
        let mut buffers = Buffers::new(ram());
        buffers.append(0, 1).unwrap();
        buffers.append(0x1ff0, 0x20).unwrap_err();
        assert_eq!(buffers.len(), 1);
        assert_eq!(buffers.iovecs().len(), 1);
    }

    #[test]
    fn the_last_byte_is_written_where_it_was() {
        let ram = ram();
        let mut buffers = Buffers::new(ram.clone());
        buffers.append(0x10, 2).unwrap();
        buffers.append(0x20, 1).unwrap();
        buffers.take_last_byte().unwrap().write(7);
        assert_eq!(ram.read_obj::<u8>(GuestAddress(0x20)).unwrap(), 7);
        buffers.take_last_byte().unwrap().write(8);
        assert_eq!(ram.read_obj::<u8>(GuestAddress(0x11)).unwrap(), 8);
        assert_eq!(buffers.len(), 1);
        buffers.take_last_byte().unwrap();
        assert!(buffers.take_last_byte().is_err());
    }

    #[test]
    fn what_is_discarded_is_consumed_and_its_whole_pages_are_zero() {
        let ram = ram();
        ram.write_slice(&[1; 0x2000], GuestAddress(0)).unwrap();
        let mut buffers = Buffers::new(ram.clone());
        buffers.append(0x800, 0x1800).unwrap();
        assert_eq!(buffers.discard().unwrap(), 0x1000);
        assert!(buffers.is_empty());
        assert_eq!(ram.read_obj::<u8>(GuestAddress(0xfff)).unwrap(), 1);
        assert_eq!(ram.read_obj::<u8>(GuestAddress(0x1000)).unwrap(), 0);
        assert_eq!(ram.read_obj::<u8>(GuestAddress(0x1fff)).unwrap(), 0);
    }

    proptest! {
        /// Whatever the pieces and cuts, the stream is what one long buffer
        /// would be.
        #[test]
        fn behaves_as_one_buffer(
            lens in prop::collection::vec(0u32..40, 0..12),
            cuts in prop::collection::vec(0usize..60, 0..12),
            keep in 0u64..300,
        ) {
            let ram = ram();
            let total: usize = lens.iter().map(|l| usize::try_from(*l).unwrap()).sum();
            let data: Vec<u8> = (0..total).map(|i| u8::try_from(i % 251).unwrap()).collect();
            ram.write_slice(&data, GuestAddress(0xf80)).unwrap();
            let mut buffers = Buffers::new(ram);
            let mut address = 0xf80;
            for len in lens {
                buffers.append(address, len).unwrap();
                address += u64::from(len);
            }
            buffers.truncate(keep);
            let mut model = &data[..total.min(usize::try_from(keep).unwrap())];
            for cut in cuts {
                let mut out = vec![0; cut];
                if buffers.read(&mut out).is_ok() {
                    prop_assert_eq!(&out, &model[..cut]);
                    model = &model[cut..];
                } else {
                    prop_assert!(cut > model.len());
                }
                prop_assert_eq!(buffers.len(), model.len() as u64);
                let held: usize = buffers.iovecs().iter().map(|v| v.iov_len).sum();
                prop_assert_eq!(held, model.len());
            }
        }
    }
}
