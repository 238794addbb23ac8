//! The guest-physical map: where RAM, windows, chips and boot structures lie.
//!
//! The one place that names a guest address or port. The VMM reads its device
//! addresses here, and the tables made by this crate announce the same ones.
//!
//! ```text
//! 0x0000_0000  boot structures, below 640 KiB     usable RAM
//! 0x0009_FC00  extended BIOS data area            reserved
//! 0x000A_0000  (VGA and option ROMs on a PC)      not in the memory map
//! 0x000E_0000  ACPI tables                        ACPI reclaimable
//! 0x000F_0000  SMBIOS entry point and tables      reserved
//! 0x000F_E000  VM generation id                   reserved
//! 0x000F_FFF0  reset vector                       reserved
//! 0x0010_0000  kernel, initrd                     usable RAM, up to 3 GiB
//! 0xC000_0000  PCI 32-bit window
//! 0xD000_0000  virtio-mmio devices, 4 KiB each
//! 0xE000_0000  PCI ECAM
//! 0xFEC0_0000  I/O APIC
//! 0xFEE0_0000  local APICs
//! 0xFFFB_C000  pages KVM needs for itself         reserved
//! 0x1_0000_0000                                   usable RAM above 3 GiB
//! the next multiple of 2 GiB                      memory that comes while it runs
//! ```

use std::ops::Range;

/// Bytes in a KiB.
pub const KIB: u64 = 1 << 10;
/// Bytes in a MiB.
pub const MIB: u64 = 1 << 20;
/// Bytes in a GiB.
pub const GIB: u64 = 1 << 30;
/// Bytes in a page.
pub const PAGE: u64 = 4 * KIB;

/// Least memory a guest can have, in bytes.
pub const MEMORY_MIN: u64 = 64 * MIB;
/// Most memory a guest can have, in bytes: what fits 46 address bits with the
/// hole, the least that server processors of the last ten years offer.
pub const MEMORY_MAX: u64 = (1 << 46) - 4 * GIB;

/// Memory that comes while a guest runs begins at a multiple of this: Linux's
/// memory blocks, which come and go whole, are at most as large on x86_64
/// (arch/x86/mm/init_64.c, `MAX_BLOCK_SIZE`).
pub const GROWTH_ALIGNMENT: u64 = 2 * GIB;
/// And it has a multiple of this, the least size of such a block
/// (arch/x86/include/asm/sparsemem.h, `SECTION_SIZE_BITS`).
pub const GROWTH_STEP: u64 = 128 * MIB;

/// First address of the global descriptor table of the entry state.
pub const GDT: u64 = 0x1000;
/// The `hvm_start_info` page of a PVH boot, with its memory map and modules.
pub const PVH_START_INFO: u64 = 0x6000;
/// The zero page (`struct boot_params`) of a 64-bit Linux boot.
pub const BOOT_PARAMS: u64 = 0x7000;
/// Page tables of a 64-bit Linux boot: the root, then one level after another.
pub const PAGE_TABLES: u64 = 0x9000;
/// The kernel command line, NUL-terminated.
pub const COMMAND_LINE: u64 = 0x2_0000;

/// Extended BIOS data area: ends what a PC calls conventional memory.
pub const EBDA: u64 = 0x9_FC00;
/// End of conventional memory.
pub const CONVENTIONAL_END: u64 = 0xA_0000;
/// The RSDP and, after it, the other ACPI tables.
pub const ACPI: Range<u64> = 0xE_0000..0xF_0000;
/// The SMBIOS entry point and its tables. Guests search from here on
/// (SMBIOS 3.0 §5.2.2).
pub const SMBIOS: Range<u64> = 0xF_0000..0x10_0000;
/// Sixteen bytes in a page of their own, as the VM generation id has to be.
pub const VM_GENERATION_ID: u64 = 0xF_E000;
/// Where a PC starts, as seen in real mode: F000:FFF0 or FFFF:0000, 16 bytes
/// (SDM vol. 3 §10.1.4).
pub const RESET_VECTOR: u64 = 0xF_FFF0;
/// Kernels and initrds lie from here on.
pub const KERNEL_FLOOR: u64 = MIB;

/// RAM below 4 GiB ends here at the latest; more of it follows at
/// [`HIGH_RAM`].
pub const LOW_RAM_LIMIT: u64 = 0xC000_0000;
/// RAM that does not fit below [`LOW_RAM_LIMIT`] starts here.
pub const HIGH_RAM: u64 = 4 * GIB;

