//! What a guest or its user asks of the machine as a whole.
//!
//! Devices send, the machine's control thread receives. Sending never blocks
//! and the channel is bounded: a guest that repeats itself costs nothing.

use std::sync::mpsc::{self, Receiver, SyncSender};

/// Something that the machine, not one device, has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MachineRequest {
    /// The guest turned its power off.
    PowerOff,
    /// The guest reset itself.
    Reset,
    /// The user of the console ended the machine.
    UserQuit,
}

/// The devices' end of the channel. Clones are the same channel.
#[derive(Clone, Debug)]
pub struct RequestSender(SyncSender<MachineRequest>);

/// More than one of each kind at once says nothing new.
const DEPTH: usize = 8;

/// A new channel: senders for devices, the receiver for the machine.
pub fn request_channel() -> (RequestSender, Receiver<MachineRequest>) {
    let (sender, receiver) = mpsc::sync_channel(DEPTH);
    (RequestSender(sender), receiver)
}

impl RequestSender {
    /// Sends `request`. It is dropped if nobody listens any more or if so many
    /// wait already that the machine is about to end anyway.
    pub fn send(&self, request: MachineRequest) {
        let _ = self.0.try_send(request);
    }
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
