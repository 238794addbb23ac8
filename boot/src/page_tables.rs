//! The identity mapping a 64-bit kernel starts on.
//!
//! 2 MiB pages, which every x86_64 CPU has, over whole GiBs from address zero.

use crate::layout::{GIB, MIB, PAGE, PAGE_TABLES};
use crate::segment::Segment;

/// Present and writable (SDM vol. 3 §4.5.4).
const TABLE: u64 = 0b11;
/// The same for an entry that maps a 2 MiB page.
const LARGE_PAGE: u64 = TABLE | 1 << 7;

/// Page tables that map everything below `end`, in whole GiBs. The root is at
/// [`PAGE_TABLES`], the value for CR3.
pub(crate) fn identity(end: u64) -> Segment {
    let directories = end.div_ceil(GIB);
    let directory_pointers = PAGE_TABLES + PAGE;
    let first_directory = directory_pointers + PAGE;

    let root = table([directory_pointers | TABLE]);
    let pointers = table((0..directories).map(|n| (first_directory + n * PAGE) | TABLE));
    let pages = (0..directories * GIB / (2 * MIB)).map(|n| (n * 2 * MIB) | LARGE_PAGE);
    let entries = root.into_iter().chain(pointers).chain(pages);
    Segment::bytes(
        "page tables",
        PAGE_TABLES,
        entries.flat_map(u64::to_le_bytes).collect(),
    )
}

/// One table: the entries, and absent ones up to a page.
fn table(entries: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut table: Vec<u64> = entries.into_iter().collect();
    table.resize(512, 0);
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::Content;

    /// Walks the tables as the CPU does; `None` is a page fault.
    fn translate(segment: &Segment, address: u64) -> Option<u64> {
        let Content::Bytes(bytes) = &segment.content else {
            panic!("page tables are made here");
        };
        let entry = |table: u64, index: u64| {
            let at = usize::try_from(table - segment.address + 8 * index).unwrap();
            let entry = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
            (entry & 1 == 1).then_some(entry)
        };
        let base = |entry: u64| entry & !0xFFF;
        let root = entry(PAGE_TABLES, address >> 39 & 511)?;
        let pointer = entry(base(root), address >> 30 & 511)?;
        let page = entry(base(pointer), address >> 21 & 511)?;
        assert_eq!(page & LARGE_PAGE, LARGE_PAGE);
        Some((base(page) & !(2 * MIB - 1)) | (address & (2 * MIB - 1)))
    }

    #[test]
    fn every_address_below_the_end_maps_to_itself() {
        for (end, mapped) in [
            (90 * MIB, GIB),
            (GIB, GIB),
            (GIB + 1, 2 * GIB),
            (3 * GIB, 3 * GIB),
        ] {
            let tables = identity(end);
            for address in [0, 0x7123, MIB, end / 2, end - 1, mapped - 1] {
                assert_eq!(translate(&tables, address), Some(address));
            }
            assert_eq!(translate(&tables, mapped), None);
        }
    }
}
