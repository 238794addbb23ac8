//! Flow control of one connection (virtio 1.3 §5.10.6.3): how much the guest
//! may send us, and how much we may send it.
//!
//! Pure arithmetic, on counters modulo 2^32. The guest's figures are
//! untrusted: one that lies can stall or lose its own connection.

use super::header::Header;

/// More room than this is not believed, so that counters can be compared.
const MOST_ROOM: u32 = 1 << 30;

/// Flow control, both ways.
#[derive(Debug)]
pub(super) struct Credit {
    /// What may lie here of what the guest sent.
    window: u32,
    /// Bytes that the guest has sent.
    received: u32,
    /// Bytes of these that have gone on to the host.
    forwarded: u32,
    /// As the guest was told last.
    announced: u32,
    /// Bytes sent to the guest.
    sent: u32,
    /// What the guest says of itself.
    guest_room: u32,
    guest_forwarded: u32,
}

/// The guest sent what it had no credit for, or took what was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dishonest;

impl Credit {
    /// A new connection's, over which the guest may have `window` bytes under
    /// way.
    pub(super) fn new(window: u32) -> Self {
        Self {
            window,
            received: 0,
            forwarded: 0,
            announced: 0,
            sent: 0,
            guest_room: 0,
            guest_forwarded: 0,
        }
    }

    /// What the guest may have under way.
    pub(super) fn window(&self) -> u32 {
        self.window
    }

    /// Takes the guest's figures from a packet of its.
    pub(super) fn learn(&mut self, header: &Header) -> Result<(), Dishonest> {
        // Two threads of a guest may overtake each other, so that its counter
        // goes back a little; it never runs ahead.
        if self.sent.wrapping_sub(header.forwarded) > MOST_ROOM {
            return Err(Dishonest);
        }
        self.guest_room = header.buffer_size.min(MOST_ROOM);
        self.guest_forwarded = header.forwarded;
        Ok(())
    }

    /// Puts our figures into a packet for the guest.
    pub(super) fn announce(&mut self, header: &mut Header) {
        header.buffer_size = self.window;
        header.forwarded = self.forwarded;
        self.announced = self.forwarded;
    }

    /// The guest sends `len` bytes.
    pub(super) fn receive(&mut self, len: u32) -> Result<(), Dishonest> {
        let held = self.received.wrapping_sub(self.forwarded);
        if len > self.window - held {
            return Err(Dishonest);
        }
        self.received = self.received.wrapping_add(len);
        Ok(())
    }

    /// `len` bytes of the guest's have gone on. Never more than it sent.
    pub(super) fn forward(&mut self, len: u32) {
        self.forwarded = self.forwarded.wrapping_add(len);
    }

    /// Whether the guest is to be told: it believes that half of the window
    /// or more is taken, and something has gone on.
    pub(super) fn is_worth_telling(&self) -> bool {
        let believed = self.received.wrapping_sub(self.announced);
        self.announced != self.forwarded && believed >= self.window / 2
    }

    /// How much may be sent to the guest now.
    pub(super) fn available(&self) -> u32 {
        let under_way = self.sent.wrapping_sub(self.guest_forwarded);
        self.guest_room.saturating_sub(under_way)
    }

    /// `len` bytes were sent to the guest, no more than were available.
    pub(super) fn send(&mut self, len: u32) {
        self.sent = self.sent.wrapping_add(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vsock::header::{Operation, STREAM};
    use proptest::prelude::*;

    fn packet(buffer_size: u32, forwarded: u32) -> Header {
        Header {
            source_cid: 3,
            destination_cid: 2,
            source_port: 1,
            destination_port: 1,
            len: 0,
            kind: STREAM,
            operation: Operation::CreditUpdate,
            flags: 0,
            buffer_size,
            forwarded,
        }
    }

    #[test]
    fn a_guest_that_sends_more_than_the_window_is_found_out() {
        let mut credit = Credit::new(100);
        assert_eq!(credit.receive(60), Ok(()));
        assert_eq!(credit.receive(41), Err(Dishonest));
        credit.forward(60);
        assert_eq!(credit.receive(100), Ok(()));
        assert_eq!(credit.receive(1), Err(Dishonest));
    }

    #[test]
    fn a_guest_that_took_more_than_was_sent_is_found_out() {
        let mut credit = Credit::new(100);
        credit.learn(&packet(1000, 0)).unwrap();
        credit.send(10);
        assert_eq!(credit.learn(&packet(1000, 11)), Err(Dishonest));
        assert_eq!(credit.learn(&packet(u32::MAX, 10)), Ok(()));
        assert_eq!(credit.available(), MOST_ROOM);
    }

    #[test]
    fn the_guest_is_told_when_it_believes_half_the_window_taken() {
        let mut credit = Credit::new(100);
        credit.receive(49).unwrap();
        credit.forward(49);
        assert!(!credit.is_worth_telling());
        credit.receive(1).unwrap();
        assert!(credit.is_worth_telling());
        credit.announce(&mut packet(0, 0));
        assert!(!credit.is_worth_telling());
        credit.receive(100).unwrap_err();
        credit.receive(99).unwrap();
        assert!(!credit.is_worth_telling(), "nothing has gone on");
    }

    proptest! {
        #[test]
        fn honest_ends_never_fill_more_than_the_room_there_is(
            room in 1u32..5000,
            steps in proptest::collection::vec((0u32..6000, 0u32..6000), 1..200),
        ) {
            let mut credit = Credit::new(1);
            let (mut sent, mut taken) = (u32::MAX - 10_000, u32::MAX - 10_000);
            credit.sent = sent;
            for (send, take) in steps {
                credit.learn(&packet(room, taken)).unwrap();
                let send = send.min(credit.available());
                credit.send(send);
                sent = sent.wrapping_add(send);
                let held = sent.wrapping_sub(taken);
                prop_assert!(held <= room);
                taken = taken.wrapping_add(take.min(held));
            }
        }

        #[test]
        fn no_figures_panic(
            steps in proptest::collection::vec((any::<u32>(), any::<u32>(), any::<u32>()), 0..50),
        ) {
            let mut credit = Credit::new(1 << 16);
            for (room, forwarded, len) in steps {
                let _ = credit.learn(&packet(room, forwarded));
                credit.send(credit.available().min(len));
                if credit.receive(len).is_ok() {
                    credit.forward(len);
                }
                prop_assert!(credit.available() <= MOST_ROOM);
            }
        }
    }
}
