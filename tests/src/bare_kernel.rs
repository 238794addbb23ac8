//! A kernel of a few instructions, for guests that do one thing wrong.

use std::io::Write;
use std::path::Path;

use tempfile::NamedTempFile;

/// Where it is loaded and entered, in 64-bit mode with memory mapped one to
/// one.
const ADDRESS: u64 = 0x10_0000;
/// Sizes of an ELF header and a program header (ELF gABI).
const HEADERS: u16 = 64 + 56;

/// An ELF file.
#[derive(Debug)]
pub struct BareKernel {
    file: NamedTempFile,
}

impl BareKernel {
    /// A kernel that is `code`.
    pub fn of(code: &[u8]) -> Self {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(&elf(code)).unwrap();
        Self { file }
    }
}

impl AsRef<Path> for BareKernel {
    fn as_ref(&self) -> &Path {
        self.file.path()
    }
}

/// One segment that is loaded where it is linked (ELF gABI, chapters 4, 5).
fn elf(code: &[u8]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    let mut push = |value: u64, bytes: usize| file.extend(&value.to_le_bytes()[..bytes]);
    push(2, 2); // e_type: ET_EXEC
    push(62, 2); // e_machine: EM_X86_64
    push(1, 4); // e_version
    push(ADDRESS, 8); // e_entry
    push(64, 8); // e_phoff
    push(0, 8); // e_shoff
    push(0, 4); // e_flags
    push(64, 2); // e_ehsize
    push(56, 2); // e_phentsize
    push(1, 2); // e_phnum
    push(0, 6); // no section headers
    let length = code.len() as u64;
    push(1, 4); // p_type: PT_LOAD
    push(7, 4); // p_flags: all
    push(HEADERS.into(), 8); // p_offset
    push(ADDRESS, 8); // p_vaddr
    push(ADDRESS, 8); // p_paddr
    push(length, 8); // p_filesz
    push(length, 8); // p_memsz
    push(1, 8); // p_align
    file.extend(code);
    file
}
