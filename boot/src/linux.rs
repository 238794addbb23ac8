//! The zero page (`struct boot_params`) of the 64-bit Linux boot protocol.
//!
//! Called by the plan for vmlinux and bzImage alike; a bzImage brings its own
//! setup header, a vmlinux gets a fresh one. Spec: Documentation/arch/x86/
//! {boot,zero-page}.rst.

use std::ops::Range;

use linux_loader::bootparam::{LOADED_HIGH, boot_e820_entry, boot_params, setup_header};
use vm_memory::ByteValued;

use crate::layout::{ACPI, BOOT_PARAMS, COMMAND_LINE};
use crate::memory::MemoryLayout;
use crate::segment::Segment;

/// `type_of_loader` of a boot loader without a number of its own.
const UNDEFINED_LOADER: u8 = 0xFF;

/// The version of the boot protocol followed here: the first with a 64-bit
/// entry.
const PROTOCOL_VERSION: u16 = 0x020C;

/// The setup header for a kernel that brings none.
pub(crate) fn fresh_header() -> setup_header {
    setup_header {
        version: PROTOCOL_VERSION,
        loadflags: LOADED_HIGH,
        ..Default::default()
    }
}

/// Makes the zero page from a kernel's setup header.
pub(crate) fn zero_page(
    header: setup_header,
    memory: &MemoryLayout,
    initrd: Option<Range<u64>>,
) -> Segment {
    let mut page = boot_params {
        hdr: header,
        acpi_rsdp_addr: ACPI.start,
        ..Default::default()
    };
    page.hdr.boot_flag = 0xAA55;
    page.hdr.header = u32::from_le_bytes(*b"HdrS");
    page.hdr.type_of_loader = UNDEFINED_LOADER;
    (page.hdr.cmd_line_ptr, page.ext_cmd_line_ptr) = halves(COMMAND_LINE);
    if let Some(initrd) = initrd {
        (page.hdr.ramdisk_image, page.ext_ramdisk_image) = halves(initrd.start);
        (page.hdr.ramdisk_size, page.ext_ramdisk_size) = halves(initrd.end - initrd.start);
    }

    let map = memory.map();
    page.e820_entries = u8::try_from(map.len()).expect("a memory map has a handful of entries");
    let mut table = page.e820_table;
    for (slot, entry) in table.iter_mut().zip(&map) {
        *slot = boot_e820_entry {
            addr: entry.range.start,
            size: entry.length(),
            r#type: entry.kind as u32,
        };
    }
    page.e820_table = table;

    Segment::bytes("zero page", BOOT_PARAMS, page.as_slice().to_vec())
}

/// The low and the high 32 bits, which the protocol keeps apart.
fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{GIB, MIB};
    use crate::segment::Content;

    fn u32_at(bytes: &[u8], offset: usize) -> u32 {
        u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
    }

    fn u64_at(bytes: &[u8], offset: usize) -> u64 {
        u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
    }

    /// Offsets are those of Documentation/arch/x86/zero-page.rst.
    #[test]
    fn the_kernel_finds_everything_at_its_documented_offset() {
        let memory = MemoryLayout::new(4 * GIB).unwrap();
        let header = setup_header {
            init_size: 0x1234,
            ..Default::default()
        };
        let segment = zero_page(header, &memory, Some(2 * GIB..2 * GIB + MIB));
        let Content::Bytes(page) = segment.content else {
            panic!("the zero page is made here");
        };
        assert_eq!(page.len(), 4096);
        assert_eq!(u64_at(&page, 0x070), 0xE_0000, "acpi_rsdp_addr");
        assert_eq!(page[0x1EF], 0, "sentinel");
        assert_eq!(page[0x210], 0xFF, "type_of_loader");
        assert_eq!(u32_at(&page, 0x218), 0x8000_0000, "ramdisk_image");
        assert_eq!(u32_at(&page, 0x21C), 0x10_0000, "ramdisk_size");
        assert_eq!(u32_at(&page, 0x228), 0x2_0000, "cmd_line_ptr");
        assert_eq!(
            u32_at(&page, 0x260),
            0x1234,
            "init_size is the kernel's own"
        );
        assert_eq!(usize::from(page[0x1E8]), memory.map().len(), "e820_entries");
        assert_eq!(u64_at(&page, 0x2D0), 0, "first e820 entry");
        assert_eq!(u64_at(&page, 0x2D8), 0x9_FC00);
        assert_eq!(u32_at(&page, 0x2E0), 1);
        let last = 0x2D0 + 20 * (memory.map().len() - 1);
        assert_eq!(u64_at(&page, last), 4 * GIB, "last e820 entry");
        assert_eq!(u64_at(&page, last + 8), GIB);
    }

    #[test]
    fn an_address_beyond_4_gib_is_split() {
        assert_eq!(halves(0x1_2345_6789), (0x2345_6789, 1));
    }
}
