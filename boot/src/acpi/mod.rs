//! The ACPI tables: what the guest cannot find by probing.
//!
//! Called by the plan. Hardware-reduced ACPI (ACPI 6.5 §4.1): no legacy timer,
//! no fixed power button, no mode to switch on, so Linux leaves out the chips
//! a PC had. All tables lie in one segment, the RSDP first.

mod dsdt;
mod fadt;
mod madt;

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
    let madt = region.add(&madt::table(machine.cpus));

    let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    xsdt.add_entry(fadt);
    xsdt.add_entry(madt);
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
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fixture::{Parts, bytes};
    use crate::{CpuCount, MmioDevice};

    fn number(bytes: &[u8]) -> u64 {
        bytes
            .iter()
            .rev()
            .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
    }

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().copied().fold(0, u8::wrapping_add)
    }

    /// Finds the tables as a guest does, from the RSDP on, checking each sum.
    fn found(machine: &Machine) -> BTreeMap<String, Vec<u8>> {
        let segment = tables(machine);
        assert!(segment.range().end <= ACPI.end);
        let region = bytes(&segment);
        let table_at = |address: u64| {
            let start = usize::try_from(address - ACPI.start).unwrap();
            let length = usize::try_from(number(&region[start + 4..start + 8])).unwrap();
            let table = region[start..start + length].to_vec();
            assert_eq!(sum(&table), 0);
            table
        };

        assert_eq!(&region[..8], b"RSD PTR ");
        assert_eq!((sum(&region[..20]), sum(&region[..36])), (0, 0));
        let xsdt = table_at(number(&region[24..32]));
        let mut found: BTreeMap<_, _> = xsdt[36..]
            .chunks(8)
            .map(|address| table_at(number(address)))
            .map(|table| (String::from_utf8(table[..4].to_vec()).unwrap(), table))
            .collect();
        found.insert("DSDT".into(), table_at(number(&found["FACP"][140..148])));
        found
    }

    fn contains(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn a_guest_finds_every_table() {
        let parts = Parts::new();
        let tables = found(&parts.machine());
        let names: Vec<_> = tables.keys().collect();
        assert_eq!(names, ["APIC", "DSDT", "FACP"]);
    }

    /// Offsets are those of ACPI 6.5 table 5.9.
    #[test]
    fn the_fadt_says_how_to_power_off_and_reset() {
        let parts = Parts::new();
        let fadt = &found(&parts.machine())["FACP"];
        let flags = number(&fadt[112..116]);
        assert_eq!(flags >> 20 & 1, 1, "hardware-reduced");
        assert_eq!(flags >> 10 & 1, 1, "reset register supported");
        assert_eq!(fadt[116..128], [1, 8, 0, 1, 0x04, 0x06, 0, 0, 0, 0, 0, 0]);
        assert_eq!(fadt[128], 1, "reset value");
        assert_eq!(fadt[244..256], [1, 8, 0, 1, 0x00, 0x06, 0, 0, 0, 0, 0, 0]);
        assert_eq!(fadt[256..268], [1, 8, 0, 1, 0x01, 0x06, 0, 0, 0, 0, 0, 0]);
        assert_eq!(fadt.len(), 276);
    }

    #[test]
    fn the_fadt_names_the_chips_that_are_there() {
        let parts = Parts::new();
        let chips = |serial, rtc| {
            let machine = Machine {
                serial,
                rtc,
                ..parts.machine()
            };
            number(&found(&machine)["FACP"][109..111])
        };
        assert_eq!(chips(false, false), 0b10_0100);
        assert_eq!(chips(true, false), 0b10_0101);
        assert_eq!(chips(true, true), 0b00_0101);
    }

    /// Entry formats are those of ACPI 6.5 §5.2.12.2 and §5.2.12.3.
    #[test]
    fn the_madt_has_every_vcpu_and_the_io_apic() {
        let parts = Parts::new();
        for count in [1_u8, 64] {
            let cpus = CpuCount::new(u64::from(count)).unwrap();
            let madt = &found(&Machine {
                cpus,
                ..parts.machine()
            })["APIC"];
            assert_eq!(number(&madt[36..40]), 0xFEE0_0000);
            let (local_apics, io_apic) = madt[44..].split_at(usize::from(count) * 8);
            for (id, entry) in (0..).zip(local_apics.chunks(8)) {
                assert_eq!(entry, [0, 8, id, id, 1, 0, 0, 0]);
            }
            assert_eq!(io_apic, [1, 12, 0, 0, 0, 0, 0xC0, 0xFE, 0, 0, 0, 0]);
        }
    }

    #[test]
    fn the_dsdt_has_soft_off_and_exactly_the_devices_that_are_there() {
        let parts = Parts::new();
        let dsdt = &found(&parts.machine())["DSDT"];
        // Name (\_S5_, Package () {5, 0, 0, 0}) (ACPI 6.5 §20.2).
        assert!(contains(dsdt, b"\x08\\_S5_\x12\x07\x04\x0A\x05\0\0\0"));
        assert!(contains(dsdt, b"COM1"));
        assert!(!contains(dsdt, b"RTC0"));
        assert!(contains(dsdt, b"V000") && contains(dsdt, b"V001") && !contains(dsdt, b"V002"));
        // Memory32Fixed and Extended Interrupt (ACPI 6.5 §6.4.3.4, §6.4.3.6):
        // writable, 4 KiB at 0xD0001000; edge, active high, exclusive, GSI 6.
        assert!(contains(
            dsdt,
            b"\x86\x09\x00\x01\x00\x10\x00\xD0\x00\x10\x00\x00\
              \x89\x06\x00\x03\x01\x06\x00\x00\x00\x79\x00"
        ));

        let bare = Machine {
            serial: false,
            rtc: true,
            virtio_mmio: &[],
            ..parts.machine()
        };
        let dsdt = &found(&bare)["DSDT"];
        assert!(contains(dsdt, b"RTC0"));
        assert!(!contains(dsdt, b"COM1") && !contains(dsdt, b"LNRO0005"));
    }

    #[test]
    fn the_largest_machine_fits_the_acpi_region() {
        let parts = Parts {
            devices: (0..).map_while(MmioDevice::at_slot).collect(),
            ..Parts::new()
        };
        let cpus = CpuCount::new(64).unwrap();
        let tables = found(&Machine {
            cpus,
            rtc: true,
            ..parts.machine()
        });
        assert!(contains(&tables["DSDT"], b"V018"));
    }
}
