//! FADT: hardware-reduced ACPI, and the registers for power-off and reset.
//!
//! ACPI 6.5 §5.2.9. The ports are in [`crate::layout`].

use acpi_tables::fadt::{FADT, FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};

use super::{OEM_ID, OEM_REVISION, OEM_TABLE_ID};
use crate::Machine;
use crate::layout::{RESET_PORT, RESET_VALUE, SLEEP_CONTROL_PORT, SLEEP_STATUS_PORT};

/// IA-PC boot architecture flags (ACPI 6.5 §5.2.9.3). The 8042 flag is never
/// set: the guest is not to probe for a keyboard.
const LEGACY_DEVICES: u16 = 1 << 0;
const VGA_NOT_PRESENT: u16 = 1 << 2;
const CMOS_RTC_NOT_PRESENT: u16 = 1 << 5;

/// The FADT of `machine`, pointing at the DSDT.
pub(super) fn table(machine: &Machine, dsdt: u64) -> FADT {
    let mut table = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .dsdt_64(dsdt)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::ResetRegSup)
        .flag(Flags::Wbinvd)
        // Set means: no such button in the fixed registers.
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::Headless);
    table.iapc_boot_arch = boot_architecture(machine).into();
    table.reset_reg = port(RESET_PORT);
    table.reset_value = RESET_VALUE;
    table.sleep_control_reg = port(SLEEP_CONTROL_PORT);
    table.sleep_status_reg = port(SLEEP_STATUS_PORT);
    table.hypervisor_vendor_identity = u64::from_le_bytes(*b"plinth\0\0").into();
    table.finalize()
}

fn boot_architecture(machine: &Machine) -> u16 {
    let mut flags = VGA_NOT_PRESENT;
    if machine.serial {
        flags |= LEGACY_DEVICES;
    }
    if !machine.rtc {
        flags |= CMOS_RTC_NOT_PRESENT;
    }
    flags
}

/// A one-byte register in I/O ports.
fn port(number: u16) -> GAS {
    GAS::new(
        AddressSpace::SystemIo,
        8,
        0,
        AccessSize::ByteAccess,
        number.into(),
    )
}
