//! A wrapper that holds packets back while a limit says so, with limits of
//! its own for each direction.
//!
//! A packet that is not yet to be sent stays with the driver. Packets that are
//! not yet to be received stay in the port, which is not read: the driver's
//! limit is to who sends to it what a slow network is. What a packet costs is
//! known only when it was received, so that the next one waits for it. A port that
//! takes its queues over has no limits, which is for who configures it to see to.
//!
//! Costs are one packet and the bytes of its frame. A packet that the driver
//! leaves others to segment is one. While there is no limit, a packet costs
//! one load more than without.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use super::header;
use super::offloads::Offloads;
use super::port::{Port, Sent};
use super::posted::Posted;
use crate::clock::AlarmClock;
use crate::rate_limit::Gate;
use crate::virtio::buffers::Buffers;
use crate::virtio::queue::Queue;

/// A port behind two gates.
pub(super) struct LimitedPort<C> {
    inner: Box<dyn Port>,
    receive: Gate<C>,
    transmit: Gate<C>,
    /// The packet that is to be sent again has paid, and waits for the port alone.
    admitted: bool,
    /// The port has the queues, and packets do not come by here.
    taken_over: bool,
}

impl<C: AlarmClock> LimitedPort<C> {
    pub(super) fn new(inner: Box<dyn Port>, receive: Gate<C>, transmit: Gate<C>) -> Self {
        Self {
            inner,
            receive,
            transmit,
            admitted: false,
            taken_over: false,
        }
    }
}

/// Bytes of the frame in a packet of `len` bytes.
fn frame(len: u64) -> u64 {
    len.saturating_sub(header::SIZE as u64)
}

impl<C: AlarmClock> Port for LimitedPort<C> {
    fn arrivals(&self) -> BorrowedFd<'_> {
        self.inner.arrivals()
    }

    fn wakers(&self) -> Vec<RawFd> {
        let mut wakers = self.inner.wakers();
        if self.taken_over {
            return wakers;
        }
        wakers.extend(self.receive.wakers());
        wakers.extend(self.transmit.wakers());
        wakers
    }

    fn go_on(&mut self) {
        self.inner.go_on();
    }

    fn set_in_use(&mut self, in_use: bool) -> io::Result<()> {
        self.inner.set_in_use(in_use)
    }

    fn take_over(&mut self, queues: [&mut Queue; 2], features: u64) -> bool {
        self.taken_over = self.inner.take_over(queues, features);
        self.taken_over
    }

    fn hand_back(&mut self, queues: [&mut Queue; 2]) {
        self.taken_over = false;
        self.inner.hand_back(queues);
    }

    fn offloads(&self) -> Offloads {
        self.inner.offloads()
    }

    fn set_offloads(&mut self, offloads: Offloads) -> io::Result<()> {
        self.inner.set_offloads(offloads)
    }

    fn send(&mut self, packet: &Buffers) -> io::Result<Sent> {
        if !self.admitted && !self.transmit.admits(frame(packet.len())) {
            return Ok(Sent::NotYet);
        }
        let sent = self.inner.send(packet);
        self.admitted = matches!(sent, Ok(Sent::NotYet));
        sent
    }

    fn receive(&mut self, posted: &mut Posted) -> io::Result<usize> {
        if !self.receive.is_clear() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = self.inner.receive(posted)?;
        self.receive.charge(frame(len as u64));
        Ok(len)
    }
}