/// Where PCI devices have their 32-bit memory.
pub const PCI_WINDOW: Range<u64> = 0xC000_0000..0xD000_0000;
/// Where PCI devices have their I/O ports: above all of a PC's own. A slot has
/// [`PCI_PORTS_STRIDE`] of them.
pub const PCI_PORTS: Range<u64> = 0x8000..0x1_0000;
/// Linux gives a device that comes while it runs ports only at multiples of this, the
/// others being ISA cards' by tradition (arch/x86/pci/i386.c,
/// `pcibios_align_resource`).
pub const PCI_PORTS_STRIDE: u64 = 0x400;
/// Where virtio-mmio devices have their registers.
pub const VIRTIO_MMIO_WINDOW: Range<u64> = 0xD000_0000..0xD010_0000;
/// Size of one virtio-mmio device's register window in bytes.
pub const VIRTIO_MMIO_SIZE: u64 = PAGE;
/// Where PCI configuration space is memory-mapped: room for 256 buses of
/// [`PCI_ECAM_BUS`] each, of which a machine has the first.
pub const PCI_ECAM: Range<u64> = 0xE000_0000..0xF000_0000;
/// Configuration space of one bus in bytes: 32 devices of 8 functions of
/// 4 KiB (PCI Express 5.0 §7.2.2).
pub const PCI_ECAM_BUS: u64 = MIB;
/// Device numbers on a PCI bus. The host bridge is number 0.
pub const PCI_SLOTS: u8 = 32;
/// The I/O APIC's registers, where KVM has them.
pub const IO_APIC: u64 = 0xFEC0_0000;
/// Every vCPU's local APIC registers, where KVM has them.
pub const LOCAL_APIC: u64 = 0xFEE0_0000;
/// For `KVM_SET_IDENTITY_MAP_ADDR`: one page (Documentation/virt/kvm/api.rst).
pub const KVM_IDENTITY_MAP: u64 = 0xFFFB_C000;
/// For `KVM_SET_TSS_ADDR`: three pages (Documentation/virt/kvm/api.rst).
pub const KVM_TSS: u64 = 0xFFFB_D000;
/// All pages KVM keeps for itself.
pub const KVM_PRIVATE: Range<u64> = KVM_IDENTITY_MAP..KVM_TSS + 3 * PAGE;

/// Number of global system interrupts: the pins of KVM's one I/O APIC.
pub const GSI_COUNT: u32 = 24;
/// The GSI of the Generic Event Device: a PC's COM2, which nobody has here.
pub const EVENT_GSI: u32 = 3;
/// First GSI for virtio-mmio devices: those below are an ISA PC's.
pub const VIRTIO_MMIO_FIRST_GSI: u32 = 5;

/// First of the eight ports of COM1.
pub const COM1_PORT: u16 = 0x3F8;
/// The GSI of COM1.
pub const COM1_GSI: u32 = 4;
/// First of the two ports of the CMOS real-time clock.
pub const RTC_PORT: u16 = 0x70;

/// ACPI sleep control register, one byte, in I/O ports. Writing
/// [`SLEEP_CONTROL_POWER_OFF`] ends the guest.
pub const SLEEP_CONTROL_PORT: u16 = 0x600;
/// ACPI sleep status register, one byte, in I/O ports. Reads as zero.
pub const SLEEP_STATUS_PORT: u16 = 0x601;
/// ACPI reset register, one byte, in I/O ports. Writing [`RESET_VALUE`]
/// resets the guest.
pub const RESET_PORT: u16 = 0x604;
/// What the guest writes to [`RESET_PORT`].
pub const RESET_VALUE: u8 = 1;
/// Through this port, one byte, a guest tells that its kernel panicked.
pub const PANIC_PORT: u16 = 0x608;
/// The sleep type of S5, soft off, as the DSDT announces it.
pub const SLEEP_TYPE_SOFT_OFF: u8 = 5;
/// What the guest writes to [`SLEEP_CONTROL_PORT`] to power off: SLP_TYPx in
/// bits 2-4 and SLP_EN, bit 5 (ACPI 6.5 §4.8.3.7).
pub const SLEEP_CONTROL_POWER_OFF: u8 = SLEEP_TYPE_SOFT_OFF << 2 | 1 << 5;

/// What happened, one bit each; reading it clears it. Four bytes, as all
/// registers from here on. [`EVENT_GSI`] says that a bit was set.
pub const EVENTS_PORT: u16 = 0x620;
/// Bit of [`EVENTS_PORT`]: the power button was pressed.
pub const EVENT_POWER_BUTTON: u32 = 1 << 0;
/// Bit of [`EVENTS_PORT`]: something is in [`PCI_SLOTS_PORT`].
pub const EVENT_PCI_SLOTS: u32 = 1 << 1;
/// Bit of [`EVENTS_PORT`]: [`CPU_COUNT_PORT`] changed.
pub const EVENT_CPUS: u32 = 1 << 2;
/// Bit of [`EVENTS_PORT`]: what is at [`VM_GENERATION_ID`] changed.
pub const EVENT_GENERATION: u32 = 1 << 3;
/// Three registers for hot-plug of PCI devices: a bitmap of slots with a new
/// device and one of slots that the guest is to give up, which reading clears,
/// and the number of the slot that the guest gave up.
pub const PCI_SLOTS_PORT: u16 = 0x624;
/// The number of vCPUs that are there.
pub const CPU_COUNT_PORT: u16 = 0x630;
/// Four registers of the watchdog: whether it runs, the seconds it counts down
/// from, the seconds left (writing starts anew), and whether it ended the
/// machine's last run.
pub const WATCHDOG_PORT: u16 = 0x640;
/// Most seconds that the watchdog counts down from.
pub const WATCHDOG_MAX_S: u16 = 3600;
