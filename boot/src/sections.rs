//! Where an ELF kernel says of itself that it is nothing but zeros.
//!
//! A segment's file range may have sections without content (`SHT_NOBITS`, such as
//! BSS) between others: the linker fills the file with zeros there. Of a Debian
//! kernel's 46 MB that are 8, which need not be read into memory that is zero anyway.
//!
//! Section headers (ELF gABI, "Sections") are not needed to load a program. They may
//! be missing, or wrong: then no range is known to be zero, and all of it is read.

use std::ops::Range;

use linux_loader::elf::{Elf64_Ehdr, Elf64_Shdr, SHF_ALLOC, SHF_TLS, SHT_NOBITS};

use crate::image::Image;
use crate::segment::{Content, Segment};

/// A Linux kernel has about forty; this bounds the work a file can ask for, and the
/// pieces that its segments can be cut into.
const MAX_SECTIONS: u16 = 128;
const HEADER_LEN: usize = size_of::<Elf64_Shdr>();
/// Fewer bytes of zeros are read with what is around them: a system call more costs
/// as much.
const WORTHWHILE: u64 = 64 << 10;

/// The virtual addresses that hold zeros, lowest first and disjoint.
pub(crate) fn zeros(image: &Image, header: &Elf64_Ehdr) -> Vec<Range<u64>> {
    let mut ranges: Vec<_> = table(image, header)
        .chunks_exact(HEADER_LEN)
        .filter_map(range_of_zeros)
        .collect();
    ranges.sort_by_key(|range| range.start);
    ranges.dedup_by(|next, range| {
        let meets = next.start <= range.end;
        if meets {
            range.end = range.end.max(next.end);
        }
        meets
    });
    ranges
}

/// Cuts what is in `zeros` out of the content of a segment that begins at the virtual
/// address `first`: pieces that together are the segment.
pub(crate) fn cut(segment: Segment, first: u64, zeros: &[Range<u64>]) -> Vec<Segment> {
    let Content::Kernel { offset, length } = segment.content else {
        return vec![segment];
    };
    let piece = |from: u64, to: u64, content| Segment {
        name: segment.name,
        address: segment.address + from,
        length: to - from,
        content,
    };
    let read = |from: u64, to: u64| Content::Kernel {
        offset: offset + from,
        length: to - from,
    };
    let mut pieces = Vec::new();
    let mut done = 0;
    for zeros in zeros {
        // Relative to the segment, as far as it has content.
        let start = zeros.start.saturating_sub(first).clamp(done, length);
        let end = zeros.end.saturating_sub(first).clamp(done, length);
        if end - start < WORTHWHILE {
            continue;
        }
        if start > done {
            pieces.push(piece(done, start, read(done, start)));
        }
        pieces.push(piece(start, end, Content::Zero));
        done = end;
    }
    if done < length {
        pieces.push(piece(done, segment.length, read(done, length)));
    } else if done < segment.length {
        pieces.push(piece(done, segment.length, Content::Zero));
    }
    pieces
}

/// The section headers; none if they are not as they should be.
fn table(image: &Image, header: &Elf64_Ehdr) -> Vec<u8> {
    let expected = usize::from(header.e_shentsize) == HEADER_LEN && header.e_shnum <= MAX_SECTIONS;
    let count = if expected { header.e_shnum } else { 0 };
    let mut table = vec![0; usize::from(count) * HEADER_LEN];
    match image.read("section headers", &mut table, header.e_shoff) {
        Ok(()) => table,
        Err(_) => Vec::new(),
    }
}

