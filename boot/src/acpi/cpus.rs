//! vCPUs that are added while the guest runs: processor devices (ACPI 6.5
//! §8.4) that become present when the machine has more vCPUs than before.
//!
//! One register says how many there are; they are added in order and never
//! removed. vCPUs that are there from the start need no device.

use std::ops::Range;

use acpi_tables::Aml;
use acpi_tables::aml::{
    Arg, BufferData, Device, If, LessThan, Local, Method, MethodCall, Name, Notify, ONE, Path,
    Return, Store, ZERO,
};
use acpi_tables::madt::{EnabledStatus, ProcessorLocalApic};

use super::aml::{Made, made, registers};
use crate::layout::CPU_COUNT_PORT;

/// `_STA`: present, enabled, shown, working (ACPI 6.5 §6.3.7).
const THERE: u8 = 0b1111;

/// Devices for the vCPUs `ids`, and the methods that look at the register.
pub(super) fn hotplug(ids: Range<u8>) -> Made {
    let mut aml = registers("CREG", CPU_COUNT_PORT, &[b"CCNT"]);
    aml.add(&state());
    for id in ids.clone() {
        aml.add(&processor(id));
    }
    aml.add(&event(ids));
    aml
}

/// What a changed number of vCPUs does: [`hotplug`]'s method.
pub(super) fn on_event() -> MethodCall<'static> {
    MethodCall::new("\\_SB_.CEVT".into(), Vec::new())
}

fn name(id: u8) -> Path {
    Path::new(&format!("C{id:03}"))
}

/// The state of the vCPU whose id is the argument.
fn state() -> Made {
    let (count, there) = (Path::new("CCNT"), Return::new(&THERE));
    let is_there = LessThan::new(&Arg(0), &count);
    made(&[&Method::new(
        "CSTA".into(),
        1,
        false,
        vec![&If::new(&is_there, vec![&there]), &Return::new(&ZERO)],
    )])
}

fn processor(id: u8) -> Made {
    let hardware_id = Name::new("_HID".into(), &"ACPI0007");
    let unique = Name::new("_UID".into(), &id);
    let state = MethodCall::new("CSTA".into(), vec![&id]);
    let state = Return::new(&state);
    let state = Method::new("_STA".into(), 0, false, vec![&state]);
    // The MADT says that it is not there yet; this, that it now is.
    let mut apic = Vec::new();
    ProcessorLocalApic::new(id, id, EnabledStatus::Enabled).to_aml_bytes(&mut apic);
    let apic = Name::new("_MAT".into(), &BufferData::new(apic));
    let children: Vec<&dyn Aml> = vec![&hardware_id, &unique, &state, &apic];
    made(&[&Device::new(name(id), children)])
}

/// Has the guest look at all that are there: one that it knows already is no
/// news to it.
fn event(ids: Range<u8>) -> Made {
    let mut body = made(&[&Store::new(&Local(0), &Path::new("CCNT"))]);
    for id in ids {
        let is_there = LessThan::new(&id, &Local(0));
        body.add(&If::new(&is_there, vec![&Notify::new(&name(id), &ONE)]));
    }
    made(&[&Method::new("CEVT".into(), 0, false, vec![&body])])
}
