//! Network interfaces: each a tap, there before or made for a port of a switch,
//! and an address.

use std::error::Error as _;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use devices::net::tap_open::{TapOpenError, open_tap};
use vmm::config::NetConfig;
use vmm::{DeviceName, MacAddress, NetOptions, QueueCount};

use crate::doctor::tap::PERMISSION;
use crate::error::Error;
use crate::holder;
use crate::option::net::{NetEnd, NetOption};
use crate::shell::word;
use crate::switch::directory::Switches;
use crate::switch::instance::InstanceRecord;
use crate::switch::plug::{Machine, plug};
use crate::switch::record::Kind;
use crate::switch::service;

use super::{passt, vhost};

/// Whether the guest can ask one of the networks about itself.
///
/// # Errors
/// There is no such network.
pub fn have_metadata(options: &[NetOption]) -> Result<bool, Error> {
    for option in options {
        if let NetEnd::Port(port) = &option.end {
            let switch = Switches::of_this_user()?.read(&port.switch)?;
            if matches!(switch.kind, Kind::Vpc(_)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Plugs the machine `owner` in, in order; where its networks tell it so, it is
/// `instance`.
///
/// # Errors
/// One interface cannot be plugged in, or two have the same address or tap.
pub fn open_all(
    options: Vec<NetOption>,
    owner: &str,
    mut instance: Option<InstanceRecord>,
) -> Result<Vec<NetConfig>, Error> {
    let mut taps: Vec<&str> = Vec::with_capacity(options.len());
    let mut interfaces: Vec<NetConfig> = Vec::with_capacity(options.len());
    for (number, option) in options.iter().enumerate() {
        let name = option.id.clone().unwrap_or_else(|| numbered(number));
        if let NetEnd::Tap { name: tap, .. } = &option.end {
            if taps.contains(&tap.as_str()) {
                return Err(Error::configuration(format!("tap '{tap}' is given twice"))
                    .remedy("another tap for each --net"));
            }
            taps.push(tap);
        }
        let machine = Machine {
            owner,
            instance: instance.as_ref(),
        };
        let interface = open_one(option, name, &machine)?;
        if let (NetEnd::Port(_), Some(instance)) = (&option.end, &mut instance) {
            instance.device_number = instance.device_number.saturating_add(1);
        }
        let mac = interface.options.mac;
        if interfaces.iter().any(|other| other.options.mac == mac) {
            return Err(
                Error::configuration(format!("two interfaces have the MAC address {mac}"))
                    .remedy("another mac=MAC for one of them"),
            );
        }
        interfaces.push(interface);
    }
    Ok(interfaces)
}

/// Plugs in one interface of `machine`, which may have others already.
///
/// # Errors
/// It cannot be plugged in.
pub fn open_one(
    option: &NetOption,
    name: DeviceName,
    machine: &Machine<'_>,
) -> Result<NetConfig, Error> {
    let (cable, mac, mtu) = match &option.end {
        NetEnd::Tap { name: tap, mtu } => {
            let host = fs::read_to_string("/etc/machine-id").unwrap_or_default();
            let mac = option.mac.unwrap_or_else(|| derived(&host, tap));
            (open(tap, option.queues)?, mac, *mtu)
        }
        NetEnd::User(user) => {
            let host = fs::read_to_string("/etc/machine-id").unwrap_or_default();
            let mac = option
                .mac
                .unwrap_or_else(|| derived(&host, &format!("user {name}")));
            // The MTU is for passt to tell, by DHCP.
            (vec![passt::start(user)?], mac, None)
        }
        NetEnd::Port(port) => {
            let switches = Switches::of_this_user()?;
            let plugged = plug(&switches, port, option.mac, option.queues, machine)?;
            service::start(&switches, &port.switch)?;
            (plugged.taps, plugged.mac, Some(plugged.mtu))
        }
    };
    let vhost = match option.vhost {
        true => vhost::open(cable.len())?,
        false => Vec::new(),
    };
    Ok(NetConfig {
        name,
        cable,
        vhost,
        options: NetOptions { mac, mtu },
        receive: option.receive,
        transmit: option.transmit,
    })
}

/// What an interface is called if the user did not say.
pub fn numbered(number: usize) -> DeviceName {
    let name = format!("net{number}");
    name.parse().expect("a number is short and printable")
}

/// An address that is the same at every start, so that the guest keeps its
/// interface's name and its DHCP lease.
fn derived(host: &str, tap: &str) -> MacAddress {
    MacAddress::local(format!("{}/{tap}", host.trim()).as_bytes())
}

fn open(tap: &str, queues: QueueCount) -> Result<Vec<OwnedFd>, Error> {
    // Of a tap with several queues the kernel lets several machines have some,
    // and each would get a part of the packets.
    let several = queues.get() > 1;
    if let Some(holder) = several.then(|| holder::of_tap(tap)).flatten() {
        let name = tap.into();
        let busy = TapOpenError::Busy { name };
        return Err(refused(busy, queues, || holder::by(Some(holder))));
    }
    open_tap(tap, queues)
        .map_err(|error| refused(error, queues, || holder::by(holder::of_tap(tap))))
}

/// The same refusal of a tap with `queues` with a remedy, and with who holds
/// the tap.
fn refused(error: TapOpenError, queues: QueueCount, by: impl FnOnce() -> String) -> Error {
    match error {
        TapOpenError::BadName { .. } => {
            Error::configuration(error.to_string()).remedy("the name of a tap: ip tuntap list")
        }
        TapOpenError::Busy { name } => {
            Error::configuration(format!("tap '{name}' is in use {}", by()))
                .remedy("ending that process, or another tap")
        }
        TapOpenError::Missing { name } => {
            Error::configuration(format!("tap '{name}' does not exist")).remedy(made(&name, queues))
        }
        TapOpenError::NotPermitted { name } => {
            Error::configuration(format!("tap '{name}' belongs to another user"))
                .remedy(made_anew(&name, queues))
        }
        TapOpenError::NotATap { name } => {
            Error::configuration(format!("network interface '{name}' is not a tap"))
                .remedy("the name of a tap: ip tuntap list")
        }
        TapOpenError::SingleQueue {
            name,
            queues: several,
        } => Error::configuration(format!(
            "tap '{name}' was made for one queue, not {several}"
        ))
        .remedy(format!(
            "leaving out queues={several}, or making it with multi_queue: {}",
            made_anew(&name, queues)
        )),
        TapOpenError::MultiQueue { name } => {
            Error::configuration(format!("tap '{name}' was made for several queues, not one"))
                .remedy(format!(
                    "queues=2 or more, or making it without multi_queue: {}",
                    made_anew(&name, queues)
                ))
        }
        TapOpenError::NoDriver { name, source } => {
            let remedy = match source.kind() {
                io::ErrorKind::PermissionDenied => PERMISSION,
                _ => "sudo modprobe tun",
            };
            Error::host(format!("/dev/net/tun cannot be opened for tap '{name}'"))
                .because(source)
                .remedy(remedy)
        }
        other => {
            let error = Error::configuration(other.to_string());
            match other.source() {
                Some(source) => error.because(source.to_string()),
                None => error,
            }
        }
    }
}

/// The commands that make the tap `name` for `queues`.
fn made(name: &str, queues: QueueCount) -> String {
    let word = word(name);
    let several = if queues.get() > 1 { " multi_queue" } else { "" };
    format!(
        "sudo ip tuntap add dev {word} mode tap{several} user $USER && \
         sudo ip link set {word} up"
    )
}

/// The same for a tap that is there already.
fn made_anew(name: &str, queues: QueueCount) -> String {
    format!(
        "sudo ip link delete {} && {}",
        word(name),
        made(name, queues)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitStatus;

    #[test]
    fn each_obstacle_has_its_message_and_status() {
        let name = || String::from("tap0");
        let source = || io::Error::other("why");
        for (error, status, parts) in [
            (
                TapOpenError::Busy { name: name() },
                ExitStatus::Configuration,
                ["tap 'tap0' is in use by process 7", "another tap"],
            ),
            (
                TapOpenError::NotPermitted { name: name() },
                ExitStatus::Configuration,
                ["tap 'tap0' belongs to another user", "user $USER"],
            ),
            (
                TapOpenError::SingleQueue {
                    name: name(),
                    queues: 4,
                },
                ExitStatus::Configuration,
                [
                    "tap 'tap0' was made for one queue, not 4",
                    "add dev tap0 mode tap multi_queue user $USER",
                ],
            ),
            (
                TapOpenError::MultiQueue { name: name() },
                ExitStatus::Configuration,
                [
                    "tap 'tap0' was made for several queues, not one",
                    "queues=2",
                ],
            ),
            (
                TapOpenError::NoDriver {
                    name: name(),
                    source: source(),
                },
                ExitStatus::Host,
                ["tap 'tap0': why", "modprobe tun"],
            ),
            (
                TapOpenError::NoDriver {
                    name: name(),
                    source: io::ErrorKind::PermissionDenied.into(),
                },
                ExitStatus::Host,
                ["permission denied", "GROUP=\"kvm\""],
            ),
            (
                TapOpenError::BadName {
                    name: "sixteen-bytes-aa".into(),
                },
                ExitStatus::Configuration,
                ["is not the name of an interface", "try: the name of a tap"],
            ),
            (
                TapOpenError::Missing { name: "a;b".into() },
                ExitStatus::Configuration,
                ["tap 'a;b' does not exist", "tuntap add dev 'a;b' mode"],
            ),
            (
                TapOpenError::Other {
                    name: name(),
                    source: source(),
                },
                ExitStatus::Configuration,
                ["tap tap0 cannot be opened: why", ""],
            ),
        ] {
            let queues = match error {
                TapOpenError::SingleQueue { queues, .. } => queues,
                _ => 1,
            };
            let queues = QueueCount::new(queues.into()).unwrap();
            let error = refused(error, queues, || "by process 7".into());
            assert_eq!(error.exit_status(), status);
            for part in parts {
                assert!(error.report().contains(part), "{}", error.report());
            }
        }
    }

    #[test]
    fn a_derived_address_depends_on_host_and_tap() {
        assert_eq!(derived("host\n", "tap0"), derived("host", "tap0"));
        assert_ne!(derived("host", "tap0"), derived("host", "tap1"));
        assert_ne!(derived("host", "tap0"), derived("other", "tap0"));
    }
}
