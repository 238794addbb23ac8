//! Allocating a guest's memory.

use std::fmt;
use std::fs::File;
use std::io;

use boot::MemoryLayout;
use devices::memory::Ram;
use devices::memory::pages::HostPages;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap};

use super::mapping::{Mapping, Source};
use crate::error::{Error, Result};

/// What a guest's memory is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backing {
    /// Private anonymous memory, the fastest to set up.
    #[default]
    Anonymous,
    /// A memfd, which other processes can be given.
    Shared,
    /// 2 MiB pages out of the host's pool (`vm.nr_hugepages`).
    Huge2M,
    /// 1 GiB pages out of the host's pool.
    Huge1G,
}

impl Backing {
    /// Bytes in a page of it.
    pub fn page_size(self) -> u64 {
        match self {
            Self::Anonymous | Self::Shared => 4 << 10,
            Self::Huge2M => 2 << 20,
            Self::Huge1G => 1 << 30,
        }
    }

    /// Whether it is out of the host's pool of huge pages.
    pub fn is_pooled(self) -> bool {
        matches!(self, Self::Huge2M | Self::Huge1G)
    }

    fn host_pages(self) -> HostPages {
        HostPages {
            size: usize::try_from(self.page_size()).expect("a page fits"),
            shared: self != Self::Anonymous,
        }
    }
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "private memory",
            Self::Shared => "shared memory",
            Self::Huge2M => "memory in 2 MiB pages",
            Self::Huge1G => "memory in 1 GiB pages",
        })
    }
}

/// How a guest's memory is to be had.
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    /// How much, and where the guest sees it.
    pub layout: MemoryLayout,
    /// What it is made of.
    pub backing: Backing,
    /// Whether to ask for transparent huge pages, or for none; left alone if
    /// not said.
    pub transparent_huge_pages: Option<bool>,
    /// Whether to allocate all of it before the guest starts, but for what
    /// comes later.
    pub prefault: bool,
}

impl MemoryConfig {
    /// Whether a device may have pages go back to the host and come again. The
    /// pool of huge pages may have run out when the guest wants one again.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn check_can_go_back(&self) -> Result<()> {
        if self.backing.is_pooled() {
            return Err(Error::Config(
                "memory out of the pool of huge pages stays with its guest: it can neither grow \
                 nor have a balloon; choose ordinary pages, or neither of these"
                    .into(),
            ));
        }
        Ok(())
    }
}

/// Allocates memory, zeroed.
///
/// # Errors
/// The host has not that much memory, or not of that kind.
pub(crate) fn allocate(config: &MemoryConfig) -> Result<Ram> {
    let refused = |source| Error::Memory {
        bytes: config.layout.bytes(),
        backing: config.backing,
        source,
    };
    let file = backing_file(config).map_err(refused)?;
    let mut regions = Vec::new();
    let mut mappings = Vec::new();
    let mut file_offset = 0;
    let growth = config.layout.growth();
    for range in config.layout.ranges() {
        let len = usize::try_from(range.end - range.start)
            .map_err(|_| refused(io::Error::from(io::ErrorKind::OutOfMemory)))?;
        let source = match (&file, config.backing) {
            (None, _) => Source::Anonymous,
            (Some(file), Backing::Shared) => Source::File(file, file_offset),
            (Some(file), _) => Source::HugePages(file, file_offset),
        };
        let prefault = config.prefault && growth.as_ref() != Some(&range);
        let mapping = map(config, &source, len, prefault).map_err(refused)?;
        regions.push(region(&mapping, range.start, len)?);
        mappings.push(mapping);
        file_offset += range.end - range.start;
    }
    let memory = GuestMemoryMmap::from_regions(regions)
        .map_err(|error| Error::internal("guest memory ranges", error))?;
    Ok(Ram::with_backing(
        memory,
        config.backing.host_pages(),
        mappings,
    ))
}

/// The file behind memory that is not anonymous.
fn backing_file(config: &MemoryConfig) -> io::Result<Option<File>> {
    let flags = match config.backing {
        Backing::Anonymous => return Ok(None),
        Backing::Shared => MemfdFlags::empty(),
        Backing::Huge2M => MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB,
        Backing::Huge1G => MemfdFlags::HUGETLB | MemfdFlags::HUGE_1GB,
    };
    let file = File::from(memfd_create("guest-memory", flags | MemfdFlags::CLOEXEC)?);
    ftruncate(&file, config.layout.most())?;
    Ok(Some(file))
}

fn map(
    config: &MemoryConfig,
    source: &Source<'_>,
    len: usize,
    prefault: bool,
) -> io::Result<Mapping> {
    let alignment = usize::try_from(config.backing.page_size()).expect("a page fits");
    let mapping = Mapping::new(source, len, alignment)?;
    if let Some(wanted) = config.transparent_huge_pages {
        mapping.advise_huge_pages(wanted)?;
    }
    if prefault {
        mapping.prefault()?;
    }
    Ok(mapping)
}

