//! What the device waits for on the host's side: its listener, greetings and
//! connections, which come and go.
//!
//! They are in an epoll set of their own, whose descriptor is the one source
//! that the reactor watches. It becomes readable anew with each event in it,
//! also while older ones have not been collected. Sockets are watched
//! edge-triggered, so that data costs no change of the set; the listener is
//! not, so that a program that could not be let in for lack of descriptors is
//! found again.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::ports::{ANY, Ports};

/// One of the things waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    Listener,
    /// A greeting by its number, which is not [`ANY`].
    Greeting(u32),
    Connection(Ports),
}

impl Watched {
    fn pack(self) -> EventData {
        let (high, low) = match self {
            Self::Listener => (ANY, ANY),
            Self::Greeting(number) => (number, ANY),
            Self::Connection(ports) => (ports.host, ports.guest),
        };
        EventData::new_u64(u64::from(high) << 32 | u64::from(low))
    }

    fn unpack(data: EventData) -> Self {
        let data = data.u64();
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).expect("masked");
        match (half(data >> 32), half(data)) {
            (ANY, ANY) => Self::Listener,
            (number, ANY) => Self::Greeting(number),
            (host, guest) => Self::Connection(Ports { host, guest }),
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) what: Watched,
    /// There is something to read, perhaps the end.
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// Both directions have ended.
    pub(super) hung_up: bool,
}

/// The set.
#[derive(Debug)]
pub(super) struct Watch {
    epoll: OwnedFd,
}

/// Changes collected in one go.
pub(super) const BATCH: usize = 64;

impl Watch {
    /// An empty set.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
        })
    }

    /// The descriptor to wait for.
    pub(super) fn fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }

    /// Adds the listener.
    pub(super) fn add_listener(&self, listener: impl AsFd) -> io::Result<()> {
        let data = Watched::Listener.pack();
        Ok(epoll::add(&self.epoll, listener, data, EventFlags::IN)?)
    }

    /// Adds a socket. It leaves by being closed.
    pub(super) fn add(&self, socket: impl AsFd, what: Watched) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, what.pack(), flags(false))?)
    }

    /// Changes what a socket stands for, and whether it is waited for until it
    /// can be written to. What it is ready for now is reported anew.
    pub(super) fn change(
        &self,
        socket: impl AsFd,
        what: Watched,
        writable: bool,
    ) -> io::Result<()> {
        let flags = flags(writable);
        Ok(epoll::modify(&self.epoll, socket, what.pack(), flags)?)
    }

    /// Replaces `changes` by the next ones, and says whether there may be
    /// more.
    pub(super) fn collect(&self, changes: &mut Vec<Change>) -> bool {
        changes.clear();
        let mut room = [MaybeUninit::<Event>::uninit(); BATCH];
        // Fails only for reasons that a sound set does not have.
        let waited = epoll::wait(&self.epoll, &mut room, Some(&Timespec::default()));
        let Ok((events, rest)) = waited else {
            return false;
        };
        changes.extend(events.iter().map(change));
        rest.is_empty()
    }
}

fn flags(writable: bool) -> EventFlags {
    let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
    if writable {
        flags | EventFlags::OUT
    } else {
        flags
    }
}

fn change(event: &Event) -> Change {
    let flags = event.flags;
    let ended = EventFlags::HUP | EventFlags::ERR;
    Change {
        what: Watched::unpack(event.data),
        readable: flags.intersects(EventFlags::IN | EventFlags::RDHUP | ended),
        writable: flags.intersects(EventFlags::OUT | ended),
        hung_up: flags.contains(EventFlags::HUP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_watched_is_recognized(host in 0..ANY, guest in 0..ANY, number in 0..ANY) {
            let ports = Ports { host, guest };
            for what in [
                Watched::Listener,
                Watched::Greeting(number),
                Watched::Connection(ports),
            ] {
                prop_assert_eq!(Watched::unpack(what.pack()), what);
            }
        }
    }
}
