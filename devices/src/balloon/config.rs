//! A balloon's feature bits and configuration space (virtio 1.3 §5.5.3,
//! §5.5.4).

/// The driver keeps a buffer with statistics for the device.
pub(super) const F_STATS_VQ: u32 = 1;
/// The driver may use pages from the balloon rather than run out of memory.
pub(super) const F_DEFLATE_ON_OOM: u32 = 2;
/// The driver says what it fills free pages with.
pub(super) const F_PAGE_POISON: u32 = 4;
/// The driver reports pages that become free.
pub(super) const F_PAGE_REPORTING: u32 = 5;

/// What page numbers count, whatever the sizes of pages are (§5.5.6).
pub(super) const PAGE: u64 = 4096;

/// Configuration space, four little-endian words: how many pages the balloon
/// should have and how many it has, the command of free page hinting (not
/// offered, so 0), and what the driver fills free pages with.
pub(super) const WORDS: usize = 4;
pub(super) const ACTUAL: usize = 1;
pub(super) const POISON: usize = 3;
