//! The worker of a queue pair of a network device: its two queues and a port,
//! on a reactor.
//!
//! What wakes it: the driver's notifications for either queue, and the port
//! when packets arrive or need not wait any more, and a change of which
//! [pairs](super::pairs) are in use. A pair that is not rests, whatever is in
//! its queues. A broken queue ends its work until the driver resets the device.
//!
//! Where the port takes the queues over there is nothing left to do but to follow such
//! changes, and to hear of a queue that is broken.

use std::os::fd::AsRawFd;
use std::time::Instant;

use super::pairs::Pair;
use super::port::Port;
use super::receive::Receive;
use super::transmit::Transmit;
use crate::reactor::{Readiness, Source, Token, Worker};
use crate::virtio::queue::{Queue, QueueFault};

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
    /// The port has the queues.
    taken_over: bool,
    broken: bool,
}

impl NetWorker {
    /// A worker for a driver that has accepted `features`.
    pub(super) fn new(
        mut receive: Receive,
        mut transmit: Transmit,
        mut port: Box<dyn Port>,
        pair: Pair,
        features: u64,
    ) -> Self {
        let queues = [receive.queue_mut(), transmit.queue_mut()];
        let taken_over = port.take_over(queues, features);
        let worker = Self {
            taken_over,
            receive,
            transmit,
            port,
            pair,
            broken: false,
        };
        worker.remind();
        worker
    }

    /// Has a port that has the queues look at them: what is there may have been told of
    /// when nobody listened.
    fn remind(&self) {
        if self.taken_over {
            self.receive.queue().kick_again();
            self.transmit.queue().kick_again();
        }
    }

    /// The port and the queues.
    pub(super) fn into_parts(mut self) -> (Box<dyn Port>, [Queue; 2]) {
        let [mut receive, mut transmit] = [self.receive.into_queue(), self.transmit.into_queue()];
        if self.taken_over {
            self.port.hand_back([&mut receive, &mut transmit]);
        }
        (self.port, [receive, transmit])
    }

    fn rests(&self) -> bool {
        self.broken || self.taken_over || !self.pair.is_in_use()
    }

    /// A queue that the port has is broken.
    fn break_down(&mut self) {
        if !self.broken {
            self.broken = true;
            self.receive.queue().needs_reset(QueueFault::Ring);
        }
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
        self.remind();
        self.run_receive();
        self.run_transmit();
    }
}

impl Worker for NetWorker {
    fn sources(&self) -> Vec<Source> {
        let mut wakers = match self.taken_over {
            true => Vec::new(),
            false => vec![
                (self.receive.queue().kick_fd(), RECEIVE_KICK),
                (self.transmit.queue().kick_fd(), TRANSMIT_KICK),
                (self.port.arrivals().as_raw_fd(), ARRIVAL),
            ],
        };
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
            _ if self.taken_over => self.break_down(),
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
