//! `guest await`: waits for devices, which are named as in `/sys/class`
//! (`block/vda`, `net/eth0`), and prints a line as each is there. It waits for the
//! kernel's own word (Documentation/core-api/kobject.rst, "Uevents") and polls
//! nothing, so that a benchmark can measure how soon a guest has a device.

use std::path::Path;

use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use rustix::net::{bind, recv, socket_with};

use super::{Outcome, print, usage};

/// The group in which the kernel itself speaks.
const KERNEL: u32 = 1;

pub(super) fn run(devices: &[&str]) -> Outcome {
    if devices.is_empty() {
        return usage();
    }
    let events = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(KOBJECT_UEVENT),
    )?;
    bind(&events, &SocketAddrNetlink::new(0, KERNEL))?;
    print(format_args!("await: ready"))?;
    // From here on no event is missed, so one that is there already is seen now.
    let mut missing: Vec<&str> = Vec::new();
    for device in devices {
        match Path::new("/sys/class").join(device).exists() {
            true => print(format_args!("await: {device}"))?,
            false => missing.push(device),
        }
    }
    let mut bytes = [0; 4096];
    while !missing.is_empty() {
        let (count, _) = recv(&events, &mut bytes, RecvFlags::empty())?;
        let event = &bytes[..count];
        if let Some(place) = missing.iter().position(|device| added(event, device)) {
            print(format_args!("await: {}", missing.remove(place)))?;
        }
    }
    Ok(())
}

/// Whether an event, `ACTION@PATH` and a zero, says that `device` is there.
fn added(event: &[u8], device: &str) -> bool {
    let mut words = event.split(|byte| *byte == 0);
    let path = words.next().and_then(|word| word.strip_prefix(b"add@"));
    path.is_some_and(|path| {
        path.strip_suffix(device.as_bytes())
            .is_some_and(|parent| parent.ends_with(b"/"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_addition_of_the_very_device_counts() {
        let path = "/devices/pci0000:00/0000:00:03.0/virtio2/block/vda";
        let event = |action: &str, path: &str| format!("{action}@{path}\0ACTION={action}\0");
        assert!(added(event("add", path).as_bytes(), "block/vda"));
        assert!(!added(event("remove", path).as_bytes(), "block/vda"));
        assert!(!added(event("add", path).as_bytes(), "lock/vda"));
        let partition = format!("{path}/vda1");
        assert!(!added(event("add", &partition).as_bytes(), "block/vda"));
        assert!(!added(b"", "block/vda"));
    }
}
