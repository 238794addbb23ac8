//! How much RAM a guest has and where: around the hole below 4 GiB.
//!
//! The VMM maps [`MemoryLayout::ranges`]; the boot protocols pass
//! [`MemoryLayout::map`] on to the guest. Both come from one value, so a guest
//! is never told of RAM that is not there.

use std::iter;
use std::ops::Range;

use crate::layout::{
    ACPI, CONVENTIONAL_END, EBDA, GROWTH_ALIGNMENT, GROWTH_STEP, HIGH_RAM, KERNEL_FLOOR,
    KVM_PRIVATE, LOW_RAM_LIMIT, MEMORY_MAX, MEMORY_MIN, MIB, PCI_ECAM, SMBIOS,
};
use crate::{Error, Result};

/// Guest RAM: one range below 3 GiB and, if that is not enough, one from 4 GiB;
/// above these, if it may grow, a range for what comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLayout {
    bytes: u64,
    most: u64,
}

impl MemoryLayout {
    /// Lays out `bytes` of RAM.
    ///
    /// # Errors
    ///
    /// [`Error::MemorySize`] unless `bytes` is a whole number of MiB from
    /// [`MEMORY_MIN`] to [`MEMORY_MAX`].
    pub fn new(bytes: u64) -> Result<Self> {
        if !(MEMORY_MIN..=MEMORY_MAX).contains(&bytes) || !bytes.is_multiple_of(MIB) {
            return Err(Error::MemorySize { bytes });
        }
        Ok(MemoryLayout { bytes, most: bytes })
    }

    /// The same RAM, which can grow to `most` bytes while the guest runs.
    ///
    /// # Errors
    ///
    /// [`Error::MemoryGrowth`] if `most` is less than there is, does not exceed
    /// it by a multiple of [`GROWTH_STEP`], or is more than [`MEMORY_MAX`].
    pub fn growing_to(self, most: u64) -> Result<Self> {
        let by = most.checked_sub(self.bytes);
        if most > MEMORY_MAX || !by.is_some_and(|by| by.is_multiple_of(GROWTH_STEP)) {
            return Err(Error::MemoryGrowth {
                bytes: self.bytes,
                most,
            });
        }
        Ok(MemoryLayout { most, ..self })
    }

    /// The most RAM that the guest can have, in bytes.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// Where RAM is that comes while the guest runs, if any can. A guest does
    /// not find it in its memory map (virtio 1.3 §5.15).
    pub fn growth(&self) -> Option<Range<u64>> {
        let bytes = self.most - self.bytes;
        let start = self.high().map_or(HIGH_RAM, |range| range.end);
        let start = start.next_multiple_of(GROWTH_ALIGNMENT);
        (bytes > 0).then_some(start..start + bytes)
    }

    /// All RAM that there is from the start, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// End of the RAM below 4 GiB.
    pub fn low_end(&self) -> u64 {
        self.bytes.min(LOW_RAM_LIMIT)
    }

    /// The RAM from 4 GiB on, if there is any.
    pub fn high(&self) -> Option<Range<u64>> {
        let bytes = self.bytes - self.low_end();
        (bytes > 0).then_some(HIGH_RAM..HIGH_RAM + bytes)
    }

    /// The address ranges that need memory behind them, lowest first, also
    /// what comes later.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        let high = self.high().into_iter().chain(self.growth());
        iter::once(0..self.low_end()).chain(high)
    }

    /// Where a kernel or an initrd may lie.
    pub(crate) fn loadable(&self) -> Range<u64> {
        KERNEL_FLOOR..self.low_end()
    }

    /// The memory map a guest gets, lowest address first.
    pub(crate) fn map(&self) -> Vec<MapEntry> {
        use MapKind::{AcpiReclaimable, Ram, Reserved};
        let mut map = vec![
            MapEntry::new(0..EBDA, Ram),
            MapEntry::new(EBDA..CONVENTIONAL_END, Reserved),
            MapEntry::new(ACPI, AcpiReclaimable),
            MapEntry::new(SMBIOS, Reserved),
            MapEntry::new(KERNEL_FLOOR..self.low_end(), Ram),
            MapEntry::new(PCI_ECAM, Reserved),
            MapEntry::new(KVM_PRIVATE, Reserved),
        ];
        map.extend(self.high().map(|range| MapEntry::new(range, Ram)));
        map
    }
}

