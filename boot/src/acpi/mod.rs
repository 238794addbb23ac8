//! The ACPI tables: what the guest cannot find by probing.
//!
//! Called by the plan. Hardware-reduced ACPI (ACPI 6.5 §4.1): no legacy timer,
//! no fixed power button, no mode to switch on, so Linux leaves out the chips
//! a PC had. All tables lie in one segment, the RSDP first.

mod aml;
mod cpus;
mod dsdt;
mod events;
mod fadt;
pub(crate) mod generation;
mod madt;
mod pci;
mod wdat;

use acpi_tables::rsdp::Rsdp;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, sdt::Sdt};

use crate::Machine;
use crate::layout::ACPI;
use crate::segment::Segment;

const OEM_ID: [u8; 6] = *b"PLINTH";
const OEM_TABLE_ID: [u8; 8] = *b"PLINTHVM";
const OEM_REVISION: u32 = 1;

/// Tables start on cache lines.
const ALIGNMENT: usize = 64;

/// All tables of `machine`.
pub(crate) fn tables(machine: &Machine) -> Segment {
    let mut region = Region::new(Rsdp::len());
    let dsdt = region.add(&dsdt::table(machine));
    let fadt = region.add(&fadt::table(machine, dsdt));
    let mut entries = vec![fadt, region.add(&madt::table(machine))];
    if machine.pci.is_some() {
        entries.push(region.add(&pci::mcfg()));
    }
    if machine.watchdog {
        entries.push(region.add(&wdat::table()));
    }

    let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    for entry in entries {
        xsdt.add_entry(entry);
    }
    let xsdt = region.add(&xsdt);

    let mut bytes = Vec::new();
    Rsdp::new(OEM_ID, xsdt).to_aml_bytes(&mut bytes);
    region.bytes[..bytes.len()].copy_from_slice(&bytes);
    Segment::bytes("ACPI tables", ACPI.start, region.bytes)
}

/// Tables one after another, from the start of the ACPI region.
struct Region {
    bytes: Vec<u8>,
}

impl Region {
    /// A region whose first `reserved` bytes are filled in later.
    fn new(reserved: usize) -> Self {
        Region {
            bytes: vec![0; reserved],
        }
    }

    /// Appends a table and returns its guest-physical address.
    fn add(&mut self, table: &dyn Aml) -> u64 {
        let start = self.bytes.len().next_multiple_of(ALIGNMENT);
        self.bytes.resize(start, 0);
        table.to_aml_bytes(&mut self.bytes);
        ACPI.start + start as u64
    }
}

/// A table from its signature, revision and body.
fn table(signature: [u8; 4], revision: u8, body: &[u8]) -> Sdt {
    const HEADER: u32 = 36;
    let mut table = Sdt::new(
        signature,
        HEADER,
        revision,
        OEM_ID,
        OEM_TABLE_ID,
        OEM_REVISION,
    );
    table.append_slice(body);
    table
}

#[cfg(test)]
mod tests;
