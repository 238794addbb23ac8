//! The seam between a network device and the network: a port.
//!
//! A tap is one. Others may wrap it: to limit its rate, to capture what
//! passes, to answer some packets themselves. Packets carry the
//! [`header`](super::header) in front.
//!
//! A device with several queue pairs has a port for each, all to one network,
//! which chooses by which of them a packet comes.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use super::offloads::Offloads;
use super::posted::Posted;
use crate::virtio::buffers::Buffers;
use crate::virtio::queue::Queue;

/// What became of a packet that a port was to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// It is on its way; the port may hold a part of it.
    Gone,
    /// It has to wait: it is to be sent again when one of the port's
    /// [`wakers`](Port::wakers) is ready, and nothing before it.
    NotYet,
}

/// Where packets come from and go to. Never blocks.
pub trait Port: Send {
    /// Becomes readable when packets arrive, edge by edge, for as long as the
    /// port lives.
    fn arrivals(&self) -> BorrowedFd<'_>;

    /// Become readable when a port that held packets back does not any more,
    /// in either direction. Edges count; nobody reads them.
    fn wakers(&self) -> Vec<RawFd> {
        Vec::new()
    }

    /// Goes on with what it holds of packets that are [`Sent::Gone`]. Called when
    /// one of its wakers is ready, since no other packet may follow.
    fn go_on(&mut self) {}

    /// Whether packets are to come here: a port that is one of several gets its
    /// share of them only while it is in use, as it is at first. Packets that
    /// wait in a port that is not in use any more are lost.
    ///
    /// # Errors
    /// The network is gone. Nothing has changed.
    fn set_in_use(&mut self, _in_use: bool) -> io::Result<()> {
        Ok(())
    }

    /// Carries all packets between `queues`, those to the driver first, and the network
    /// by itself from now on, as `features` that the driver accepted say, or tells that
    /// it does not; then they are as far as they were worked off by that time. While it
    /// does, the queues are left alone, nothing is sent or received, and a waker that is
    /// ready says that a queue is broken.
    fn take_over(&mut self, _queues: [&mut Queue; 2], _features: u64) -> bool {
        false
    }

    /// Ends what [`take_over`](Self::take_over) began: the queues are as far as they
    /// were worked off.
    fn hand_back(&mut self, _queues: [&mut Queue; 2]) {}

    /// The offloads that the port can carry, in both directions; constant.
    fn offloads(&self) -> Offloads;

    /// Sets the offloads that packets to be received may make use of.
    ///
    /// # Errors
    /// The port cannot carry them.
    fn set_offloads(&mut self, offloads: Offloads) -> io::Result<()>;

    /// Sends a packet, or says that it has to wait.
    ///
    /// # Errors
    /// The packet is lost. `InvalidInput`: its header makes no sense.
    /// `WouldBlock`: the port is busy. Else the port failed.
    fn send(&mut self, packet: &Buffers) -> io::Result<Sent>;

    /// Receives a packet into `posted` and returns its length in bytes, which
    /// may exceed the driver's buffers by what `posted` has to spare. Bytes 10
    /// and 11, the header's number of buffers, are left undefined.
    ///
    /// # Errors
    /// Nothing was received. `WouldBlock`: there is nothing yet. Else the port
    /// failed.
    fn receive(&mut self, posted: &mut Posted) -> io::Result<usize>;
}
