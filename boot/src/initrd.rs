//! Where the initrd goes: as high as it can, beside the kernel.
//!
//! High, so that the kernel's early allocations, which start low, have room.

use std::ops::Range;

use crate::layout::PAGE;
use crate::segment::Segment;
use crate::{Error, Result};

/// The highest page-aligned place for `length` bytes in `room` that hits none
/// of `taken`.
pub(crate) fn place(length: u64, room: Range<u64>, taken: &[Segment]) -> Result<Range<u64>> {
    if length == 0 {
        return Err(Error::InitrdEmpty);
    }
    let no_room = || Error::InitrdDoesNotFit {
        length,
        limit: room.end,
    };
    let mut limit = room.end;
    loop {
        let start = limit.checked_sub(length).ok_or_else(no_room)? / PAGE * PAGE;
        if start < room.start {
            return Err(no_room());
        }
        let place = start..start + length;
        // Each step goes below one more segment, so this ends.
        match taken.iter().find(|segment| segment.overlaps(&place)) {
            Some(segment) => limit = segment.address,
            None => return Ok(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::MIB;
    use crate::segment::Content;

    fn taken(range: Range<u64>) -> Segment {
        Segment {
            name: "kernel",
            address: range.start,
            length: range.end - range.start,
            content: Content::Zero,
        }
    }

    #[test]
    fn it_ends_at_the_limit_on_a_page() {
        let place = place(PAGE + 1, MIB..64 * MIB, &[]).unwrap();
        assert_eq!(place, 64 * MIB - 2 * PAGE..64 * MIB - PAGE + 1);
    }

    #[test]
    fn it_goes_below_what_is_in_the_way() {
        let segments = [taken(60 * MIB..64 * MIB), taken(16 * MIB..58 * MIB)];
        let room = MIB..64 * MIB;
        assert_eq!(
            place(2 * MIB, room.clone(), &segments).unwrap(),
            58 * MIB..60 * MIB
        );
        assert_eq!(place(3 * MIB, room, &segments).unwrap(), 13 * MIB..16 * MIB);
    }

    #[test]
    fn too_long_and_empty_are_refused() {
        let segments = [taken(16 * MIB..58 * MIB)];
        for length in [16 * MIB, 65 * MIB, u64::MAX] {
            assert!(matches!(
                place(length, MIB..64 * MIB, &segments),
                Err(Error::InitrdDoesNotFit { .. })
            ));
        }
        assert!(matches!(
            place(0, MIB..64 * MIB, &[]),
            Err(Error::InitrdEmpty)
        ));
    }
}
