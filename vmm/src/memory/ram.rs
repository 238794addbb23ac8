//! Allocating a guest's memory.

use std::fs::File;
use std::io;

use boot::MemoryLayout;
use devices::memory::Ram;
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
    /// Whether to allocate all of it before the guest starts.
    pub prefault: bool,
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
    for range in config.layout.ranges() {
        let len = usize::try_from(range.end - range.start)
            .map_err(|_| refused(io::Error::from(io::ErrorKind::OutOfMemory)))?;
        let source = match (&file, config.backing) {
            (None, _) => Source::Anonymous,
            (Some(file), Backing::Shared) => Source::File(file, file_offset),
            (Some(file), _) => Source::HugePages(file, file_offset),
        };
        let mapping = map(config, &source, len).map_err(refused)?;
        regions.push(region(&mapping, range.start, len)?);
        mappings.push(mapping);
        file_offset += range.end - range.start;
    }
    let memory = GuestMemoryMmap::from_regions(regions)
        .map_err(|error| Error::internal("guest memory ranges", error))?;
    Ok(Ram::with_backing(memory, mappings))
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
    ftruncate(&file, config.layout.bytes())?;
    Ok(Some(file))
}

fn map(config: &MemoryConfig, source: &Source<'_>, len: usize) -> io::Result<Mapping> {
    let alignment = usize::try_from(config.backing.page_size()).expect("a page fits");
    let mapping = Mapping::new(source, len, alignment)?;
    if let Some(wanted) = config.transparent_huge_pages {
        mapping.advise_huge_pages(wanted)?;
    }
    if config.prefault {
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
