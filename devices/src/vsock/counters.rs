//! What a vsock device has done. The worker counts; anybody may look, at any
//! time. Counters only grow, and survive resets.

use crate::counter::Counter;

/// The counters of one device.
#[derive(Debug, Default)]
pub struct Counters {
    /// Packets from the driver.
    pub sent_packets: Counter,
    /// Bytes of data in these.
    pub sent_bytes: Counter,
    /// Packets to the driver.
    pub received_packets: Counter,
    /// Bytes of data in these.
    pub received_bytes: Counter,
    /// Connections that the guest made to a service of the host.
    pub guest_connections: Counter,
    /// Connections that a host program made to the guest.
    pub host_connections: Counter,
    /// Connections refused, either way: nobody listens, what was asked for
    /// makes no sense, or there are too many.
    pub refused: Counter,
    /// Host programs that were hung up on because they did not say in time
    /// what they want.
    pub late_greetings: Counter,
    /// The driver broke the rules: a malformed packet, one that belongs to no
    /// connection, or figures that cannot be.
    pub faults: Counter,
}
