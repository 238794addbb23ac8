//! The registers the first vCPU starts with, as plain data.
//!
//! Made by the plan, set by the VMM. Registers that are not here are zero,
//! except RFLAGS, which is 2: interrupts are off. The GDT in guest memory
//! holds the same segments as the registers.

use crate::layout::{BOOT_PARAMS, GDT, PAGE_TABLES, PVH_START_INFO};
use crate::segment::Segment;

/// CR0: protected mode (SDM vol. 3 §2.5).
const CR0_PE: u64 = 1 << 0;
/// CR0: extension type, always one.
const CR0_ET: u64 = 1 << 4;
/// CR0: paging.
const CR0_PG: u64 = 1 << 31;
/// CR4: physical address extension, needed for long mode.
const CR4_PAE: u64 = 1 << 5;
/// EFER: long mode enabled, and active.
const EFER_LME_LMA: u64 = 1 << 8 | 1 << 10;

/// Selectors of the 64-bit boot protocol's `__BOOT_CS` and `__BOOT_DS`
/// (Documentation/arch/x86/boot.rst). PVH leaves them free.
const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;
const TASK_SELECTOR: u16 = 0x20;

/// Segment types (SDM vol. 3 §3.4.5.1 and §3.5): accessed, so that the CPU
/// never writes the GDT.
const CODE_EXECUTE_READ: u8 = 0xB;
const DATA_READ_WRITE: u8 = 0x3;
const TASK_BUSY: u8 = 0xB;

/// Where and in what state the first vCPU starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryState {
    /// The kernel's entry point.
    pub rip: u64,
    /// Address of `hvm_start_info` for a PVH entry, else zero.
    pub rbx: u64,
    /// Address of `struct boot_params` for a Linux entry, else zero.
    pub rsi: u64,
    /// CR0, CR3, CR4 and EFER.
    pub control: ControlRegisters,
    /// CS.
    pub code: SegmentRegister,
    /// DS, ES, FS, GS and SS.
    pub data: SegmentRegister,
    /// TR.
    pub task: SegmentRegister,
    /// GDTR.
    pub gdt: DescriptorTable,
    /// IDTR: empty, since interrupts are off.
    pub idt: DescriptorTable,
}

/// The registers that decide the CPU's mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlRegisters {
    /// CR0.
    pub cr0: u64,
    /// CR3: address of the root page table, or zero without paging.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// The EFER MSR.
    pub efer: u64,
}

/// A segment register with its hidden part. Privilege level 0, present,
/// usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentRegister {
    /// Offset of its descriptor in the GDT.
    pub selector: u16,
    /// First address.
    pub base: u64,
    /// Last offset, in bytes.
    pub limit: u32,
    /// The four type bits.
    pub kind: u8,
    /// S: a code or data segment, not a system one.
    pub code_or_data: bool,
    /// L: 64-bit code.
    pub long: bool,
    /// D/B: 32-bit operands.
    pub wide: bool,
    /// G: the descriptor counts its limit in pages.
    pub granular: bool,
}

/// GDTR or IDTR.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DescriptorTable {
    /// First address.
    pub base: u64,
    /// Last offset, in bytes.
    pub limit: u16,
}

impl EntryState {
    /// 64-bit mode on the identity page tables, RSI at the zero page: the
    /// 64-bit Linux boot protocol.
    pub(crate) fn linux64(rip: u64) -> Self {
        EntryState {
            rip,
            rbx: 0,
            rsi: BOOT_PARAMS,
            control: ControlRegisters {
                cr0: CR0_PE | CR0_ET | CR0_PG,
                cr3: PAGE_TABLES,
                cr4: CR4_PAE,
                efer: EFER_LME_LMA,
            },
            code: SegmentRegister {
                long: true,
                wide: false,
                ..SegmentRegister::flat(CODE_SELECTOR, CODE_EXECUTE_READ)
            },
            ..EntryState::pvh32(0)
        }
    }

    /// 32-bit protected mode without paging, EBX at the start info: the PVH
    /// boot protocol.
    pub(crate) fn pvh32(rip: u64) -> Self {
        EntryState {
            rip,
            rbx: PVH_START_INFO,
            rsi: 0,
            control: ControlRegisters {
                cr0: CR0_PE | CR0_ET,
                cr3: 0,
                cr4: 0,
                efer: 0,
            },
            code: SegmentRegister::flat(CODE_SELECTOR, CODE_EXECUTE_READ),
            data: SegmentRegister::flat(DATA_SELECTOR, DATA_READ_WRITE),
            task: SegmentRegister::task(),
            gdt: DescriptorTable {
                base: GDT,
                limit: GDT_ENTRIES * 8 - 1,
            },
            idt: DescriptorTable::default(),
        }
    }

