//! An uncompressed ELF kernel (vmlinux): program headers become segments.
//!
//! Called by the plan. Loads by physical address and enters either at the ELF
//! entry (64-bit Linux) or at the one a PVH note names. Every header is
//! checked before use; the kernel's contents are not read.

use linux_loader::elf::{
    EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2LSB, EM_X86_64, ET_EXEC, Elf64_Ehdr, Elf64_Phdr,
    PT_LOAD, PT_NOTE,
};
use vm_memory::ByteValued;

use crate::image::Image;
use crate::plan::{Content, Segment};
use crate::pvh;
use crate::{Error, Result};

const ET_DYN: u16 = 3;

/// A Linux kernel has about six; this bounds the work a file can ask for.
const MAX_PROGRAM_HEADERS: u16 = 64;

/// The ELF file's headers, checked.
pub(crate) struct ElfKernel<'a> {
    image: &'a Image<'a>,
    entry: u64,
    headers: Vec<Elf64_Phdr>,
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
        })
    }

    /// The loadable segments, in file order.
    pub(crate) fn segments(&self) -> Result<Vec<Segment>> {
        self.headers
            .iter()
            .filter(|header| header.p_type == PT_LOAD && header.p_memsz > 0)
            .map(|header| self.segment(header))
            .collect()
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
