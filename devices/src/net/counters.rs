//! What a network device has done, and every packet that it has dropped.
//!
//! The worker counts; anybody may look, at any time. Counters only grow, and
//! survive resets.

use crate::counter::Counter;

/// The counters of one device.
#[derive(Debug, Default)]
pub struct Counters {
    /// Packets from the port to the driver.
    pub receive: Receive,
    /// Packets from the driver to the port.
    pub transmit: Transmit,
    /// Commands of the control queue that made no sense.
    pub refused_commands: Counter,
}

/// Counters of the receive side. A packet is in `packets` or in one of the
/// others.
#[derive(Debug, Default)]
pub struct Receive {
    /// Packets that the driver got.
    pub packets: Counter,
    /// Bytes in these packets, without headers.
    pub bytes: Counter,
    /// Dropped: the device stopped while the packet waited for buffers.
    pub no_buffer: Counter,
    /// Dropped: larger than the buffers that the driver provides.
    pub oversized: Counter,
    /// The port failed, or gave less than a header.
    pub port_error: Counter,
    /// Buffers, not packets: returned unused since they are shorter than a
    /// header, in too many pieces, or malformed.
    pub bad_buffer: Counter,
}

/// Counters of the transmit side. A packet is in `packets` or in one of the
/// others.
#[derive(Debug, Default)]
pub struct Transmit {
    /// Packets that the port took.
    pub packets: Counter,
    /// Bytes in these packets, without headers.
    pub bytes: Counter,
    /// Dropped: a broken chain, no whole header, or a header that the port
    /// does not accept.
    pub malformed: Counter,
    /// Dropped: larger than any packet may be.
    pub oversized: Counter,
    /// Dropped: the port was busy.
    pub port_busy: Counter,
    /// Dropped: the port failed, for instance since its interface is down.
    pub port_error: Counter,
}
