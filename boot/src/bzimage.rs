//! A bzImage (vmlinuz): the compressed kernel with its own decompressor.
//!
//! Called by the plan. The protected-mode part is loaded whole and entered in
//! 64-bit mode; it decompresses itself in place, so guest memory is set aside
//! for what it will need. Spec: Documentation/arch/x86/boot.rst.

use std::cmp;

use linux_loader::bootparam::{LOADED_HIGH, XLF_KERNEL_64, setup_header};
use vm_memory::ByteValued;

use crate::image::Image;
use crate::layout::MIB;
use crate::segment::{Content, Segment};
use crate::{Error, Result};

/// Where the setup header starts in the file.
const SETUP_HEADER: u64 = 0x1F1;
/// From there to after its jump instruction, from which its length counts.
const BEFORE_LENGTH: usize = 0x202 - 0x1F1;
/// Boot protocol 2.12 brought `xloadflags`, and with it the 64-bit entry.
const MIN_VERSION: u16 = 0x020C;
const SECTOR: u64 = 512;
/// The 64-bit entry point lies here in the protected-mode part.
const ENTRY_64: u64 = 0x200;

/// The setup header, checked, and where the protected-mode part lies in the
/// file.
pub(crate) struct BzImage {
    header: setup_header,
    offset: u64,
    length: u64,
}

impl BzImage {
    /// Reads and checks the setup header.
    pub(crate) fn parse(image: &Image) -> Result<Self> {
        let header = read_header(image)?;
        check_entry(&header)?;

        // Zero stands for four, for very old kernels.
        let setup_sectors = match header.setup_sects {
            0 => 4,
            sectors => u64::from(sectors),
        };
        let offset = (setup_sectors + 1) * SECTOR;
        let promised = u64::from(header.syssize) * 16;
        image.check_range(
            "protected-mode part",
            offset,
            cmp::max(promised, ENTRY_64 + 1),
        )?;
        let payload = u64::from(header.payload_offset) + u64::from(header.payload_length);
        image.check_range("compressed payload", offset, payload)?;

        let kernel = BzImage {
            header,
            offset,
            length: image.size() - offset,
        };
        kernel.check_alignment()?;
        Ok(kernel)
    }

    /// The setup header, as the zero page wants it.
    pub(crate) fn header(&self) -> setup_header {
        self.header
    }

    /// Most bytes of command line this kernel takes.
    pub(crate) fn command_line_limit(&self) -> usize {
        usize::try_from(self.header.cmdline_size).unwrap_or(usize::MAX)
    }

    /// The protected-mode part and the memory it decompresses into.
    pub(crate) fn segment(&self) -> Segment {
        let address = self.load_address();
        let runtime_end = self.runtime_address() + u64::from(self.header.init_size);
        Segment {
            name: "kernel",
            address,
            length: cmp::max(self.length, runtime_end.saturating_sub(address)),
            content: Content::Kernel {
                offset: self.offset,
                length: self.length,
            },
        }
    }

    /// The 64-bit entry point.
    pub(crate) fn entry(&self) -> u64 {
        self.load_address() + ENTRY_64
    }

    fn is_relocatable(&self) -> bool {
        self.header.relocatable_kernel != 0
    }

    /// Where the kernel runs: a relocatable one stays where it was loaded, any
    /// other moves itself to its preferred address.
    fn runtime_address(&self) -> u64 {
        if self.is_relocatable() {
            let alignment = u64::from(self.header.kernel_alignment);
            self.header.pref_address.next_multiple_of(alignment)
        } else {
            self.header.pref_address
        }
    }

    fn load_address(&self) -> u64 {
        if self.is_relocatable() {
            self.runtime_address()
        } else {
            MIB
        }
    }

    /// Refuses addresses that later arithmetic could not hold.
    fn check_alignment(&self) -> Result<()> {
        let alignment = self.header.kernel_alignment;
        if self.is_relocatable() && !alignment.is_power_of_two() {
            return Err(Error::Malformed(format!(
                "its alignment is {alignment:#x}, not a power of two"
            )));
        }
        let preferred = self.header.pref_address;
        if preferred > u64::from(u32::MAX) {
            return Err(Error::Malformed(format!(
                "its preferred address is {preferred:#x}, beyond 4 GiB"
            )));
        }
        Ok(())
    }
}