/// The virtual addresses of a section, if it is in memory and zero there. One of each
/// thread's own is a template, whose addresses are others' (gABI, `SHF_TLS`).
fn range_of_zeros(header: &[u8]) -> Option<Range<u64>> {
    let kind = u32::from_le_bytes(header.get(4..8)?.try_into().ok()?);
    let word = |at: usize| {
        let bytes = header.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    let (flags, address, size) = (word(8)?, word(16)?, word(32)?);
    let is_zero = kind == SHT_NOBITS && flags & (SHF_ALLOC | SHF_TLS) == SHF_ALLOC && size > 0;
    let end = address.checked_add(size)?;
    is_zero.then_some(address..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRST: u64 = 0xffff_ffff_8100_0000;

    fn section(kind: u32, flags: u64, address: u64, size: u64) -> Vec<u8> {
        let words = [flags, address, 0, size, 0, 0, 0];
        let mut bytes = [0, kind].map(u32::to_le_bytes).concat();
        bytes.extend(words.map(u64::to_le_bytes).concat());
        bytes
    }

    /// What is known to be zero in a file whose section headers are at 64.
    fn found(sections: &[Vec<u8>], change: impl FnOnce(&mut Elf64_Ehdr)) -> Vec<Range<u64>> {
        let mut header = Elf64_Ehdr {
            e_shoff: 64,
            e_shentsize: 64,
            e_shnum: u16::try_from(sections.len()).unwrap(),
            ..Default::default()
        };
        change(&mut header);
        let bytes = [vec![0; 64], sections.concat()].concat();
        zeros(&Image::new(&bytes.as_slice()).unwrap(), &header)
    }

    fn segment(length: u64, memory: u64) -> Segment {
        Segment {
            name: "kernel",
            address: 0x100_0000,
            length: memory,
            content: Content::Kernel {
                offset: 0x1000,
                length,
            },
        }
    }

    #[test]
    fn sections_without_content_that_are_in_memory_are_zero() {
        let sections = [
            section(0, 0, 0, 0),
            section(1, SHF_ALLOC, 0x1000, 0x1000),
            section(SHT_NOBITS, SHF_ALLOC, 0x5000, 0x1000),
            section(SHT_NOBITS, SHF_ALLOC, 0x2000, 0x1000),
            section(SHT_NOBITS, 0, 0x9000, 0x1000),
            section(SHT_NOBITS, SHF_ALLOC | SHF_TLS, 0xa000, 0x1000),
            // One that goes on where another ends, and one in it.
            section(SHT_NOBITS, SHF_ALLOC, 0x6000, 0x800),
            section(SHT_NOBITS, SHF_ALLOC, 0x6100, 0x10),
            // Nothing, and more than there is.
            section(SHT_NOBITS, SHF_ALLOC, 0x8000, 0),
            section(SHT_NOBITS, SHF_ALLOC, u64::MAX, 2),
        ];
        assert_eq!(found(&sections, |_| ()), [0x2000..0x3000, 0x5000..0x6800]);
    }

    #[test]
    fn headers_that_are_not_as_they_should_be_say_nothing() {
        let sections = [section(SHT_NOBITS, SHF_ALLOC, 0x2000, 0x1000)];
        assert_eq!(found(&sections, |_| ()).len(), 1);
        assert!(found(&sections, |header| header.e_shentsize = 40).is_empty());
        assert!(found(&sections, |header| header.e_shnum = 0).is_empty());
        assert!(found(&sections, |header| header.e_shnum = 2).is_empty());
        let many = vec![sections[0].clone(); usize::from(MAX_SECTIONS)];
        assert_eq!(found(&many, |_| ()).len(), 1);
        assert!(found(&[many, sections.to_vec()].concat(), |_| ()).is_empty());
        assert!(found(&sections, |header| header.e_shoff = u64::MAX - 8).is_empty());
    }

    #[test]
    fn a_segment_is_read_around_its_zeros() {
        let (kib, mib) = (1 << 10, 1 << 20);
        let zeros = [
            FIRST + mib..FIRST + 2 * mib,
            FIRST + 3 * mib..FIRST + 3 * mib + 4 * kib,
            FIRST + 4 * mib..FIRST + 9 * mib,
        ];
        let pieces = cut(segment(8 * mib, 10 * mib), FIRST, &zeros);
        let read = |from: u64, to: u64| Content::Kernel {
            offset: 0x1000 + from,
            length: to - from,
        };
        let found = pieces.into_iter();
        let found: Vec<_> = found.map(|piece| (piece.range(), piece.content)).collect();
        let at = |from: u64, to: u64| 0x100_0000 + from..0x100_0000 + to;
        assert_eq!(
            found,
            [
                (at(0, mib), read(0, mib)),
                (at(mib, 2 * mib), Content::Zero),
                (at(2 * mib, 4 * mib), read(2 * mib, 4 * mib)),
                (at(4 * mib, 8 * mib), Content::Zero),
                (at(8 * mib, 10 * mib), Content::Zero),
            ]
        );
    }

    #[test]
    fn a_segment_of_which_nothing_is_zero_stays_whole() {
        for segment in [
            segment(0x20_0000, 0x30_0000),
            Segment {
                content: Content::Zero,
                ..segment(0, 0x30_0000)
            },
        ] {
            let beside = [0..0x1000, FIRST + 0x20_0000..u64::MAX];
            for zeros in [&[], &beside[..1], &beside[1..]] {
                let pieces = cut(segment.clone(), FIRST, zeros);
                assert_eq!(pieces, std::slice::from_ref(&segment));
            }
        }
    }

    proptest! {
        #[test]
        fn pieces_are_the_segment_whatever_is_said_to_be_zero(
            length in 1..0x40_0000_u64,
            more in 0..0x40_0000_u64,
            first in prop_oneof![0..0x100_0000_u64, Just(FIRST), Just(u64::MAX - 0x1000)],
            mut bounds in prop::collection::vec(0..0x60_0000_u64, 0..8),
        ) {
            bounds.sort_unstable();
            bounds.dedup();
            let at = |bound: u64| first.saturating_add(bound);
            let zeros: Vec<_> = bounds.chunks_exact(2).map(|pair| at(pair[0])..at(pair[1])).collect();
            let whole = segment(length, length + more);
            let mut next = whole.address;
            for piece in cut(whole.clone(), first, &zeros) {
                prop_assert_eq!(piece.address, next);
                prop_assert!(piece.length > 0);
                next += piece.length;
                let from = piece.address - whole.address;
                if let Content::Kernel { offset, length: read } = piece.content {
                    prop_assert_eq!(offset, 0x1000 + from);
                    prop_assert!(read <= piece.length && from + read <= length);
                } else if from < length {
                    let (from, to) = (at(from), at(from + piece.length));
                    prop_assert!(zeros.iter().any(|zeros| zeros.start <= from && to <= zeros.end));
                }
            }
            prop_assert_eq!(next, whole.address + whole.length);
        }
    }
}
