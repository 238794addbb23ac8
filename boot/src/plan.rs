//! The boot plan: every piece of guest memory and the first registers.
//!
//! [`plan`] is the crate's one operation. It picks the format and the
//! protocol, gathers the segments from the files of this crate, and checks
//! them as a whole: inside RAM, and disjoint. The VMM performs the plan.

use std::fmt;
use std::ops::Range;

use linux_loader::bootparam::setup_header;

use crate::bzimage::BzImage;
use crate::elf::ElfKernel;
use crate::entry::EntryState;
use crate::image::{Format, Image, KernelImage};
use crate::layout::COMMAND_LINE;
use crate::{CommandLine, Error, Machine, Protocol, Result};
use crate::{acpi, initrd, linux, machine, page_tables, pvh, smbios};

/// What to put into guest memory, and how to start the first vCPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootPlan {
    /// How the kernel is entered: never [`Protocol::Auto`].
    pub protocol: Protocol,
    /// What lies where: disjoint, inside guest RAM, lowest address first.
    pub segments: Vec<Segment>,
    /// The registers of the first vCPU.
    pub entry: EntryState,
}

/// A piece of guest memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Segment {
    /// What it is, for messages.
    pub name: &'static str,
    /// Its first guest-physical address.
    pub address: u64,
    /// Its length in guest memory, in bytes. What lies beyond its content must
    /// read as zero, as fresh memory does.
    pub length: u64,
    /// What it starts with.
    pub content: Content,
}

/// Where the bytes of a segment come from.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// A range of the kernel image, in bytes.
    Kernel {
        /// Where it starts in the file.
        offset: u64,
        /// Its length; at most the segment's.
        length: u64,
    },
    /// The whole initrd.
    Initrd {
        /// Its length in bytes; the segment's.
        length: u64,
    },
    /// Bytes made by this crate; as many as the segment has.
    Bytes(Vec<u8>),
    /// Nothing but zeros.
    Zero,
}

/// Plans the boot of `kernel` on `machine`.
///
/// Reads only the kernel's headers.
///
/// # Errors
///
/// [`Error`] says what is wrong with the kernel image, or why it and the
/// machine do not go together.
pub fn plan(kernel: &dyn KernelImage, machine: &Machine) -> Result<BootPlan> {
    machine::check_devices(machine.virtio_mmio)?;
    let kernel = Kernel::parse(&Image::new(kernel)?, machine.protocol)?;
    machine
        .command_line
        .check_length(kernel.command_line_limit)?;

    let mut segments = kernel.segments;
    let room = machine.memory.loadable();
    for segment in &segments {
        segment.check_inside(&room)?;
    }
    let kernel_end = segments.iter().map(Segment::end).max().unwrap_or(0);

    let initrd = machine
        .initrd
        .map(|length| {
            let limit = room.end.min(kernel.initrd_limit);
            initrd::place(length, room.start..limit, &segments)
        })
        .transpose()?;
    segments.extend(initrd.clone().map(Segment::initrd));

    segments.push(Segment::bytes(
        "command line",
        COMMAND_LINE,
        machine.command_line.to_bytes(),
    ));
    segments.push(acpi::tables(machine));
    segments.push(smbios::tables(machine.identity));

    let (protocol, entry) = match kernel.entry {
        Entry::Linux64 { rip, header } => {
            segments.push(linux::zero_page(header, &machine.memory, initrd));
            segments.push(page_tables::identity(kernel_end));
            (Protocol::Linux64, EntryState::linux64(rip))
        }
        Entry::Pvh { rip } => {
            segments.push(pvh::start_info(&machine.memory, initrd));
            (Protocol::Pvh, EntryState::pvh32(rip))
        }
    };
    segments.push(entry.gdt());

    sort_disjoint(&mut segments)?;
    Ok(BootPlan {
        protocol,
        segments,
        entry,
    })
}

/// What the plan needs to know of a kernel, whatever its format.
struct Kernel {
    segments: Vec<Segment>,
    entry: Entry,
    command_line_limit: usize,
    /// First address the initrd must not reach.
    initrd_limit: u64,
}

enum Entry {
    Linux64 { rip: u64, header: setup_header },
    Pvh { rip: u64 },
}

