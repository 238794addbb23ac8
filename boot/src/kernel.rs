//! What a plan needs to know of a kernel, whatever its format.
//!
//! Called by the plan. Here formats and protocols meet: which of them go
//! together, and that the entry point is in the kernel.

use linux_loader::bootparam::setup_header;

use crate::bzimage::BzImage;
use crate::elf::ElfKernel;
use crate::image::{Format, Image};
use crate::segment::Segment;
use crate::{CommandLine, Error, Protocol, Result, linux};

/// A kernel whose headers were checked.
pub(crate) struct Kernel {
    pub(crate) segments: Vec<Segment>,
    pub(crate) entry: Entry,
    /// Most bytes of command line, without the terminating NUL.
    pub(crate) command_line_limit: usize,
    /// First address the initrd must not reach.
    pub(crate) initrd_limit: u64,
}

/// Where and how a kernel is entered.
pub(crate) enum Entry {
    Linux64 { rip: u64, header: setup_header },
    Pvh { rip: u64 },
}

impl Kernel {
    /// Parses the headers of a kernel in any format.
    pub(crate) fn parse(image: &Image, protocol: Protocol) -> Result<Self> {
        match (image.format()?, protocol) {
            (Format::Elf, _) => Kernel::from_elf(image, protocol),
            (Format::BzImage, Protocol::Auto | Protocol::Linux64) => Kernel::from_bzimage(image),
            (Format::BzImage, Protocol::Pvh) => Err(Error::NoEntry(
                "a bzImage cannot be booted with PVH; give the uncompressed ELF kernel \
                 (vmlinux), or boot it with the Linux protocol",
            )),
        }
    }

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
