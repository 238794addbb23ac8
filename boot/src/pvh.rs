//! The PVH boot protocol: a 32-bit entry named by an ELF note, and the
//! `hvm_start_info` the kernel finds through EBX.
//!
//! Called by the ELF parser for the note and by the plan for the start info.
//! Spec: Xen's docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h.

use std::ops::Range;

use linux_loader::elf::{Elf64_Nhdr, Elf64_Phdr};
use linux_loader::start_info::{
    XEN_HVM_START_MAGIC_VALUE, hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info,
};
use vm_memory::ByteValued;

use crate::image::Image;
use crate::layout::{ACPI, COMMAND_LINE, PVH_START_INFO};
use crate::memory::MemoryLayout;
use crate::segment::Segment;
use crate::{Error, Result};

/// Type of the note with the entry address (Xen public/elfnote.h).
const PHYS32_ENTRY: u32 = 18;
/// Owner of that note, with its NUL.
const OWNER: &[u8] = b"Xen\0";

/// Linux has a few hundred bytes of notes; this bounds what is read.
const MAX_NOTES: u64 = 64 << 10;

/// Looks for the PVH entry address in one segment of notes.
pub(crate) fn find_entry(image: &Image, header: &Elf64_Phdr) -> Result<Option<u64>> {
    let length = header.p_filesz;
    if length > MAX_NOTES {
        return Err(Error::Malformed(format!(
            "its ELF notes have {length} bytes, the limit is {MAX_NOTES}"
        )));
    }
    let length = usize::try_from(length).expect("MAX_NOTES fits usize");
    let mut notes = vec![0; length];
    image.read("ELF notes", &mut notes, header.p_offset)?;
    // Notes are padded to four bytes, or to eight if the segment says so.
    let padding = if header.p_align == 8 { 8 } else { 4 };
    Ok(entry_note(&notes, padding))
}

/// Walks the notes; one that is cut short ends the walk.
fn entry_note(mut notes: &[u8], padding: usize) -> Option<u64> {
    loop {
        let (head, rest) = notes.split_at_checked(size_of::<Elf64_Nhdr>())?;
        let mut header = Elf64_Nhdr::default();
        header.as_mut_slice().copy_from_slice(head);
        let (owner, rest) = split_padded(rest, header.n_namesz, padding)?;
        let (description, rest) = split_padded(rest, header.n_descsz, padding)?;
        if owner == OWNER && header.n_type == PHYS32_ENTRY {
            // A word of the kernel's build: four or eight bytes, and 32-bit.
            return match description.len() {
                4 => Some(u64::from(u32::from_le_bytes(description.try_into().ok()?))),
                8 => Some(u64::from_le_bytes(description.try_into().ok()?)),
                _ => None,
            };
        }
        notes = rest;
    }
}

/// Takes `length` bytes off the front, and the padding after them.
fn split_padded(bytes: &[u8], length: u32, padding: usize) -> Option<(&[u8], &[u8])> {
    let length = usize::try_from(length).ok()?;
    let (taken, _) = bytes.split_at_checked(length)?;
    // The last note of a segment need not be padded.
    let padded = length.next_multiple_of(padding).min(bytes.len());
    Some((taken, &bytes[padded..]))
}

/// The start info with its module list and memory map behind it.
pub(crate) fn start_info(memory: &MemoryLayout, initrd: Option<Range<u64>>) -> Segment {
    let modules: Vec<_> = initrd
        .map(|range| hvm_modlist_entry {
            paddr: range.start,
            size: range.end - range.start,
            ..Default::default()
        })
        .into_iter()
        .collect();
    let map: Vec<_> = memory
        .map()
        .iter()
        .map(|entry| hvm_memmap_table_entry {
            addr: entry.range.start,
            size: entry.length(),
            type_: entry.kind as u32,
            reserved: 0,
        })
        .collect();

    let modules_at = PVH_START_INFO + size_of::<hvm_start_info>() as u64;
    let map_at = modules_at + size_of_val(modules.as_slice()) as u64;
    let info = hvm_start_info {
        magic: XEN_HVM_START_MAGIC_VALUE,
        version: 1,
        flags: 0,
        nr_modules: count(&modules),
        modlist_paddr: if modules.is_empty() { 0 } else { modules_at },
        cmdline_paddr: COMMAND_LINE,
        rsdp_paddr: ACPI.start,
        memmap_paddr: map_at,
        memmap_entries: count(&map),
        reserved: 0,
    };

    let mut bytes = info.as_slice().to_vec();
    bytes.extend(modules.iter().flat_map(|module| module.as_slice()));
    bytes.extend(map.iter().flat_map(|entry| entry.as_slice()));
    Segment::bytes("PVH start info", PVH_START_INFO, bytes)
}

fn count<T>(entries: &[T]) -> u32 {
    u32::try_from(entries.len()).expect("a memory map has a handful of entries")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::bytes;
    use crate::layout::{GIB, MIB};

    fn u32_at(bytes: &[u8], offset: u64) -> u32 {
        let offset = usize::try_from(offset).unwrap();
        u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
    }

    fn u64_at(bytes: &[u8], offset: u64) -> u64 {
        let offset = usize::try_from(offset).unwrap();
        u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
    }

    /// Offsets are those of public/arch-x86/hvm/start_info.h.
    #[test]
    fn the_start_info_leads_to_the_initrd_and_the_memory_map() {
        let memory = MemoryLayout::new(4 * GIB).unwrap();
        let segment = start_info(&memory, Some(GIB..GIB + MIB));
        let info = bytes(&segment);
        assert_eq!(u32_at(info, 0), 0x336E_C578, "magic");
        assert_eq!(u32_at(info, 4), 1, "version");
        assert_eq!(u32_at(info, 12), 1, "nr_modules");
        assert_eq!(u64_at(info, 24), COMMAND_LINE, "cmdline_paddr");
        assert_eq!(u64_at(info, 32), ACPI.start, "rsdp_paddr");

        let module = u64_at(info, 16) - segment.address;
        assert_eq!((u64_at(info, module), u64_at(info, module + 8)), (GIB, MIB));

        let map = u64_at(info, 40) - segment.address;
        let entries = u64::from(u32_at(info, 48));
        assert_eq!(entries, memory.map().len() as u64);
        let last = map + 24 * (entries - 1);
        assert_eq!((u64_at(info, last), u64_at(info, last + 8)), (4 * GIB, GIB));
        assert_eq!(info.len() as u64, last + 24);
    }

    #[test]
    fn without_an_initrd_there_is_no_module() {
        let memory = MemoryLayout::new(64 * MIB).unwrap();
        let segment = start_info(&memory, None);
        let info = bytes(&segment);
        assert_eq!((u32_at(info, 12), u64_at(info, 16)), (0, 0));
    }
}
