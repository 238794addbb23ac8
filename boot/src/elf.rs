//! An uncompressed ELF kernel (vmlinux): program headers become segments.
//!
//! Called by the plan. Loads by physical address and enters either at the ELF
//! entry (64-bit Linux) or at the one a PVH note names. Every header is
//! checked before use; the kernel's contents are not read. What its sections say
//! is zero needs no reading later either.

use std::ops::Range;

use linux_loader::elf::{
    EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2LSB, EM_X86_64, ET_EXEC, Elf64_Ehdr, Elf64_Phdr,
    PT_LOAD, PT_NOTE,
};
use vm_memory::ByteValued;

use crate::image::Image;
use crate::pvh;
use crate::sections;
use crate::segment::{Content, Segment};
use crate::{Error, Result};

const ET_DYN: u16 = 3;

/// A Linux kernel has about six; this bounds the work a file can ask for.
const MAX_PROGRAM_HEADERS: u16 = 64;

/// The ELF file's headers, checked.
pub(crate) struct ElfKernel<'a> {
    image: &'a Image<'a>,
    entry: u64,
    headers: Vec<Elf64_Phdr>,
    /// The virtual addresses that are known to hold zeros.
    zeros: Vec<Range<u64>>,
}

impl<'a> ElfKernel<'a> {
    /// Reads and checks the headers.
    pub(crate) fn parse(image: &'a Image<'a>) -> Result<Self> {
        let mut header = Elf64_Ehdr::default();
        image.read("ELF header", header.as_mut_slice(), 0)?;
        check_kind(&header)?;
        let headers = read_program_headers(image, &header)?;
        Ok(ElfKernel {
            image,
            entry: header.e_entry,
            headers,
            zeros: sections::zeros(image, &header),
        })
    }

    /// The loadable segments, in file order, cut where they are zero.
    pub(crate) fn segments(&self) -> Result<Vec<Segment>> {
        let mut segments = Vec::new();
        for header in &self.headers {
            if header.p_type == PT_LOAD && header.p_memsz > 0 {
                let segment = self.segment(header)?;
                segments.extend(sections::cut(segment, header.p_vaddr, &self.zeros));
            }
        }
        Ok(segments)
    }

    /// The 64-bit Linux entry point.
    pub(crate) fn linux_entry(&self) -> u64 {
        self.entry
    }

    /// The 32-bit PVH entry point, from the ELF notes.
    pub(crate) fn pvh_entry(&self) -> Result<u64> {
        for header in self.headers.iter().filter(|h| h.p_type == PT_NOTE) {
            if let Some(entry) = pvh::find_entry(self.image, header)? {
                return Ok(entry);
            }
        }
        Err(Error::NoEntry(
            "it has no PVH note; build it with CONFIG_PVH, or boot it with the Linux protocol",
        ))
    }

    fn segment(&self, header: &Elf64_Phdr) -> Result<Segment> {
        let &Elf64_Phdr {
            p_offset: offset,
            p_filesz: file_size,
            p_memsz: memory_size,
            p_paddr: address,
            ..
        } = header;
        if file_size > memory_size {
            return Err(Error::Malformed(format!(
                "a segment has {file_size} bytes in the file but only {memory_size} in memory"
            )));
        }
        if address.checked_add(memory_size).is_none() {
            return Err(Error::Malformed(format!(
                "a segment of {memory_size} bytes at {address:#x} leaves the address space"
            )));
        }
        self.image.check_range("segment", offset, file_size)?;
        Ok(Segment {
            name: "kernel",
            address,
            length: memory_size,
            content: match file_size {
                0 => Content::Zero,
                length => Content::Kernel { offset, length },
            },
        })
    }
}

/// Refuses all but a little-endian 64-bit x86 program.
fn check_kind(header: &Elf64_Ehdr) -> Result<()> {
    let found = if header.e_machine != EM_X86_64 {
        format!("an ELF for {}", machine_name(header.e_machine))
    } else if header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB {
        "an ELF that is not 64-bit little-endian".into()
    } else if ![ET_EXEC, ET_DYN].contains(&header.e_type) {
        "an ELF object or core file, not a linked program".into()
    } else {
        return Ok(());
    };
    Err(Error::NotAKernel { found })
}

