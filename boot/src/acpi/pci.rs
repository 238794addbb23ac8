//! The PCI host bridge: what it decodes, and the slots that a running guest
//! sees change.
//!
//! Hot-plug is described in AML instead of by native PCI Express hot-plug: all
//! slots are on one bus, so that a guest has no root port and no bridge window
//! per slot to set up at each boot, and no button to wait for. A slot has no
//! `_STA`: its configuration space says whether a device is there, and Linux
//! reads that anyway (drivers/pci/hotplug/acpiphp_glue.c).
//!
//! There is no `_PRT`, since no device has an interrupt pin.

use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, And, Arg, CreateDWordField, Device, EISAName, Else, Equal,
    If, Local, Memory32Fixed, Method, MethodCall, Name, Notify, ONE, Or, Path, Return, Store, Uuid,
    ZERO,
};
use acpi_tables::mcfg::MCFG;

use super::aml::{Made, device, made, registers};
use super::{OEM_ID, OEM_REVISION, OEM_TABLE_ID};
use crate::layout::{PCI_ECAM, PCI_ECAM_BUS, PCI_PORTS, PCI_SLOTS_PORT, PCI_WINDOW};
use crate::{PciHost, SlotSet};

/// The last, and first, bus.
const LAST_BUS: u8 = 0;

/// `_OSC` capabilities of a PCI Express host bridge (PCI Firmware 3.3 §4.5.1).
const HOST_BRIDGE_UUID: &str = "33db4d5b-1ff7-401c-9657-7441c03dd766";
/// Bits of the first doubleword that `_OSC` returns (ACPI 6.5 §6.2.11).
const UNRECOGNIZED_UUID: u8 = 1 << 2;
const CAPABILITIES_MASKED: u8 = 1 << 4;

/// Notification values (ACPI 6.5 §5.6.6).
const EJECT_REQUEST: u8 = 3;

/// Where configuration space is.
pub(super) fn mcfg() -> MCFG {
    let mut table = MCFG::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    table.add_ecam(PCI_ECAM.start, 0, 0, LAST_BUS);
    table
}

/// The host bridge, and who keeps its configuration space for it: a host
/// bridge's own resources would count as its window, and Linux does not use
/// what nobody reserves (arch/x86/pci/mmconfig-shared.c).
pub(super) fn host_bridge(host: &PciHost) -> Made {
    let bus_numbers = AddressSpace::new_bus_number(0_u16, LAST_BUS.into());
    let window = AddressSpace::new_memory(
        AddressSpaceCacheable::NotCacheable,
        true,
        below_4_gib(PCI_WINDOW.start),
        below_4_gib(PCI_WINDOW.end - 1),
        None,
    );
    let ports = AddressSpace::new_io(port(PCI_PORTS.start), port(PCI_PORTS.end - 1), None);
    let ecam = Memory32Fixed::new(true, below_4_gib(PCI_ECAM.start), below_4_gib(PCI_ECAM_BUS));
    let conventional = Name::new("_CID".into(), &EISAName::new("PNP0A03"));
    let segment = Name::new("_SEG".into(), &ZERO);
    let base_bus = Name::new("_BBN".into(), &ZERO);
    let slots = hotplug(host.hotplug);
    made(&[
        &device("ECAM", &EISAName::new("PNP0C02"), 0, &[&ecam], &[]),
        &device(
            "PCI0",
            &EISAName::new("PNP0A08"),
            0,
            &[&bus_numbers, &window, &ports],
            &[&conventional, &segment, &base_bus, &refusal(), &slots],
        ),
    ])
}

fn below_4_gib(address: u64) -> u32 {
    u32::try_from(address).expect("PCI is below 4 GiB")
}

fn port(address: u64) -> u16 {
    u16::try_from(address).expect("ports have 16 bits")
}

/// `_OSC`: the guest gets no control of native hot-plug, power events or error
/// reporting, so that hot-plug is left to the slots below.
fn refusal() -> Made {
    let (status, control) = (Path::new("STAT"), Path::new("CTRL"));
    let capabilities = Arg(3);
    let deny = made(&[
        &Or::new(&status, &status, &CAPABILITIES_MASKED),
        &Store::new(&control, &ZERO),
    ]);
    let answer = made(&[
        &CreateDWordField::new(&control, &capabilities, &8_u8),
        &If::new(&control, vec![&deny]),
    ]);
    made(&[&Method::new(
        "_OSC".into(),
        4,
        // It makes names, so two calls must not overlap.
        true,
        vec![
            &CreateDWordField::new(&status, &capabilities, &ZERO),
            &If::new(
                &Equal::new(&Arg(0), &Uuid::new(HOST_BRIDGE_UUID)),
                vec![&answer],
            ),
            &Else::new(vec![&Or::new(&status, &status, &UNRECOGNIZED_UUID)]),
            &Return::new(&capabilities),
        ],
    )])
}

/// The slots, and the method that looks at their registers.
fn hotplug(slots: SlotSet) -> Made {
    if slots == SlotSet::NONE {
        return Made::default();
    }
    let mut aml = registers("SREG", PCI_SLOTS_PORT, &[b"SCHK", b"SREQ", b"SEJD"]);
    for slot in slots.iter() {
        aml.add(&slot_device(slot));
    }
    aml.add(&notify_slots(slots));
    let (new, unwanted) = (Path::new("SCHK"), Path::new("SREQ"));
    let notify = |kind| MethodCall::new("SNTF".into(), vec![&Local(0), kind]);
    // A register is read once, into a local, since reading clears it.
    aml.add(&Method::new(
        "SEVT".into(),
        0,
        false,
        vec![
            &Store::new(&Local(0), &new),
            &notify(&ONE),
            &Store::new(&Local(0), &unwanted),
            &notify(&EJECT_REQUEST),
        ],
    ));
    aml
}

/// What an event in a slot has done: [`hotplug`]'s method.
pub(super) fn on_event() -> MethodCall<'static> {
    MethodCall::new("\\_SB_.PCI0.SEVT".into(), Vec::new())
}

fn slot_name(slot: u8) -> Path {
    Path::new(&format!("S{slot:03}"))
}

/// A slot whose device can be ejected: writing its number tells the machine
/// that the guest is done with it.
fn slot_device(slot: u8) -> Made {
    let address = Name::new("_ADR".into(), &(u32::from(slot) << 16));
    let number = Name::new("_SUN".into(), &slot);
    let register = Path::new("SEJD");
    let write = Store::new(&register, &slot);
    let eject = Method::new("_EJ0".into(), 1, false, vec![&write]);
    made(&[&Device::new(
        slot_name(slot),
        vec![&address, &number, &eject],
    )])
}

/// Notifies those of `slots` that are in the bitmap of the first argument, of
/// the kind of the second.
fn notify_slots(slots: SlotSet) -> Made {
    let mut body = Made::default();
    for slot in slots.iter() {
        let bit = 1_u32 << slot;
        let name = slot_name(slot);
        body.add(&If::new(
            &And::new(&ZERO, &Arg(0), &bit),
            vec![&Notify::new(&name, &Arg(1))],
        ));
    }
    made(&[&Method::new("SNTF".into(), 2, false, vec![&body])])
}
