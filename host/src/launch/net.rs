//! Network interfaces: each a tap and an address.

use std::fs::{self, File};

use crate::error::Error;
use crate::option::mac::Mac;
use crate::option::net::{NetOption, TapName};

use super::tap;

/// A network interface that is attached to its tap.
#[derive(Debug)]
pub struct Interface {
    /// The tap's name on the host.
    pub tap: TapName,
    /// The tap: non-blocking, with virtio-net headers.
    pub file: File,
    /// The guest's address.
    pub mac: Mac,
    /// The MTU announced to the guest, in bytes.
    pub mtu: Option<u16>,
}

/// Attaches to taps in order.
///
/// # Errors
/// One cannot be attached to, or two interfaces have the same address or tap.
pub fn open_all(options: Vec<NetOption>) -> Result<Vec<Interface>, Error> {
    let host = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let mut interfaces: Vec<Interface> = Vec::with_capacity(options.len());
    for option in options {
        let mac = option.mac;
        let mac = mac.unwrap_or_else(|| Mac::derived(host.trim(), option.tap.as_str()));
        if interfaces.iter().any(|other| other.tap == option.tap) {
            return Err(
                Error::configuration(format!("tap '{}' is given twice", option.tap))
                    .remedy("another tap for each --net"),
            );
        }
        if interfaces.iter().any(|other| other.mac == mac) {
            return Err(
                Error::configuration(format!("two interfaces have the MAC address {mac}"))
                    .remedy("another mac=MAC for one of them"),
            );
        }
        interfaces.push(Interface {
            file: tap::open(&option.tap)?,
            tap: option.tap,
            mac,
            mtu: option.mtu,
        });
    }
    Ok(interfaces)
}
