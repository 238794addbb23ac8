//! The worker of a queue pair of a network device: its two queues and a port,
//! on a reactor.
//!
//! What wakes it: the driver's notifications for either queue, and the port
//! when packets arrive or need not wait any more, and a change of which
//! [pairs](super::pairs) are in use. A pair that is not rests, whatever is in
//! its queues. A broken queue ends its work until the driver resets the device.

use std::os::fd::AsRawFd;
use std::time::Instant;

use super::pairs::Pair;
use super::port::Port;
use super::receive::Receive;
use super::transmit::Transmit;
use crate::reactor::{Readiness, Source, Token, Worker};
use crate::virtio::queue::Queue;

const RECEIVE_KICK: Token = 0;
const TRANSMIT_KICK: Token = 1;
const ARRIVAL: Token = 2;
const GO_ON: Token = 3;
const CHANGE: Token = 4;

pub(super) struct NetWorker {
    receive: Receive,
    transmit: Transmit,
    port: Box<dyn Port>,
    pair: Pair,
    broken: bool,
}

impl NetWorker {
    pub(super) fn new(
        receive: Receive,
        transmit: Transmit,
        port: Box<dyn Port>,
        pair: Pair,
    ) -> Self {
        Self {
            receive,
            transmit,
            port,
            pair,
            broken: false,
        }
    }

    /// The port and the queues.
    pub(super) fn into_parts(self) -> (Box<dyn Port>, [Queue; 2]) {
        let queues = [self.receive.into_queue(), self.transmit.into_queue()];
        (self.port, queues)
    }

    fn rests(&self) -> bool {
        self.broken || !self.pair.is_in_use()
    }

    fn run_receive(&mut self) {
        if self.rests() {
            return;
        }
        if let Err(fault) = self.receive.run(&mut *self.port) {
            self.broken = true;
            self.receive.queue().needs_reset(fault);
        }
    }

    fn run_transmit(&mut self) {
        if self.rests() {
            return;
        }
        if let Err(fault) = self.transmit.run(&mut *self.port) {
            self.broken = true;
            self.transmit.queue().needs_reset(fault);
        }
    }

    /// Comes into use or rests, if the driver has decided so.
    fn follow(&mut self) {
        let (port, receive) = (&mut self.port, &mut self.receive);
        self.pair.follow(|in_use| {
            if !in_use {
                receive.release();
            }
            port.set_in_use(in_use)
        });
        self.run_receive();
        self.run_transmit();
    }
}

impl Worker for NetWorker {
    fn sources(&self) -> Vec<Source> {
        let mut wakers = vec![
            (self.receive.queue().kick_fd(), RECEIVE_KICK),
            (self.transmit.queue().kick_fd(), TRANSMIT_KICK),
            (self.port.arrivals().as_raw_fd(), ARRIVAL),
        ];
        wakers.extend(self.port.wakers().into_iter().map(|fd| (fd, GO_ON)));
        wakers.extend(self.pair.changed_fd().map(|fd| (fd, CHANGE)));
        let source = |(fd, token)| Source {
            fd,
            readiness: Readiness::Readable,
            token,
        };
        wakers.into_iter().map(source).collect()
    }

    fn ready(&mut self, token: Token) {
        match token {
            RECEIVE_KICK | ARRIVAL => self.run_receive(),
            TRANSMIT_KICK => self.run_transmit(),
            CHANGE => self.follow(),
            _ => {
                self.port.go_on();
                self.run_receive();
                self.run_transmit();
            }
        }
    }

    fn drain(&mut self, _: Instant) -> bool {
        self.receive.release();
        self.transmit.release();
        true
    }
}
