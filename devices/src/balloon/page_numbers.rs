//! The page numbers of an inflate or deflate request (virtio 1.3 §5.5.6), put
//! together into ranges, so that neighbours cost one system call.

use std::ops::Range;

use super::config::PAGE;
use crate::virtio::buffers::Buffers;

/// Numbers put together in one go; Linux's driver sends as many in a request.
const CHUNK: usize = 256;

/// The most numbers that are read of one request, so that it is soon over.
const MAX_NUMBERS: usize = 4 * CHUNK;

/// A request's page numbers, being read.
pub(super) struct PageNumbers<'a> {
    buffer: &'a mut Buffers,
    left: usize,
    numbers: [u32; CHUNK],
}

/// The ranges of guest memory that some pages of a request make up.
pub(super) struct Ranges<'a> {
    /// Sorted.
    numbers: &'a [u32],
    /// Pages that were named before.
    pub(super) repeated: u64,
}

impl<'a> PageNumbers<'a> {
    pub(super) fn of(buffer: &'a mut Buffers) -> Self {
        Self {
            buffer,
            left: MAX_NUMBERS,
            numbers: [0; CHUNK],
        }
    }

    /// The next pages, if there are any.
    pub(super) fn next(&mut self) -> Option<Ranges<'_>> {
        let mut bytes = [0; 4 * CHUNK];
        let there = usize::try_from(self.buffer.len() / 4).unwrap_or(CHUNK);
        let count = there.min(CHUNK).min(self.left);
        if count == 0 {
            return None;
        }
        self.left -= count;
        let read = self.buffer.read(&mut bytes[..4 * count]);
        read.expect("no more is read than there is");
        let numbers = &mut self.numbers[..count];
        for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks().0) {
            *number = u32::from_le_bytes(*bytes);
        }
        // A driver's free pages often come in falling order.
        numbers.sort_unstable();
        Some(Ranges {
            numbers,
            repeated: 0,
        })
    }

    /// Whether the request held more, or less than whole numbers.
    pub(super) fn is_malformed(&self) -> bool {
        !self.buffer.is_empty()
    }
}

impl Iterator for Ranges<'_> {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        let (first, mut rest) = self.numbers.split_first()?;
        let mut last = *first;
        while let Some((number, further)) = rest.split_first() {
            match number - last {
                0 => self.repeated += 1,
                1 => last = *number,
                _ => break,
            }
            rest = further;
        }
        self.numbers = rest;
        Some(u64::from(*first) * PAGE..(u64::from(last) + 1) * PAGE)
    }
}