/// Names of the machines people have kernels for (ELF gABI, e_machine).
fn machine_name(machine: u16) -> String {
    match machine {
        3 => "32-bit x86".into(),
        8 => "MIPS".into(),
        20 => "32-bit PowerPC".into(),
        21 => "64-bit PowerPC".into(),
        22 => "s390".into(),
        40 => "32-bit Arm".into(),
        183 => "aarch64".into(),
        243 => "RISC-V".into(),
        258 => "LoongArch".into(),
        other => format!("machine number {other}"),
    }
}

fn read_program_headers(image: &Image, header: &Elf64_Ehdr) -> Result<Vec<Elf64_Phdr>> {
    let count = header.e_phnum;
    if usize::from(header.e_phentsize) != size_of::<Elf64_Phdr>() {
        return Err(Error::Malformed(format!(
            "its program headers have {} bytes each, not {}",
            header.e_phentsize,
            size_of::<Elf64_Phdr>()
        )));
    }
    if count == 0 || count > MAX_PROGRAM_HEADERS {
        return Err(Error::Malformed(format!(
            "it has {count} program headers, not 1 to {MAX_PROGRAM_HEADERS}"
        )));
    }
    let size = u64::from(count) * size_of::<Elf64_Phdr>() as u64;
    image.check_range("program header table", header.e_phoff, size)?;
    (header.e_phoff..header.e_phoff + size)
        .step_by(size_of::<Elf64_Phdr>())
        .map(|offset| {
            let mut program_header = Elf64_Phdr::default();
            image.read(
                "program header table",
                program_header.as_mut_slice(),
                offset,
            )?;
            Ok(program_header)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Load, TEXT_AND_DATA, elf, note};

    fn segments(bytes: &[u8]) -> Result<Vec<Segment>> {
        ElfKernel::parse(&Image::new(&bytes)?)?.segments()
    }

    fn pvh_entry(notes: &[u8]) -> Result<u64> {
        let bytes = elf(&TEXT_AND_DATA, notes);
        ElfKernel::parse(&Image::new(&bytes.as_slice())?)?.pvh_entry()
    }

    #[test]
    fn segments_refer_to_the_file_and_leave_bss_to_zeros() {
        let segments = segments(&elf(&TEXT_AND_DATA, &[])).unwrap();
        let [text, data] = &segments[..] else {
            panic!("{segments:?}");
        };
        assert_eq!((text.address, text.length), (0x100_0000, 0x1000));
        assert_eq!((data.address, data.length), (0x120_0000, 0x8000));
        let headers = 64 + 3 * 56;
        assert_eq!(
            data.content,
            Content::Kernel {
                offset: headers + 0x1000,
                length: 0x200
            }
        );
    }

    #[test]
    fn what_sections_say_is_zero_is_not_read() {
        const ZEROS: u64 = 0x4_0000;
        let length = 0x1000 + ZEROS + 0x1000;
        let load = Load {
            address: 0x100_0000,
            file_size: length,
            memory_size: length,
        };
        let mut bytes = elf(&[load], &[]);
        // The kernel runs at other addresses than it is loaded to.
        let first = 0xffff_ffff_8100_0000_u64;
        bytes[64 + 16..64 + 24].copy_from_slice(&first.to_le_bytes());
        let table = bytes.len() as u64;
        let words = [2, first + 0x1000, 0, ZEROS, 0, 0, 0];
        bytes.extend([0, 8].map(u32::to_le_bytes).concat());
        bytes.extend(words.map(u64::to_le_bytes).concat());
        bytes[40..48].copy_from_slice(&table.to_le_bytes());
        bytes[58..62].copy_from_slice(&[64, 0, 1, 0]);
        let read = |offset: u64| Content::Kernel {
            offset: 64 + 2 * 56 + offset,
            length: 0x1000,
        };
        let found = segments(&bytes).unwrap().into_iter();
        let found: Vec<_> = found
            .map(|piece| (piece.address, piece.length, piece.content))
            .collect();
        assert_eq!(
            found,
            [
                (0x100_0000, 0x1000, read(0)),
                (0x100_1000, ZEROS, Content::Zero),
                (0x104_1000, 0x1000, read(0x1000 + ZEROS)),
            ]
        );
    }

    #[test]
    fn a_segment_without_file_content_is_zero_and_one_without_memory_is_none() {
        let bss = Load {
            address: 0x100_0000,
            file_size: 0,
            memory_size: 0x1000,
        };
        let nothing = Load {
            memory_size: 0,
            ..bss
        };
        let segments = segments(&elf(&[bss, nothing], &[])).unwrap();
        assert_eq!(segments.len(), 1);
        assert_eq!(segments[0].content, Content::Zero);
    }

    #[test]
    fn a_file_cut_anywhere_is_called_truncated() {
        let bytes = elf(&TEXT_AND_DATA, &[]);
        for length in [10, 63, 100, 64 + 3 * 56, bytes.len() - 1] {
            let error = segments(&bytes[..length]).unwrap_err();
            assert!(
                matches!(error, Error::Truncated { size, .. } if size == length as u64),
                "{length}: {error}"
            );
        }
    }

    /// Changes bytes at an offset and expects a refusal with this text.
    #[track_caller]
    fn refused(offset: usize, change: &[u8], text: &str) {
        let mut bytes = elf(&TEXT_AND_DATA, &[]);
        bytes[offset..offset + change.len()].copy_from_slice(change);
        let message = segments(&bytes).unwrap_err().to_string();
        assert!(message.contains(text), "{message}");
    }

    #[test]
    fn another_machine_is_named() {
        refused(18, &[183, 0], "an ELF for aarch64");
        refused(18, &[3, 0], "an ELF for 32-bit x86");
        refused(18, &[0xFE, 0xFE], "an ELF for machine number 65278");
    }

    #[test]
    fn other_kinds_of_elf_are_refused() {
        refused(4, &[1], "not 64-bit little-endian");
        refused(5, &[2], "not 64-bit little-endian");
        refused(16, &[1], "not a linked program");
    }

    #[test]
    fn program_headers_out_of_bounds_are_refused() {
        refused(54, &[32, 0], "32 bytes each");
        refused(56, &[0, 0], "0 program headers");
        refused(56, &[0xFF, 0xFF], "65535 program headers");
        refused(32, &[0xFF; 8], "truncated");
    }

    #[test]
    fn segments_with_impossible_sizes_are_refused() {
        let text = 64;
        let (address, file_size, memory_size) = (text + 24, text + 32, text + 40);
        refused(memory_size, &[0xFF, 0x0F], "only 4095 in memory");
        refused(file_size, &[0xFF; 8], "only 4096 in memory");
        refused(address, &[0xFF; 8], "leaves the address space");
    }

    #[test]
    fn the_pvh_entry_is_found_among_other_notes() {
        let notes = [
            note(b"Linux\0", 18, &[9; 4]),
            note(b"Xen\0", 6, b"linux\0"),
            note(b"Xen\0", 18, &0x100_0850_u64.to_le_bytes()),
        ]
        .concat();
        assert_eq!(pvh_entry(&notes).unwrap(), 0x100_0850);
        let short = note(b"Xen\0", 18, &0x100_0850_u32.to_le_bytes());
        assert_eq!(pvh_entry(&short).unwrap(), 0x100_0850);
    }

    #[test]
    fn without_a_usable_note_the_remedy_is_named() {
        let odd = note(b"Xen\0", 18, &[1; 6]);
        let mut cut = note(b"Xen\0", 18, &[1; 8]);
        cut.truncate(20);
        let endless = [0xFF; 64];
        for notes in [&[][..], &odd, &cut, &endless] {
            let message = pvh_entry(notes).unwrap_err().to_string();
            assert!(message.contains("CONFIG_PVH"), "{message}");
        }
        assert!(matches!(
            pvh_entry(&vec![0; 70 << 10]),
            Err(Error::Malformed(_))
        ));
    }
}