/// The setup header with what lies beyond its own length set to zero.
fn read_header(image: &Image) -> Result<setup_header> {
    let mut header = setup_header::default();
    image.read("setup header", header.as_mut_slice(), SETUP_HEADER)?;
    let [_, jump] = header.jump.to_le_bytes();
    let length = BEFORE_LENGTH + usize::from(jump);
    if let Some(beyond) = header.as_mut_slice().get_mut(length..) {
        beyond.fill(0);
    }
    Ok(header)
}

fn check_entry(header: &setup_header) -> Result<()> {
    if header.version < MIN_VERSION {
        return Err(Error::NoEntry(
            "its boot protocol is older than 2.12; use Linux 3.8 or later",
        ));
    }
    if header.xloadflags & XLF_KERNEL_64 == 0 {
        return Err(Error::NoEntry("it is a 32-bit kernel; use a 64-bit one"));
    }
    if header.loadflags & LOADED_HIGH == 0 {
        return Err(Error::NoEntry("it is a zImage; use a bzImage"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{bzimage, setup_header as good};

    fn parse(header: setup_header) -> Result<BzImage> {
        BzImage::parse(&Image::new(&bzimage(header).as_slice())?)
    }

    #[test]
    fn a_relocatable_kernel_is_loaded_where_it_prefers() {
        let kernel = parse(good()).unwrap();
        let segment = kernel.segment();
        assert_eq!(segment.range(), 0x100_0000..0x400_0000);
        assert_eq!(
            segment.content,
            Content::Kernel {
                offset: 0x400,
                length: 0x1000
            }
        );
        assert_eq!(kernel.entry(), 0x100_0200);
    }

    #[test]
    fn a_preferred_address_is_rounded_up_to_the_alignment() {
        let kernel = parse(setup_header {
            pref_address: 0x10_0000,
            ..good()
        })
        .unwrap();
        assert_eq!(kernel.entry(), 0x20_0200);
    }

    #[test]
    fn a_fixed_kernel_is_loaded_at_1_mib_with_room_to_where_it_moves() {
        let kernel = parse(setup_header {
            relocatable_kernel: 0,
            kernel_alignment: 0,
            ..good()
        })
        .unwrap();
        assert_eq!(kernel.segment().range(), 0x10_0000..0x400_0000);
        assert_eq!(kernel.entry(), 0x10_0200);
    }

    #[test]
    fn fields_beyond_the_header_of_an_older_kernel_are_ignored() {
        let header = setup_header {
            version: 0x020C,
            // Up to handover_offset, exclusive: what follows is code.
            jump: u16::from_le_bytes([0xEB, 0x62]),
            handover_offset: 0x1234_5678,
            kernel_info_offset: 0x1234_5678,
            ..good()
        };
        let kept = parse(header).unwrap().header();
        assert_eq!({ kept.init_size }, 0x300_0000);
        assert_eq!({ kept.handover_offset }, 0);
        assert_eq!({ kept.kernel_info_offset }, 0);
    }

    #[test]
    fn kernels_without_a_64_bit_entry_are_refused() {
        for (header, text) in [
            (
                setup_header {
                    version: 0x020B,
                    ..good()
                },
                "older than 2.12",
            ),
            (
                setup_header {
                    xloadflags: 0,
                    ..good()
                },
                "32-bit kernel",
            ),
            (
                setup_header {
                    loadflags: 0,
                    ..good()
                },
                "zImage",
            ),
        ] {
            let message = parse(header).err().unwrap().to_string();
            assert!(message.contains(text), "{message}");
        }
    }

    #[test]
    fn impossible_addresses_are_refused() {
        for header in [
            setup_header {
                kernel_alignment: 0,
                ..good()
            },
            setup_header {
                kernel_alignment: 3,
                ..good()
            },
            setup_header {
                pref_address: u64::MAX,
                ..good()
            },
        ] {
            assert!(matches!(parse(header), Err(Error::Malformed(_))));
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_called_truncated() {
        let bytes = bzimage(good());
        for length in [0x230, 0x400, 0x500, bytes.len() - 1] {
            let image = &bytes[..length];
            assert!(matches!(
                BzImage::parse(&Image::new(&image).unwrap()),
                Err(Error::Truncated { .. })
            ));
        }
        let endless = setup_header {
            payload_length: u32::MAX,
            ..good()
        };
        assert!(matches!(parse(endless), Err(Error::Truncated { .. })));
    }
}
