//! The tables as a guest finds them, byte by byte.

use std::collections::BTreeMap;

use super::*;
use crate::fixture::{Parts, bytes};
use crate::{CpuCount, MmioDevice, PciHost, SlotSet};

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
    let tables = found(&Machine {
        max_cpus: Some(CpuCount::new(64).unwrap()),
        rtc: true,
        pci: Some(PciHost {
            hotplug: SlotSet::ALL,
        }),
        power_button: true,
        panic_port: true,
        generation_id: Some([1; 16]),
        watchdog: true,
        ..parts.machine()
    });
    assert!(contains(&tables["DSDT"], b"V018") && contains(&tables["DSDT"], b"S031"));
}

#[test]
fn a_machine_with_nothing_that_changes_has_no_event_device() {
    let parts = Parts::new();
    let dsdt = &found(&parts.machine())["DSDT"];
    assert!(!contains(dsdt, b"ACPI0013") && !contains(dsdt, b"PWRB"));
}

/// Method (_EVT, 1, Serialized), reading the register into Local0, then
/// If (Local0 & 1) {Notify (\\_SB.PWRB, 0x80)} (ACPI 6.5 §20.2).
#[test]
fn a_power_button_is_notified_by_the_event_device() {
    let parts = Parts::new();
    let dsdt = &found(&Machine {
        power_button: true,
        ..parts.machine()
    })["DSDT"];
    assert!(contains(dsdt, b"PWRB\x08_HID\x0C\x41\xD0\x0C\x0C"));
    // Edge, active high, exclusive, GSI 3.
    assert!(contains(
        dsdt,
        b"\x89\x06\x00\x03\x01\x03\x00\x00\x00\x79\x00"
    ));
    // SystemIO at 0x620, one doubleword.
    assert!(contains(dsdt, b"\x5B\x80EREG\x01\x0B\x20\x06\x0A\x04"));
    assert!(contains(dsdt, b"\x5B\x81\x0BEREG\x03EVNT\x20"));
    assert!(contains(
        dsdt,
        b"_EVT\x09\x70EVNT\x60\xA0\x12\x7B\x60\x01\x00\x86\\\x2E_SB_PWRB\x0A\x80"
    ));
}

fn with_slots<'a>(parts: &'a Parts, slots: &[u8]) -> Machine<'a> {
    let hotplug = slots.iter().copied().collect();
    Machine {
        virtio_mmio: &[],
        pci: Some(PciHost { hotplug }),
        ..parts.machine()
    }
}