    /// The GDT that belongs to these registers.
    pub(crate) fn gdt(&self) -> Segment {
        let mut entries = [0; GDT_ENTRIES as usize];
        for register in [&self.code, &self.data, &self.task] {
            entries[usize::from(register.selector / 8)] = register.descriptor();
        }
        let bytes: Vec<u8> = entries.into_iter().flat_map(u64::to_le_bytes).collect();
        Segment::bytes("descriptor table", GDT, bytes)
    }
}

/// Two null entries, code, data, and a task segment of two entries (in 64-bit
/// mode its base has 64 bits; the upper half is zero).
const GDT_ENTRIES: u16 = 6;

impl SegmentRegister {
    /// All of the first 4 GiB, 32-bit.
    fn flat(selector: u16, kind: u8) -> Self {
        SegmentRegister {
            selector,
            base: 0,
            limit: u32::MAX,
            kind,
            code_or_data: true,
            long: false,
            wide: true,
            granular: true,
        }
    }

    /// A task segment nobody uses: the CPU insists on a valid one.
    fn task() -> Self {
        SegmentRegister {
            selector: TASK_SELECTOR,
            base: 0,
            limit: 0x67,
            kind: TASK_BUSY,
            code_or_data: false,
            long: false,
            wide: false,
            granular: false,
        }
    }

    /// As a descriptor in the GDT (SDM vol. 3 §3.4.5). The base is below
    /// 4 GiB here.
    fn descriptor(&self) -> u64 {
        const PRESENT: u64 = 1 << 47;
        let limit = u64::from(if self.granular {
            self.limit >> 12
        } else {
            self.limit
        });
        (limit & 0xFFFF)
            | (self.base & 0xFF_FFFF) << 16
            | u64::from(self.kind) << 40
            | u64::from(self.code_or_data) << 44
            | PRESENT
            | (limit >> 16) << 48
            | u64::from(self.long) << 53
            | u64::from(self.wide) << 54
            | u64::from(self.granular) << 55
            | (self.base >> 24) << 56
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::Content;

    /// The values are those of the kernel's own boot GDT
    /// (arch/x86/include/asm/desc_defs.h, with the accessed bit).
    #[test]
    fn descriptors_are_encoded_as_the_cpu_reads_them() {
        let linux = EntryState::linux64(0x100_0000);
        assert_eq!(linux.code.descriptor(), 0x00AF_9B00_0000_FFFF);
        assert_eq!(linux.data.descriptor(), 0x00CF_9300_0000_FFFF);
        assert_eq!(linux.task.descriptor(), 0x0000_8B00_0000_0067);
        let pvh = EntryState::pvh32(0x100_0000);
        assert_eq!(pvh.code.descriptor(), 0x00CF_9B00_0000_FFFF);
    }

    #[test]
    fn a_base_is_split_into_its_three_parts() {
        let register = SegmentRegister {
            base: 0x1234_5678,
            ..SegmentRegister::task()
        };
        assert_eq!(register.descriptor(), 0x1200_8B34_5678_0067);
    }

    #[test]
    fn linux_starts_in_64_bit_mode_at_the_zero_page() {
        let entry = EntryState::linux64(0x100_0200);
        assert_eq!((entry.rip, entry.rsi), (0x100_0200, BOOT_PARAMS));
        assert_eq!(entry.control.cr0, 0x8000_0011);
        assert_eq!(entry.control.cr4, 0x20);
        assert_eq!(entry.control.efer, 0x500);
        assert!(entry.code.long && !entry.code.wide);
    }

    #[test]
    fn pvh_starts_in_32_bit_mode_at_the_start_info() {
        let entry = EntryState::pvh32(0x100_0000);
        assert_eq!((entry.rbx, entry.rsi), (PVH_START_INFO, 0));
        assert_eq!((entry.control.cr0, entry.control.cr4), (0x11, 0));
        assert!(!entry.code.long && entry.code.wide);
    }

    #[test]
    fn the_table_holds_each_register_at_its_selector() {
        let entry = EntryState::linux64(0);
        let Content::Bytes(bytes) = entry.gdt().content else {
            panic!("the GDT is made here");
        };
        assert_eq!(bytes.len(), usize::from(entry.gdt.limit) + 1);
        for register in [entry.code, entry.data, entry.task] {
            let at = usize::from(register.selector);
            assert_eq!(bytes[at..at + 8], register.descriptor().to_le_bytes());
        }
    }
}
