//! What a connection is known by: its two ports. Context ids are the same for
//! all.

use super::header::Header;

/// Any port, so none that a connection can have (vsock(7)).
pub(super) const ANY: u32 = u32::MAX;

/// The ports of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ports {
    pub(super) host: u32,
    pub(super) guest: u32,
}

impl Ports {
    /// Those of a packet from the guest, if they are ports.
    pub(super) fn of(header: &Header) -> Option<Self> {
        let ports = Self {
            host: header.destination_port,
            guest: header.source_port,
        };
        (ports.host != ANY && ports.guest != ANY).then_some(ports)
    }
}
