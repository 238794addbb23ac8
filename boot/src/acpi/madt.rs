//! MADT: the local APICs, of vCPUs that are there and that may be added, and
//! the I/O APIC.
//!
//! ACPI 6.5 §5.2.12. There is no pair of 8259s, and no interrupt source
//! override: a hardware-reduced guest has no ISA interrupts, and every device
//! in the DSDT states trigger and polarity itself.

use acpi_tables::madt::{
    EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic,
};

use super::{OEM_ID, OEM_REVISION, OEM_TABLE_ID};
use crate::Machine;
use crate::layout::{IO_APIC, LOCAL_APIC};

/// The MADT of `machine`, whose vCPUs' local APIC ids count from zero.
pub(super) fn table(machine: &Machine) -> MADT {
    let local_apic = u32::try_from(LOCAL_APIC).expect("local APICs are below 4 GiB");
    let io_apic = u32::try_from(IO_APIC).expect("the I/O APIC is below 4 GiB");
    let mut table = MADT::new(
        OEM_ID,
        OEM_TABLE_ID,
        OEM_REVISION,
        LocalInterruptController::Address(local_apic),
    );
    let there = (0..machine.cpus.get()).map(|id| (id, EnabledStatus::Enabled));
    let later = machine.later_cpus();
    let later = later.map(|id| (id, EnabledStatus::DisabledOnlineCapable));
    for (id, status) in there.chain(later) {
        table.add_structure(ProcessorLocalApic::new(id, id, status));
    }
    // KVM's I/O APIC has id zero, and GSIs count its pins from zero.
    table.add_structure(IoApic::new(0, io_apic, 0));
    table
}
