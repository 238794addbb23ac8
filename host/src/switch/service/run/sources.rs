//! Everything that the service waits for, by numbers that the kernel tells it by.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use metadata::connection::Connection;
use network::id::{Id, OfPort};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::super::names::Inquiry;
use super::super::stream::{Next, Stream};
use super::super::watch::Watch;

/// How often what takes too long is looked for.
const CLOCK: Duration = Duration::from_millis(500);

/// What may become ready, by a number that the kernel tells it by.
pub(super) struct Sources {
    epoll: OwnedFd,
    pub(super) watch: Watch,
    pub(super) all: BTreeMap<u64, Source>,
    next: u64,
    /// Those that are left alone, and until when.
    resting: Vec<(Instant, u64)>,
}

/// Tells of changes; all others have numbers above.
pub(super) const WATCH: u64 = 0;

pub(super) enum Source {
    /// Asks for an address come, and are answered by the other socket.
    Dhcp(Id<OfPort>, UdpSocket, UdpSocket),
    /// Messages of guests that ask for a router, by IPv6.
    Routers(UdpSocket),
    /// Connections to the metadata service.
    Metadata(Id<OfPort>, TcpListener),
    /// One of them.
    Request(Id<OfPort>, Stream, Connection),
    /// Questions in packets.
    Names(UdpSocket),
    /// Connections to a name server.
    NameStreams(TcpListener),
    /// One of them, with what has come.
    NameStream(IpAddr, Stream, Vec<u8>),
    /// A question that a resolver is asked.
    Inquiry(Client, Inquiry),
}

/// Who asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Client {
    Packet { server: u64, from: SocketAddr },
    Stream { number: u64, from: IpAddr },
}

impl Client {
    pub(super) fn address(self) -> IpAddr {
        match self {
            Self::Packet { from, .. } => from.ip(),
            Self::Stream { from, .. } => from,
        }
    }
}

impl Sources {
    pub(super) fn new(watch: Watch) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for source in watch.sources() {
            let data = epoll::EventData::new_u64(WATCH);
            epoll::add(&epoll, source, data, epoll::EventFlags::IN)?;
        }
        Ok(Self {
            epoll,
            watch,
            all: BTreeMap::new(),
            next: WATCH + 1,
            resting: Vec::new(),
        })
    }

    /// The numbers of what is ready.
    pub(super) fn wait(&mut self) -> io::Result<Vec<u64>> {
        self.end_rests();
        let timed = |source: &Source| {
            matches!(
                source,
                Source::Request(..) | Source::NameStream(..) | Source::Inquiry(..)
            )
        };
        let moment = Timespec {
            tv_sec: 0,
            tv_nsec: CLOCK.subsec_nanos().into(),
        };
        let anything = !self.resting.is_empty() || self.all.values().any(timed);
        let moment = anything.then_some(&moment);
        let mut events = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(WATCH),
        }; 64];
        match epoll::wait(&self.epoll, &mut events[..], moment) {
            Ok(count) => Ok(events[..count]
                .iter()
                .map(|event| event.data.u64())
                .collect()),
            Err(Errno::INTR) => Ok(Vec::new()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes a source in.
    pub(super) fn add(&mut self, source: Source, next: Next) -> io::Result<u64> {
        let number = self.next;
        self.next += 1;
        let data = epoll::EventData::new_u64(number);
        epoll::add(&self.epoll, source.descriptor(), data, flags(next))?;
        self.all.insert(number, source);
        Ok(number)
    }

    pub(super) fn wait_for(&mut self, client: Client, inquiry: Inquiry) -> io::Result<()> {
        let next = if inquiry.writes() {
            Next::Write
        } else {
            Next::Read
        };
        self.add(Source::Inquiry(client, inquiry), next).map(drop)
    }

    /// Closes a source.
    pub(super) fn remove(&mut self, number: u64) {
        // The kernel forgets what is closed.
        self.all.remove(&number);
    }

    /// Puts back a source that was taken out.
    pub(super) fn put(&mut self, number: u64, source: Source) {
        self.all.insert(number, source);
    }

    /// The same for one that waits for something else now.
    pub(super) fn put_and_wait(&mut self, number: u64, source: Source, next: Next) {
        let data = epoll::EventData::new_u64(number);
        if epoll::modify(&self.epoll, source.descriptor(), data, flags(next)).is_ok() {
            self.all.insert(number, source);
        }
    }

    /// Leaves a source alone for a moment: it is ready, but nothing can be done with
    /// it now.
    pub(super) fn rest(&mut self, number: u64) {
        if let Some(source) = self.all.remove(&number) {
            self.put_and_wait(number, source, Next::Other);
            self.resting.push((Instant::now() + CLOCK, number));
        }
    }

    fn end_rests(&mut self) {
        let now = Instant::now();
        let over = self.resting.extract_if(.., |(until, _)| *until <= now);
        for (_, number) in over.collect::<Vec<_>>() {
            if let Some(source) = self.all.remove(&number) {
                self.put_and_wait(number, source, Next::Read);
            }
        }
    }

    /// Has a connection that waited for somebody go on.
    pub(super) fn wake(&mut self, number: u64) {
        if let Some(source) = self.all.remove(&number) {
            self.put_and_wait(number, source, Next::Write);
        }
    }
}

impl Source {
    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Dhcp(_, socket, _) | Self::Routers(socket) | Self::Names(socket) => {
                socket.as_fd()
            }
            Self::Metadata(_, listener) | Self::NameStreams(listener) => listener.as_fd(),
            Self::Request(_, stream, _) | Self::NameStream(_, stream, _) => stream.socket.as_fd(),
            Self::Inquiry(_, inquiry) => inquiry.source(),
        }
    }
}

fn flags(next: Next) -> epoll::EventFlags {
    match next {
        Next::Read => epoll::EventFlags::IN,
        Next::Write => epoll::EventFlags::OUT,
        // Only that it has ended.
        Next::Other => epoll::EventFlags::empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::fixture::Host;
    use super::super::super::super::instance;
    use super::super::super::super::kernel::Namespace;
    use super::*;
    use std::net::{Ipv4Addr, TcpStream};

    #[test]
    fn what_is_ready_and_cannot_be_taken_is_left_alone_for_a_moment() {
        let host = Host::new();
        let name = host.unique("resting");
        let namespace = Namespace::create(&name).unwrap();
        let directory = tempfile::tempdir().unwrap();
        instance::prepare(directory.path()).unwrap();
        let watch = Watch::new(directory.path(), &namespace).unwrap();
        let mut sources = Sources::new(watch).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let _stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let source = Source::NameStreams(listener);
        let number = sources.add(source, Next::Read).unwrap();
        assert_eq!(sources.wait().unwrap(), [number]);
        assert_eq!(sources.wait().unwrap(), [number], "it stays ready");
        sources.rest(number);
        let began = Instant::now();
        let mut turns = 0;
        while !sources.wait().unwrap().contains(&number) {
            turns += 1;
        }
        assert!(began.elapsed() >= CLOCK);
        assert!(turns <= 2, "{turns}");
        Namespace::delete(&name).unwrap();
    }
}