#[test]
fn a_pci_host_has_one_bus_with_its_configuration_space_reserved() {
    let parts = Parts::new();
    let tables = found(&with_slots(&parts, &[]));
    // PCI Firmware 3.3 §4.1.2: base, segment, first and last bus.
    assert_eq!(
        tables["MCFG"][44..],
        [0, 0, 0, 0xE0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    let dsdt = &tables["DSDT"];
    // Memory32Fixed, writable, 1 MiB, of PNP0C02.
    assert!(contains(dsdt, b"ECAM\x08_HID\x0C\x41\xD0\x0C\x02"));
    assert!(contains(
        dsdt,
        b"\x86\x09\x00\x01\x00\x00\x00\xE0\x00\x00\x10\x00"
    ));
    assert!(contains(dsdt, b"PCI0\x08_HID\x0C\x41\xD0\x0A\x08"));
    // WordBusNumber 0 to 0, DWordMemory 0xC0000000 to 0xCFFFFFFF and WordIO 0x8000
    // to 0xFFFF (ACPI 6.5 §6.4.3.5).
    assert!(contains(
        dsdt,
        b"\x88\x0D\x00\x02\x0C\x00\0\0\0\0\0\0\0\0\x01\x00\
          \x87\x17\x00\x00\x0C\x01\0\0\0\0\x00\x00\x00\xC0\xFF\xFF\xFF\xCF\
          \0\0\0\0\x00\x00\x00\x10\
          \x88\x0D\x00\x01\x0C\x03\0\0\x00\x80\xFF\xFF\0\0\x00\x80"
    ));
    assert!(contains(dsdt, b"_OSC\x0C"));
    assert!(!contains(dsdt, b"_EJ0") && !contains(dsdt, b"ACPI0013"));
}

#[test]
fn each_slot_has_an_address_a_number_and_a_way_to_be_ejected() {
    let parts = Parts::new();
    let dsdt = &found(&with_slots(&parts, &[2, 31]))["DSDT"];
    // Three doublewords from 0x624 on.
    assert!(contains(dsdt, b"\x5B\x80SREG\x01\x0B\x24\x06\x0A\x0C"));
    // New devices, unwanted ones, ejected ones: doublewords, in this order.
    assert!(contains(dsdt, b"SREG\x03SCHK\x20SREQ\x20SEJD\x20"));
    for (name, slot) in [(b"S002", 2), (b"S031", 31)] {
        let address = [b"_ADR\x0C\0\0", &[slot, 0][..]].concat();
        let number = [b"\x08_SUN\x0A", &[slot][..]].concat();
        let eject = [b"_EJ0\x01\x70\x0A", &[slot][..], b"SEJD"].concat();
        let device = [&name[..], b"\x08", &address, &number, b"\x14\x0D", &eject].concat();
        assert!(contains(dsdt, &device), "{slot}");
        // If (Arg0 & bit) {Notify (slot, Arg1)}.
        let bit = (1_u32 << slot).to_le_bytes();
        let bit = if slot == 2 {
            vec![0x0A, 4]
        } else {
            [&[0x0C], &bit[..]].concat()
        };
        let notify = [b"\x7B\x68", &bit[..], b"\x00\x86", &name[..], b"\x69"].concat();
        assert!(contains(dsdt, &notify), "{slot}");
    }
    assert!(!contains(dsdt, b"S001") && !contains(dsdt, b"S003"));
    // New devices first: SNTF (Local0, 1), then SNTF (Local0, 3).
    assert!(contains(
        dsdt,
        b"SEVT\x00\x70SCHK\x60SNTF\x60\x01\x70SREQ\x60SNTF\x60\x0A\x03"
    ));
    assert!(contains(
        dsdt,
        b"\x7B\x60\x0A\x02\x00\\\x2F\x03_SB_PCI0SEVT"
    ));
}

/// Flags of a local APIC: 1 enabled, 2 online capable (ACPI 6.5 table 5.22).
#[test]
fn vcpus_that_may_be_added_are_online_capable_and_have_devices() {
    let parts = Parts::new();
    let tables = found(&Machine {
        max_cpus: Some(CpuCount::new(4).unwrap()),
        ..parts.machine()
    });
    let flags: Vec<_> = tables["APIC"][44..][..32]
        .chunks(8)
        .map(|entry| (entry[3], number(&entry[4..])))
        .collect();
    assert_eq!(flags, [(0, 1), (1, 1), (2, 2), (3, 2)]);

    let dsdt = &tables["DSDT"];
    assert!(contains(dsdt, b"\x5B\x80CREG\x01\x0B\x30\x06\x0A\x04"));
    assert!(contains(dsdt, b"CREG\x03CCNT\x20"));
    // If (Arg0 < CCNT) {Return (15)} Return (0).
    assert!(contains(
        dsdt,
        b"CSTA\x01\xA0\x0A\x95\x68CCNT\xA4\x0A\x0F\xA4\x00"
    ));
    for (name, id) in [(b"C002", 2), (b"C003", 3)] {
        let identity = [b"\x08_HID\x0DACPI0007\0\x08_UID\x0A", &[id][..]].concat();
        let state = [b"\x14\x0D_STA\x00\xA4CSTA\x0A", &[id][..]].concat();
        let apic = [
            b"\x08_MAT\x11\x0B\x0A\x08\x00\x08",
            &[id, id, 1, 0, 0, 0][..],
        ]
        .concat();
        let device = [&name[..], &identity, &state, &apic].concat();
        assert!(contains(dsdt, &device), "{id}");
        // If (id < Local0) {Notify (device, 1)}.
        let notify = [b"\x95\x0A", &[id][..], b"\x60\x86", &name[..], b"\x01"].concat();
        assert!(contains(dsdt, &notify), "{id}");
    }
    assert!(!contains(dsdt, b"C001") && !contains(dsdt, b"C004"));
    assert!(contains(dsdt, b"\x7B\x60\x0A\x04\x00\\\x2E_SB_CEVT"));
}

#[test]
fn a_maximum_that_adds_nothing_changes_no_table() {
    let parts = Parts::new();
    let none = bytes(&tables(&parts.machine())).to_vec();
    for max in [1, 2] {
        let machine = Machine {
            max_cpus: Some(CpuCount::new(max).unwrap()),
            ..parts.machine()
        };
        assert_eq!(bytes(&tables(&machine)), none);
    }
}

#[test]
fn the_generation_id_is_where_its_device_says() {
    let parts = Parts::new();
    let id = *b"0123456789abcdef";
    let dsdt = &found(&Machine {
        generation_id: Some(id),
        ..parts.machine()
    })["DSDT"];
    let segment = generation::segment(id);
    let address = u32::try_from(segment.address).unwrap().to_le_bytes();
    // Name (ADDR, Package () {low, high}).
    let package = [b"\x08ADDR\x12\x08\x02\x0C", &address[..], b"\x00"].concat();
    assert!(contains(dsdt, &package));
    assert_eq!(bytes(&segment), id);
    assert!(contains(dsdt, b"_CID\x0DVM_Gen_Counter\0"));
    assert!(contains(dsdt, b"\\\x2E_SB_VGEN\x0A\x80"));
}

#[test]
fn a_guest_that_panics_finds_a_port_to_say_so() {
    let parts = Parts::new();
    let dsdt = |panic_port| {
        let machine = Machine {
            panic_port,
            ..parts.machine()
        };
        found(&machine).remove("DSDT").unwrap()
    };
    assert!(!contains(&dsdt(false), b"QEMU0001"));
    let dsdt = dsdt(true);
    assert!(contains(&dsdt, b"PNIC\x08_HID\x0DQEMU0001\0"));
    // I/O Port Descriptor (ACPI 6.5 §6.4.2.5): 16 bits decoded, from and to
    // 0x608, one port.
    assert!(contains(&dsdt, b"\x47\x01\x08\x06\x08\x06\x01\x01"));
}

/// Offsets are those of Linux's `struct acpi_table_wdat` and
/// `struct acpi_wdat_entry`.
#[test]
fn the_watchdog_s_instructions_name_its_registers() {
    let parts = Parts::new();
    let tables = found(&Machine {
        watchdog: true,
        ..parts.machine()
    });
    let wdat = &tables["WDAT"];
    assert_eq!(number(&wdat[36..40]), 32, "bytes of the timer's part");
    assert_eq!(wdat[40..45], [0xFF, 0, 0xFF, 0xFF, 0xFF], "not on PCI");
    let timer: Vec<_> = wdat[48..60].chunks(4).map(number).collect();
    assert_eq!(timer, [1000, 3600, 1], "period, most and least counts");
    assert_eq!(wdat[60], 1, "enabled");
    let entries: Vec<_> = wdat[68..].chunks(24).collect();
    assert_eq!(number(&wdat[64..68]), entries.len() as u64);

    let mut registers = BTreeMap::new();
    for entry in entries {
        // I/O ports, 32 bits from bit 0, in accesses of four bytes.
        assert_eq!(entry[4..8], [1, 32, 0, 3]);
        registers.insert(entry[0], number(&entry[8..16]));
    }
    let (reset, set_countdown) = (registers[&1], registers[&6]);
    let (start, stop, status) = (registers[&9], registers[&11], registers[&32]);
    assert_eq!((start, stop), (0x640, 0x640));
    assert_eq!((set_countdown, reset, status), (0x644, 0x648, 0x64C));
}
