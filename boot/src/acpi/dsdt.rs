//! DSDT: the devices a guest cannot probe for, and how it powers off.
//!
//! AML, ACPI 6.5 §5.2.11.1. Interrupts use the extended descriptor, which
//! Linux takes at its word; it would correct the short one by ISA rules.

use acpi_tables::Aml;
use acpi_tables::aml::{
    Device, EISAName, IO, Interrupt, Memory32Fixed, Name, Package, ResourceTemplate, Scope,
};
use acpi_tables::sdt::Sdt;

use crate::layout::{COM1_GSI, COM1_PORT, RTC_PORT, SLEEP_TYPE_SOFT_OFF};
use crate::{Machine, MmioDevice};

/// Revision 2 gives AML 64-bit integers.
const REVISION: u8 = 2;

/// The DSDT of `machine`.
pub(super) fn table(machine: &Machine) -> Sdt {
    let mut devices = Vec::new();
    if machine.serial {
        devices.extend(com1());
    }
    if machine.rtc {
        devices.extend(rtc());
    }
    for (index, place) in (0..).zip(machine.virtio_mmio) {
        devices.extend(virtio_mmio(index, place));
    }

    let mut aml = soft_off();
    aml.extend(Scope::raw("\\_SB_".into(), devices));
    super::table(*b"DSDT", REVISION, &aml)
}

/// The sleep type that powers off (ACPI 6.5 §7.4.2).
fn soft_off() -> Vec<u8> {
    let sleep_types = Package::new(vec![&SLEEP_TYPE_SOFT_OFF, &0_u8, &0_u8, &0_u8]);
    bytes(&Name::new("\\_S5_".into(), &sleep_types))
}

/// A 16550.
fn com1() -> Vec<u8> {
    let resources: [&dyn Aml; 2] = [&ports(COM1_PORT, 8), &interrupt(COM1_GSI)];
    device("COM1", &EISAName::new("PNP0501"), 0, &resources)
}

/// A CMOS clock, without the interrupt nobody would raise.
fn rtc() -> Vec<u8> {
    device("RTC0", &EISAName::new("PNP0B00"), 0, &[&ports(RTC_PORT, 2)])
}

/// A virtio-mmio device, by the id Linux's driver has for it
/// (drivers/virtio/virtio_mmio.c).
fn virtio_mmio(index: u32, place: &MmioDevice) -> Vec<u8> {
    const BELOW_4_GIB: &str = "the virtio-mmio window is below 4 GiB";
    let registers = Memory32Fixed::new(
        true,
        u32::try_from(place.base).expect(BELOW_4_GIB),
        u32::try_from(place.size).expect(BELOW_4_GIB),
    );
    let resources: [&dyn Aml; 2] = [&registers, &interrupt(place.gsi)];
    device(&format!("V{index:03}"), &"LNRO0005", index, &resources)
}

fn device(name: &str, id: &dyn Aml, unique: u32, resources: &[&dyn Aml]) -> Vec<u8> {
    let resources = ResourceTemplate::new(resources.to_vec());
    bytes(&Device::new(
        name.into(),
        vec![
            &Name::new("_HID".into(), id),
            &Name::new("_UID".into(), &unique),
            &Name::new("_CRS".into(), &resources),
        ],
    ))
}

fn ports(first: u16, count: u8) -> IO {
    IO::new(first, first, 1, count)
}

/// Edge triggered, active high, not shared: what irqfds and ISA chips do.
fn interrupt(gsi: u32) -> Interrupt {
    Interrupt::new(true, true, false, false, gsi)
}

fn bytes(aml: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    aml.to_aml_bytes(&mut bytes);
    bytes
}