impl Kernel {
    fn parse(image: &Image, protocol: Protocol) -> Result<Self> {
        match (image.format()?, protocol) {
            (Format::Elf, _) => Kernel::from_elf(image, protocol),
            (Format::BzImage, Protocol::Auto | Protocol::Linux64) => Kernel::from_bzimage(image),
            (Format::BzImage, Protocol::Pvh) => Err(Error::NoEntry(
                "a bzImage cannot be booted with PVH; give the uncompressed ELF kernel \
                 (vmlinux), or boot it with the Linux protocol",
            )),
        }
    }
}

impl Kernel {
    fn from_elf(image: &Image, protocol: Protocol) -> Result<Self> {
        let elf = ElfKernel::parse(image)?;
        let segments = elf.segments()?;
        let entry = match protocol {
            Protocol::Auto | Protocol::Linux64 => Entry::Linux64 {
                rip: elf.linux_entry(),
                header: linux::fresh_header(),
            },
            Protocol::Pvh => Entry::Pvh {
                rip: elf.pvh_entry()?,
            },
        };
        let rip = entry.rip();
        if !segments.iter().any(|segment| segment.has_content_at(rip)) {
            return Err(Error::Malformed(format!(
                "its entry point {rip:#x} is in none of its segments"
            )));
        }
        Ok(Kernel {
            segments,
            entry,
            command_line_limit: CommandLine::MAX,
            initrd_limit: u64::MAX,
        })
    }

    fn from_bzimage(image: &Image) -> Result<Self> {
        let bzimage = BzImage::parse(image)?;
        let header = bzimage.header();
        Ok(Kernel {
            segments: vec![bzimage.segment()],
            entry: Entry::Linux64 {
                rip: bzimage.entry(),
                header,
            },
            command_line_limit: bzimage.command_line_limit(),
            // The header has the last address, the plan the one after it.
            initrd_limit: u64::from(header.initrd_addr_max) + 1,
        })
    }
}

impl Entry {
    fn rip(&self) -> u64 {
        match self {
            Entry::Linux64 { rip, .. } | Entry::Pvh { rip } => *rip,
        }
    }
}

impl Segment {
    /// A segment of exactly these bytes.
    pub(crate) fn bytes(name: &'static str, address: u64, bytes: Vec<u8>) -> Self {
        Segment {
            name,
            address,
            length: bytes.len() as u64,
            content: Content::Bytes(bytes),
        }
    }

    fn initrd(place: Range<u64>) -> Self {
        let length = place.end - place.start;
        Segment {
            name: "initrd",
            address: place.start,
            length,
            content: Content::Initrd { length },
        }
    }

    /// The guest-physical addresses it takes.
    pub fn range(&self) -> Range<u64> {
        self.address..self.end()
    }

    /// The address after its last. Whoever makes a segment checks the sum.
    fn end(&self) -> u64 {
        self.address + self.length
    }

    pub(crate) fn overlaps(&self, other: &Range<u64>) -> bool {
        self.address < other.end && other.start < self.end()
    }

    /// Whether the byte at `address` comes from the kernel image.
    fn has_content_at(&self, address: u64) -> bool {
        match self.content {
            Content::Kernel { length, .. } => {
                (self.address..self.address + length).contains(&address)
            }
            _ => false,
        }
    }

    fn check_inside(&self, ram: &Range<u64>) -> Result<()> {
        if self.address < ram.start || self.end() > ram.end {
            return Err(Error::OutsideRam {
                what: self.name,
                needs: self.range(),
                ram: ram.clone(),
            });
        }
        Ok(())
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.range();
        write!(f, "{} {start:#x}-{end:#x} {:?}", self.name, self.content)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Kernel { offset, length } => write!(f, "kernel bytes {length} at {offset:#x}"),
            Content::Initrd { length } => write!(f, "initrd bytes {length}"),
            Content::Bytes(bytes) => write!(f, "bytes {}", bytes.len()),
            Content::Zero => f.write_str("zero"),
        }
    }
}

/// Sorts by address and refuses segments that overlap.
fn sort_disjoint(segments: &mut [Segment]) -> Result<()> {
    segments.sort_by_key(|segment| segment.address);
    for pair in segments.windows(2) {
        if pair[0].overlaps(&pair[1].range()) {
            return Err(Error::Overlap {
                first: pair[0].name,
                first_at: pair[0].range(),
                second: pair[1].name,
                second_at: pair[1].range(),
            });
        }
    }
    Ok(())
}
