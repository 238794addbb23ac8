//! Kernels and machines for the tests of this crate, made byte by byte.

use std::ops::Range;

use linux_loader::bootparam::{LOADED_HIGH, XLF_KERNEL_64, setup_header};
use linux_loader::elf::{ELFMAG, EM_X86_64, ET_EXEC, Elf64_Ehdr, Elf64_Phdr, PT_LOAD, PT_NOTE};
use vm_memory::ByteValued;

use crate::layout::MIB;
use crate::smbios::Identity;
use crate::{
    BootPlan, CommandLine, Content, CpuCount, Machine, MemoryLayout, MmioDevice, Protocol, Segment,
};

/// Everything a [`Machine`] borrows.
pub(crate) struct Parts {
    pub(crate) command_line: CommandLine,
    pub(crate) devices: Vec<MmioDevice>,
    pub(crate) identity: Identity,
}

impl Parts {
    pub(crate) fn new() -> Self {
        Parts {
            command_line: CommandLine::new("console=ttyS0").unwrap(),
            devices: (0..2).filter_map(MmioDevice::at_slot).collect(),
            identity: Identity::default(),
        }
    }

    /// Two vCPUs, 128 MiB, a serial port, no initrd.
    pub(crate) fn machine(&self) -> Machine<'_> {
        Machine {
            memory: MemoryLayout::new(128 * MIB).unwrap(),
            cpus: CpuCount::new(2).unwrap(),
            max_cpus: None,
            command_line: &self.command_line,
            initrd: None,
            protocol: Protocol::Auto,
            virtio_mmio: &self.devices,
            pci: None,
            generation_id: None,
            watchdog: false,
            power_button: false,
            panic_port: false,
            serial: true,
            rtc: false,
            identity: &self.identity,
        }
    }
}

/// A loadable segment of [`elf`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) address: u64,
    pub(crate) file_size: u64,
    pub(crate) memory_size: u64,
}

/// Text at 16 MiB, and data with BSS after it.
pub(crate) const TEXT_AND_DATA: [Load; 2] = [
    Load {
        address: 16 * MIB,
        file_size: 0x1000,
        memory_size: 0x1000,
    },
    Load {
        address: 18 * MIB,
        file_size: 0x200,
        memory_size: 0x8000,
    },
];

/// An ELF kernel that is entered at its first segment, with ELF notes after
/// the segments.
pub(crate) fn elf(loads: &[Load], notes: &[u8]) -> Vec<u8> {
    let count = loads.len() + 1;
    let headers_at = size_of::<Elf64_Ehdr>();
    let mut header = Elf64_Ehdr {
        e_type: ET_EXEC,
        e_machine: EM_X86_64,
        e_version: 1,
        e_entry: loads.first().map_or(0, |load| load.address),
        e_phoff: headers_at as u64,
        e_phentsize: 56,
        e_phnum: u16::try_from(count).unwrap(),
        ..Default::default()
    };
    header.e_ident[..4].copy_from_slice(ELFMAG);
    header.e_ident[4..7].copy_from_slice(&[2, 1, 1]);

    let mut offset = (headers_at + count * size_of::<Elf64_Phdr>()) as u64;
    let mut bytes = header.as_slice().to_vec();
    for load in loads {
        let header = Elf64_Phdr {
            p_type: PT_LOAD,
            p_offset: offset,
            p_paddr: load.address,
            p_filesz: load.file_size,
            p_memsz: load.memory_size,
            ..Default::default()
        };
        bytes.extend(header.as_slice());
        offset += load.file_size;
    }
    let note_header = Elf64_Phdr {
        p_type: PT_NOTE,
        p_offset: offset,
        p_filesz: notes.len() as u64,
        p_align: 4,
        ..Default::default()
    };
    bytes.extend(note_header.as_slice());
    bytes.resize(usize::try_from(offset).unwrap(), 0x90);
    bytes.extend(notes);
    bytes
}

/// One ELF note, padded to four bytes.
pub(crate) fn note(owner: &[u8], kind: u32, description: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for length in [owner.len(), description.len()] {
        bytes.extend(u32::try_from(length).unwrap().to_le_bytes());
    }
    bytes.extend(kind.to_le_bytes());
    for part in [owner, description] {
        bytes.extend(part);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// The setup header of a relocatable 64-bit kernel, protocol 2.15.
pub(crate) fn setup_header() -> setup_header {
    setup_header {
        setup_sects: 1,
        syssize: 0x1000 / 16,
        boot_flag: 0xAA55,
        jump: u16::from_le_bytes([0xEB, 0x6A]),
        header: u32::from_le_bytes(*b"HdrS"),
        version: 0x020F,
        loadflags: LOADED_HIGH,
        initrd_addr_max: 0x7FFF_FFFF,
        kernel_alignment: 0x20_0000,
        relocatable_kernel: 1,
        xloadflags: XLF_KERNEL_64,
        cmdline_size: 2047,
        payload_offset: 0x300,
        payload_length: 0xC00,
        pref_address: 16 * MIB,
        init_size: 0x300_0000,
        ..Default::default()
    }
}

/// A bzImage with this header: two sectors of setup code, and 4 KiB that stand
/// for the protected-mode part.
pub(crate) fn bzimage(header: setup_header) -> Vec<u8> {
    let mut bytes = vec![0; 0x400];
    bytes[0x1F1..0x26C].copy_from_slice(header.as_slice());
    bytes.resize(0x1400, 0x90);
    bytes
}

/// The addresses and contents of the segments with this name.
pub(crate) fn named<'a>(plan: &'a BootPlan, name: &str) -> Vec<(Range<u64>, &'a Content)> {
    plan.segments
        .iter()
        .filter(|segment| segment.name == name)
        .map(|segment| (segment.range(), &segment.content))
        .collect()
}

/// The bytes of a segment that was made here.
pub(crate) fn bytes(segment: &Segment) -> &[u8] {
    match &segment.content {
        Content::Bytes(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}
