//! The seam between a network device and the network: a port.
//!
//! A tap is one. Others may wrap it: to limit its rate, to capture what
//! passes, to answer some packets themselves. Packets carry the
//! [`header`](super::header) in front.

use std::io;
use std::os::fd::BorrowedFd;

use super::offloads::Offloads;
use super::posted::Posted;
use crate::virtio::buffers::Buffers;

/// Where packets come from and go to. Never blocks.
pub trait Port: Send {
    /// Becomes readable when packets arrive, edge by edge, for as long as the
    /// port lives.
    fn arrivals(&self) -> BorrowedFd<'_>;

    /// The offloads that the port can carry, in both directions; constant.
    fn offloads(&self) -> Offloads;

    /// Sets the offloads that packets to be received may make use of.
    ///
    /// # Errors
    /// The port cannot carry them.
    fn set_offloads(&mut self, offloads: Offloads) -> io::Result<()>;

    /// Sends a packet.
    ///
    /// # Errors
    /// The packet is lost. `InvalidInput`: its header makes no sense.
    /// `WouldBlock`: the port is busy. Else the port failed.
    fn send(&mut self, packet: &Buffers) -> io::Result<()>;

    /// Receives a packet into `posted` and returns its length in bytes, which
    /// may exceed the driver's buffers by what `posted` has to spare. Bytes 10
    /// and 11, the header's number of buffers, are left undefined.
    ///
    /// # Errors
    /// Nothing was received. `WouldBlock`: there is nothing. Else the port
    /// failed.
    fn receive(&mut self, posted: &mut Posted) -> io::Result<usize>;
}