/// One line of the memory map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MapEntry {
    pub(crate) range: Range<u64>,
    pub(crate) kind: MapKind,
}

impl MapEntry {
    fn new(range: Range<u64>, kind: MapKind) -> Self {
        MapEntry { range, kind }
    }

    pub(crate) fn length(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// What a range of addresses is for. The numbers are ACPI's address range
/// types (ACPI 6.5 §15, table 15.5), used by e820 and PVH alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum MapKind {
    Ram = 1,
    Reserved = 2,
    AcpiReclaimable = 3,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::GIB;

    #[test]
    fn a_small_guest_has_one_range() {
        let memory = MemoryLayout::new(256 * MIB).unwrap();
        assert_eq!((memory.low_end(), memory.high()), (256 * MIB, None));
        assert_eq!(memory.ranges().count(), 1);
    }

    #[test]
    fn memory_that_just_fits_below_the_hole_stays_there() {
        let memory = MemoryLayout::new(3 * GIB).unwrap();
        assert_eq!((memory.low_end(), memory.high()), (3 * GIB, None));
    }

    #[test]
    fn memory_beyond_the_hole_continues_at_4_gib() {
        let memory = MemoryLayout::new(3 * GIB + MIB).unwrap();
        assert_eq!(
            memory.ranges().collect::<Vec<_>>(),
            [0..3 * GIB, 4 * GIB..4 * GIB + MIB]
        );
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for bytes in [0, 1, MIB, 64 * MIB + 1, MEMORY_MAX + MIB, u64::MAX] {
            assert!(
                matches!(MemoryLayout::new(bytes), Err(Error::MemorySize { bytes: b }) if b == bytes)
            );
        }
    }

    #[test]
    fn memory_grows_in_a_range_of_its_own_that_the_map_does_not_tell() {
        for (bytes, most, growth) in [
            (256 * MIB, 512 * MIB, 4 * GIB..4 * GIB + 256 * MIB),
            (3 * GIB + MIB, 4 * GIB + MIB, 6 * GIB..7 * GIB),
            (5 * GIB, 6 * GIB, 6 * GIB..7 * GIB),
            (MEMORY_MAX - GIB, MEMORY_MAX, MEMORY_MAX..MEMORY_MAX + GIB),
        ] {
            let fixed = MemoryLayout::new(bytes).unwrap();
            let memory = fixed.growing_to(most).unwrap();
            assert_eq!((memory.bytes(), memory.most()), (bytes, most));
            assert_eq!(memory.growth(), Some(growth.clone()));
            assert_eq!(memory.ranges().last(), Some(growth));
            assert_eq!(memory.map(), fixed.map());
            assert_eq!(fixed.growing_to(bytes).unwrap(), fixed);
            assert_eq!(fixed.growth(), None);
        }
    }

    #[test]
    fn impossible_growth_is_refused() {
        for (bytes, most) in [
            (GIB, 0),
            (GIB, GIB - 128 * MIB),
            (GIB, GIB + 64 * MIB),
            (GIB, MEMORY_MAX + 128 * MIB),
            (GIB, u64::MAX),
        ] {
            let memory = MemoryLayout::new(bytes).unwrap();
            assert!(
                matches!(
                    memory.growing_to(most),
                    Err(Error::MemoryGrowth { bytes: b, most: m }) if (b, m) == (bytes, most)
                ),
                "{bytes} {most}"
            );
        }
    }

    #[test]
    fn the_map_is_sorted_disjoint_and_claims_only_ram_that_exists() {
        for bytes in [MEMORY_MIN, 3 * GIB, 5 * GIB, MEMORY_MAX] {
            let memory = MemoryLayout::new(bytes).unwrap();
            let map = memory.map();
            for pair in map.windows(2) {
                assert!(pair[0].range.end <= pair[1].range.start, "{pair:?}");
            }
            for entry in map.iter().filter(|entry| entry.kind == MapKind::Ram) {
                assert!(
                    memory
                        .ranges()
                        .any(|ram| ram.start <= entry.range.start && entry.range.end <= ram.end)
                );
            }
        }
    }
}
