//! What a guest or its user asks of the machine as a whole.
//!
//! Devices send; whoever operates the machine decides where to, with the duty
//! never to block and to keep no more than a few: a guest that repeats itself
//! must cost nothing.

use std::fmt;
use std::sync::Arc;
#[cfg(test)]
use std::sync::mpsc::{self, Receiver};

/// Something that the machine, not one device, has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MachineRequest {
    /// The guest turned its power off.
    PowerOff,
    /// The guest reset itself.
    Reset,
    /// The guest let its watchdog run out.
    Watchdog,
    /// The user of the console ended the machine.
    UserQuit,
}

/// The devices' way to the machine. Clones are the same way.
#[derive(Clone)]
pub struct RequestSender(Arc<dyn Fn(MachineRequest) + Send + Sync>);

impl RequestSender {
    /// Requests go to `receive`, which never blocks.
    pub fn new(receive: impl Fn(MachineRequest) + Send + Sync + 'static) -> Self {
        Self(Arc::new(receive))
    }

    /// Sends `request`.
    pub fn send(&self, request: MachineRequest) {
        (self.0)(request);
    }
}

impl fmt::Debug for RequestSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestSender")
    }
}

/// More than one of each kind at once says nothing new.
#[cfg(test)]
const DEPTH: usize = 8;

/// A machine in miniature, for tests of devices: senders for them, the receiver
/// for the test. A request is dropped if nobody listens any more or if so many
/// wait already that the machine is about to end anyway.
#[cfg(test)]
pub(crate) fn request_channel() -> (RequestSender, Receiver<MachineRequest>) {
    let (sender, receiver) = mpsc::sync_channel(DEPTH);
    let sender = RequestSender::new(move |request| {
        let _ = sender.try_send(request);
    });
    (sender, receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_arrive_in_order() {
        let (sender, receiver) = request_channel();
        sender.send(MachineRequest::Reset);
        sender.clone().send(MachineRequest::PowerOff);
        assert_eq!(receiver.recv(), Ok(MachineRequest::Reset));
        assert_eq!(receiver.recv(), Ok(MachineRequest::PowerOff));
    }

    #[test]
    fn a_flood_neither_blocks_nor_grows() {
        let (sender, receiver) = request_channel();
        for _ in 0..10_000 {
            sender.send(MachineRequest::Reset);
        }
        assert_eq!(receiver.try_iter().count(), DEPTH);
        drop(receiver);
        sender.send(MachineRequest::Reset);
    }
}
