//! DSDT: the devices a guest cannot probe for, and how it powers off.

use acpi_tables::Aml;
use acpi_tables::aml::{EISAName, IO, Memory32Fixed, Name, Package, Scope};
use acpi_tables::sdt::Sdt;

use super::aml::{Made, device, interrupt, made};
use super::events::{self, Events};
use super::{cpus, generation, pci};
use crate::layout::{
    COM1_GSI, COM1_PORT, EVENT_CPUS, EVENT_GENERATION, EVENT_PCI_SLOTS, EVENT_POWER_BUTTON,
    PANIC_PORT, RTC_PORT, SLEEP_TYPE_SOFT_OFF,
};
use crate::{Machine, MmioDevice, SlotSet};

/// Revision 2 gives AML 64-bit integers.
const REVISION: u8 = 2;

/// The DSDT of `machine`.
pub(super) fn table(machine: &Machine) -> Sdt {
    let mut devices = Made::default();
    let mut events = Events::default();
    if machine.serial {
        devices.add(&com1());
    }
    if machine.rtc {
        devices.add(&rtc());
    }
    if machine.panic_port {
        devices.add(&panic_port());
    }
    for (index, place) in (0..).zip(machine.virtio_mmio) {
        devices.add(&virtio_mmio(index, place));
    }
    if let Some(host) = &machine.pci {
        devices.add(&pci::host_bridge(host));
        if host.hotplug != SlotSet::NONE {
            events.on(EVENT_PCI_SLOTS, &pci::on_event());
        }
    }
    let later_cpus = machine.later_cpus();
    if !later_cpus.is_empty() {
        devices.add(&cpus::hotplug(later_cpus));
        events.on(EVENT_CPUS, &cpus::on_event());
    }
    if machine.generation_id.is_some() {
        devices.add(&generation::device());
        events.on(EVENT_GENERATION, &generation::on_event());
    }
    if machine.power_button {
        devices.add(&events::power_button());
        events.on(EVENT_POWER_BUTTON, &events::on_power_button());
    }
    devices.add(&events.device());

    let scope = Scope::new("\\_SB_".into(), vec![&devices]);
    super::table(*b"DSDT", REVISION, made(&[&soft_off(), &scope]).bytes())
}

/// The sleep type that powers off (ACPI 6.5 §7.4.2).
fn soft_off() -> Name {
    let sleep_types = Package::new(vec![&SLEEP_TYPE_SOFT_OFF, &0_u8, &0_u8, &0_u8]);
    Name::new("\\_S5_".into(), &sleep_types)
}

/// A 16550.
fn com1() -> Made {
    let resources = ports(COM1_PORT, 8);
    let id = EISAName::new("PNP0501");
    device("COM1", &id, 0, &[&resources, &interrupt(COM1_GSI)], &[])
}

/// A CMOS clock, without the interrupt nobody would raise.
fn rtc() -> Made {
    let id = EISAName::new("PNP0B00");
    device("RTC0", &id, 0, &[&ports(RTC_PORT, 2)], &[])
}

/// A pvpanic device, by the id Linux's driver has for it
/// (drivers/misc/pvpanic/pvpanic-mmio.c).
fn panic_port() -> Made {
    let port = ports(PANIC_PORT, 1);
    device("PNIC", &"QEMU0001", 0, &[&port], &[])
}

/// A virtio-mmio device, by the id Linux's driver has for it
/// (drivers/virtio/virtio_mmio.c).
fn virtio_mmio(index: u32, place: &MmioDevice) -> Made {
    const BELOW_4_GIB: &str = "the virtio-mmio window is below 4 GiB";
    let registers = Memory32Fixed::new(
        true,
        u32::try_from(place.base).expect(BELOW_4_GIB),
        u32::try_from(place.size).expect(BELOW_4_GIB),
    );
    let name = format!("V{index:03}");
    let resources = [&registers as &dyn Aml, &interrupt(place.gsi)];
    device(&name, &"LNRO0005", index, &resources, &[])
}

fn ports(first: u16, count: u8) -> IO {
    IO::new(first, first, 1, count)
}
