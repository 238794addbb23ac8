//! What a guest says of its memory (virtio 1.3 §5.5.6.3, §5.5.6.4).

use std::time::Instant;

use crate::virtio::buffers::Buffers;

/// Bytes in an entry: a tag of 2, a value of 8.
const ENTRY: usize = 10;

/// Entries looked at: a few more than there are tags. Linux's driver writes
/// each once.
const MAX_ENTRIES: usize = 32;

/// A guest's own account of its memory. It says what it likes, and leaves out
/// what it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryStatistics {
    /// When it said so.
    pub received: Instant,
    /// Swapped in so far, in bytes.
    pub swap_in: Option<u64>,
    /// Swapped out so far, in bytes.
    pub swap_out: Option<u64>,
    /// Page faults so far that needed I/O.
    pub major_faults: Option<u64>,
    /// Page faults so far that needed none.
    pub minor_faults: Option<u64>,
    /// Not in use for anything, in bytes.
    pub free: Option<u64>,
    /// All memory, in bytes.
    pub total: Option<u64>,
    /// What programs could get without swapping, in bytes.
    pub available: Option<u64>,
    /// What could be dropped without I/O, in bytes.
    pub caches: Option<u64>,
    /// Huge pages allocated so far.
    pub huge_page_allocations: Option<u64>,
    /// Huge pages that could not be allocated so far.
    pub huge_page_failures: Option<u64>,
}

impl MemoryStatistics {
    fn none(received: Instant) -> Self {
        Self {
            received,
            swap_in: None,
            swap_out: None,
            major_faults: None,
            minor_faults: None,
            free: None,
            total: None,
            available: None,
            caches: None,
            huge_page_allocations: None,
            huge_page_failures: None,
        }
    }

    /// Reads a buffer of the statistics queue; none if it is empty, as the
    /// first one may be. Of a tag that comes twice, the last one counts.
    pub(super) fn read(buffer: &mut Buffers, received: Instant) -> Option<Self> {
        let mut statistics = Self::none(received);
        let mut entry = [0; ENTRY];
        let mut read = false;
        for _ in 0..MAX_ENTRIES {
            if buffer.read(&mut entry).is_err() {
                break;
            }
            read = true;
            let [t0, t1, value @ ..] = entry;
            let value = u64::from_le_bytes(value);
            if let Some(field) = statistics.field(u16::from_le_bytes([t0, t1])) {
                *field = Some(value);
            }
        }
        read.then_some(statistics)
    }

    /// The field of a `VIRTIO_BALLOON_S_*` tag, if it is a known one.
    fn field(&mut self, tag: u16) -> Option<&mut Option<u64>> {
        Some(match tag {
            0 => &mut self.swap_in,
            1 => &mut self.swap_out,
            2 => &mut self.major_faults,
            3 => &mut self.minor_faults,
            4 => &mut self.free,
            5 => &mut self.total,
            6 => &mut self.available,
            7 => &mut self.caches,
            8 => &mut self.huge_page_allocations,
            9 => &mut self.huge_page_failures,
            _ => return None,
        })
    }
}
