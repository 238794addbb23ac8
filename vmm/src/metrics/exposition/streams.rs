//! The same of devices that bytes go through and nothing else.

use super::super::{ConsoleMeasurements, RngMeasurements, VsockMeasurements};
use super::Exposition;
use crate::device_name::DeviceName;

/// Each of `all` with its name as a label's value.
fn named<T>(all: &[T], name: impl Fn(&T) -> &DeviceName) -> Vec<(String, &T)> {
    all.iter().map(|one| (name(one).to_string(), one)).collect()
}

pub(super) fn rngs(text: &mut Exposition, rngs: &[RngMeasurements]) {
    let named = named(rngs, |rng| &rng.name);
    let help = "Requests that got random bytes.";
    let mut family = text.counter("plinth_rng_requests", "", help);
    for (name, rng) in &named {
        family.sample(&[("rng", name)], rng.requests);
    }
    let mut family = text.counter("plinth_rng_bytes", "bytes", "Random bytes given.");
    for (name, rng) in &named {
        family.sample(&[("rng", name)], rng.bytes);
    }
    let help = "Requests that got nothing.";
    let mut family = text.counter("plinth_rng_unfilled", "", help);
    for (name, rng) in &named {
        family.sample(&[("rng", name)], rng.unfilled);
    }
}

pub(super) fn vsocks(text: &mut Exposition, vsocks: &[VsockMeasurements]) {
    let named = named(vsocks, |vsock| &vsock.name);
    let help = "Packets that passed; receive is to the guest.";
    let mut family = text.counter("plinth_vsock_packets", "", help);
    for (name, vsock) in &named {
        for (direction, packets, _) in vsock.directions {
            family.sample(&[("vsock", name), ("direction", direction)], packets);
        }
    }
    let help = "Bytes of data in packets that passed.";
    let mut family = text.counter("plinth_vsock_bytes", "bytes", help);
    for (name, vsock) in &named {
        for (direction, _, bytes) in vsock.directions {
            family.sample(&[("vsock", name), ("direction", direction)], bytes);
        }
    }
    let help = "Connections that came about, by who wanted them.";
    let mut family = text.counter("plinth_vsock_connections", "", help);
    for (name, vsock) in &named {
        for (initiator, count) in vsock.connections {
            family.sample(&[("vsock", name), ("initiator", initiator)], count);
        }
    }
    let help = "Connections that did not come about.";
    let mut family = text.counter("plinth_vsock_refusals", "", help);
    for (name, vsock) in &named {
        for (reason, count) in vsock.refused {
            family.sample(&[("vsock", name), ("reason", reason)], count);
        }
    }
    let help = "Mistakes of the guest's driver.";
    let mut family = text.counter("plinth_vsock_faults", "", help);
    for (name, vsock) in &named {
        family.sample(&[("vsock", name)], vsock.faults);
    }
}

pub(super) fn consoles(text: &mut Exposition, consoles: &[ConsoleMeasurements]) {
    let named = named(consoles, |console| &console.name);
    let help = "Bytes that passed; receive is to the guest.";
    let mut family = text.counter("plinth_console_bytes", "bytes", help);
    for (name, console) in &named {
        for (direction, bytes) in console.directions {
            family.sample(&[("console", name), ("direction", direction)], bytes);
        }
    }
    let help = "Bytes of the guest that nobody took in time.";
    let mut family = text.counter("plinth_console_lost_bytes", "bytes", help);
    for (name, console) in &named {
        family.sample(&[("console", name)], console.lost_bytes);
    }
    let help = "Mistakes of the guest's driver.";
    let mut family = text.counter("plinth_console_faults", "", help);
    for (name, console) in &named {
        family.sample(&[("console", name)], console.faults);
    }
}