#[allow(unsafe_code)] // The region borrows the mapping by address.
fn region(mapping: &Mapping, base: u64, len: usize) -> Result<GuestRegionMmap<()>> {
    // SAFETY: the mapping has `len` bytes and outlives the region: both are
    // kept together in `Ram`, which drops the region first.
    let region = unsafe { MmapRegionBuilder::new(len).with_raw_mmap_pointer(mapping.start()) }
        .build()
        .map_err(|error| Error::internal("guest memory mapping", error))?;
    GuestRegionMmap::new(region, GuestAddress(base))
        .ok_or_else(|| Error::internal("guest memory range", "it wraps around"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot::layout::{GIB, HIGH_RAM, LOW_RAM_LIMIT, MIB};
    use vm_memory::{Address, Bytes, GuestMemoryBackend, GuestMemoryRegion};

    fn config(bytes: u64, backing: Backing) -> MemoryConfig {
        MemoryConfig {
            layout: MemoryLayout::new(bytes).unwrap(),
            backing,
            transparent_huge_pages: None,
            prefault: false,
        }
    }

    fn ranges(ram: &Ram) -> Vec<(u64, u64)> {
        let regions = ram.iter();
        regions
            .map(|region| (region.start_addr().raw_value(), region.len()))
            .collect()
    }

    #[test]
    fn memory_goes_around_the_hole_and_is_aligned_for_huge_pages() {
        for backing in [Backing::Anonymous, Backing::Shared] {
            let ram = allocate(&config(5 * GIB, backing)).unwrap();
            let around = [(0, LOW_RAM_LIMIT), (HIGH_RAM, 2 * GIB)];
            assert_eq!(ranges(&ram), around);
            for (start, _) in around {
                let host = ram.get_host_address(GuestAddress(start)).unwrap();
                assert_eq!(host.addr() % (2 << 20), 0);
            }
        }
    }

    #[test]
    fn memory_is_zero_and_its_parts_are_apart() {
        for backing in [Backing::Anonymous, Backing::Shared] {
            let ram = allocate(&config(4 * GIB, backing)).unwrap();
            let ends = [0, LOW_RAM_LIMIT - 8, HIGH_RAM, HIGH_RAM + GIB - 8];
            for end in ends {
                assert_eq!(ram.read_obj::<u64>(GuestAddress(end)).unwrap(), 0);
                ram.write_obj(end + 1, GuestAddress(end)).unwrap();
            }
            for end in ends {
                assert_eq!(ram.read_obj::<u64>(GuestAddress(end)).unwrap(), end + 1);
            }
            assert!(ram.read_obj::<u64>(GuestAddress(LOW_RAM_LIMIT)).is_err());
        }
    }

    #[test]
    fn advice_and_allocation_in_advance_change_no_contents() {
        for backing in [Backing::Anonymous, Backing::Shared] {
            for transparent_huge_pages in [Some(true), Some(false)] {
                let ram = allocate(&MemoryConfig {
                    transparent_huge_pages,
                    prefault: true,
                    ..config(64 * MIB, backing)
                });
                let ram = ram.unwrap();
                let last = GuestAddress(64 * MIB - 8);
                assert_eq!(ram.read_obj::<u64>(last).unwrap(), 0);
            }
        }
    }

    #[test]
    fn room_to_grow_is_there_and_takes_no_memory_until_it_is_used() {
        for backing in [Backing::Anonymous, Backing::Shared] {
            let small = config(64 * MIB, backing);
            let ram = allocate(&MemoryConfig {
                layout: small.layout.growing_to(4 * GIB + 64 * MIB).unwrap(),
                prefault: true,
                ..small
            });
            let ram = ram.unwrap();
            assert_eq!(ranges(&ram), [(0, 64 * MIB), (HIGH_RAM, 4 * GIB)]);
            assert_eq!(ram.resident().unwrap(), 64 * MIB);
            let last = HIGH_RAM + 4 * GIB - 2 * MIB;
            ram.write_obj(7_u64, GuestAddress(last)).unwrap();
            assert!(ram.resident().unwrap() > 64 * MIB);
            ram.discard(last..last + 2 * MIB).unwrap();
            assert_eq!(ram.read_obj::<u64>(GuestAddress(last)).unwrap(), 0);
            assert_eq!(ram.read_obj::<u64>(GuestAddress(0)).unwrap(), 0);
        }
    }

    #[test]
    fn huge_pages_that_are_not_there_are_refused_and_not_promised() {
        // More than any pool of a machine that runs tests.
        for backing in [Backing::Huge2M, Backing::Huge1G] {
            let error = allocate(&config(1 << 44, backing)).unwrap_err();
            let Error::Memory { bytes, .. } = error else {
                panic!("{error}");
            };
            assert_eq!(bytes, 1 << 44);
        }
    }
}
