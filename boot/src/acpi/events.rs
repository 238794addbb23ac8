//! The Generic Event Device, through which all events of the machine reach a
//! guest with hardware-reduced ACPI (ACPI 6.5 §5.6.9), and the power button.
//!
//! One edge interrupt says that something happened; the method it runs reads
//! what, which clears it, and does what each file of the DSDT that has an event
//! asked for.

use acpi_tables::Aml;
use acpi_tables::aml::{And, Device, EISAName, If, Local, Method, Name, Notify, Path, Store, ZERO};

use super::aml::{Made, device, interrupt, made, registers};
use crate::layout::{EVENT_GSI, EVENTS_PORT};

/// What an object is notified of if there is only one thing to say (ACPI 6.5
/// §5.6.6: device-specific; for a button, that it was pressed).
const PRESSED: u8 = 0x80;

/// What is done at which event.
#[derive(Default)]
pub(super) struct Events(Vec<(u32, Made)>);

impl Events {
    /// Has `action` done at the event with this bit.
    pub(super) fn on(&mut self, bit: u32, action: &dyn Aml) {
        self.0.push((bit, made(&[action])));
    }

    /// The event device; none without events.
    pub(super) fn device(&self) -> Made {
        if self.0.is_empty() {
            return Made::default();
        }
        let happened = Local(0);
        let mut body = made(&[&Store::new(&happened, &Path::new("EVNT"))]);
        for (bit, action) in &self.0 {
            body.add(&If::new(&And::new(&ZERO, &happened, bit), vec![action]));
        }
        // Serialized: what is read is handled before the next is read.
        let handle = Method::new("_EVT".into(), 1, true, vec![&body]);
        device(
            "GED0",
            &"ACPI0013",
            0,
            &[&interrupt(EVENT_GSI)],
            &[&registers("EREG", EVENTS_PORT, &[b"EVNT"]), &handle],
        )
    }
}

/// The power button (ACPI 6.5 §4.8.2.2.1.2).
pub(super) fn power_button() -> Made {
    let id = Name::new("_HID".into(), &EISAName::new("PNP0C0C"));
    made(&[&Device::new("PWRB".into(), vec![&id])])
}

/// What a press of the power button does.
pub(super) fn on_power_button() -> Made {
    made(&[&Notify::new(&Path::new("\\_SB_.PWRB"), &PRESSED)])
}
