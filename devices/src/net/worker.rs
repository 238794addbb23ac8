//! The worker of a network device: two queues and a port, on a reactor.
//!
//! What wakes it: the driver's notifications for either queue, and the port
//! when packets arrive or need not wait any more. A broken queue ends its work
//! until the driver resets the device.

use std::os::fd::AsRawFd;
use std::time::Instant;

use super::port::Port;
use super::receive::Receive;
use super::transmit::Transmit;
use crate::reactor::{Readiness, Source, Token, Worker};
use crate::virtio::queue::Queue;

const RECEIVE_KICK: Token = 0;
const TRANSMIT_KICK: Token = 1;
const ARRIVAL: Token = 2;
const GO_ON: Token = 3;

pub(super) struct NetWorker {
    receive: Receive,
    transmit: Transmit,
    port: Box<dyn Port>,
    broken: bool,
}

impl NetWorker {
    pub(super) fn new(receive: Receive, transmit: Transmit, port: Box<dyn Port>) -> Self {
        Self {
            receive,
            transmit,
            port,
            broken: false,
        }
    }

    /// The port and the queues.
    pub(super) fn into_parts(self) -> (Box<dyn Port>, Vec<Queue>) {
        let queues = vec![self.receive.into_queue(), self.transmit.into_queue()];
        (self.port, queues)
    }

    fn run_receive(&mut self) {
        if self.broken {
            return;
        }
        if let Err(fault) = self.receive.run(&mut *self.port) {
            self.broken = true;
            self.receive.queue().needs_reset(fault);
        }
    }

    fn run_transmit(&mut self) {
        if self.broken {
            return;
        }
        if let Err(fault) = self.transmit.run(&mut *self.port) {
            self.broken = true;
            self.transmit.queue().needs_reset(fault);
        }
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
            _ => {
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
