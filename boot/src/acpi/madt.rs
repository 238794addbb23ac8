//! MADT: the vCPUs' local APICs and the I/O APIC.
//!
//! ACPI 6.5 §5.2.12. There is no pair of 8259s, and no interrupt source
//! override: a hardware-reduced guest has no ISA interrupts, and every device
//! in the DSDT states trigger and polarity itself.

use acpi_tables::madt::{
    EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic,
};

use super::{OEM_ID, OEM_REVISION, OEM_TABLE_ID};
use crate::CpuCount;
use crate::layout::{IO_APIC, LOCAL_APIC};

/// The MADT for `cpus` vCPUs, whose local APIC ids count from zero.
pub(super) fn table(cpus: CpuCount) -> MADT {
    let local_apic = u32::try_from(LOCAL_APIC).expect("local APICs are below 4 GiB");
    let io_apic = u32::try_from(IO_APIC).expect("the I/O APIC is below 4 GiB");
    let mut table = MADT::new(
        OEM_ID,
        OEM_TABLE_ID,
        OEM_REVISION,
        LocalInterruptController::Address(local_apic),
    );
    for id in 0..cpus.get() {
        table.add_structure(ProcessorLocalApic::new(id, id, EnabledStatus::Enabled));
    }
    // KVM's I/O APIC has id zero, and GSIs count its pins from zero.
    table.add_structure(IoApic::new(0, io_apic, 0));
    table
}
