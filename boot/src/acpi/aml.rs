//! The pieces of AML that several files of the DSDT share.
//!
//! AML, ACPI 6.5 §20. Interrupts use the extended descriptor, which Linux takes
//! at its word; it would correct the short one by ISA rules.

use acpi_tables::aml::{
    Device, Field, FieldAccessType, FieldEntry, FieldLockRule, FieldUpdateRule, Interrupt, Name,
    OpRegion, OpRegionSpace, Path, ResourceTemplate,
};
use acpi_tables::{Aml, AmlSink};

/// AML that has been made already, to be put into something larger.
#[derive(Default)]
pub(super) struct Made(Vec<u8>);

impl Made {
    /// Appends `aml`.
    pub(super) fn add(&mut self, aml: &dyn Aml) {
        aml.to_aml_bytes(&mut self.0);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Aml for Made {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

/// All of `parts`, one after another.
pub(super) fn made(parts: &[&dyn Aml]) -> Made {
    let mut made = Made::default();
    for part in parts {
        made.add(*part);
    }
    made
}

/// A device with an id, a number that tells it from others of that id,
/// resources, and `rest`.
pub(super) fn device(
    name: &str,
    id: &dyn Aml,
    unique: u32,
    resources: &[&dyn Aml],
    rest: &[&dyn Aml],
) -> Made {
    let id = Name::new("_HID".into(), id);
    let unique = Name::new("_UID".into(), &unique);
    let resources = ResourceTemplate::new(resources.to_vec());
    let resources = Name::new("_CRS".into(), &resources);
    let mut children: Vec<&dyn Aml> = vec![&id, &unique, &resources];
    children.extend(rest);
    made(&[&Device::new(name.into(), children)])
}

/// Edge triggered, active high, not shared: what irqfds and ISA chips do.
pub(super) fn interrupt(gsi: u32) -> Interrupt {
    Interrupt::new(true, true, false, false, gsi)
}

/// The registers called `names`, of four bytes each, from I/O port `port` on,
/// in a region called `region`. A register is read and written whole, so that
/// no access touches another.
pub(super) fn registers(region: &str, port: u16, names: &[&[u8; 4]]) -> Made {
    let length = names.len() * 4;
    let fields = names.iter().map(|name| FieldEntry::Named(**name, 32));
    let path = || Path::new(region);
    made(&[
        &OpRegion::new(path(), OpRegionSpace::SystemIO, &port, &length),
        &Field::new(
            path(),
            FieldAccessType::DWord,
            FieldLockRule::NoLock,
            FieldUpdateRule::Preserve,
            fields.collect(),
        ),
    ])
}
