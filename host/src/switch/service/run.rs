//! All sockets of a network's service, and who is asked when one of them is
//! ready. One thread does everything, and waits for nobody but here.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use metadata::connection::Connection;
use metadata::dhcp;
use metadata::dns::{self, Transport};
use metadata::options::HopLimit;
use metadata::service::Service as Metadata;
use metadata::token::TokenKey;
use metadata::zone::Zone;
use network::id::{Id, OfPort, OfVpc};
use network::name::Name;
use network::plan::NAME_SERVER;
use network::vpc::Vpc;
use rustix::event::{Timespec, epoll};
use rustix::io::{Errno, retry_on_intr};
use rustix::rand::{GetRandomFlags, getrandom};

use super::super::change;
use super::super::directory::Switches;
use super::super::instance;
use super::super::kernel::Namespace;
use super::super::live;
use super::super::record::{Kind, Record};
use super::guests::{self, Guest};
use super::names::{self, Inquiry, Progress};
use super::sockets::{AtPort, NameServer};
use super::stream::{Came, Next, Stream};
use super::watch::Watch;
use crate::error::Error;
use crate::resolvers;

/// Packets of one socket that are answered in a row, while others wait.
const TURN: usize = 32;
/// Connections that one guest may have to the metadata service.
const MOST_METADATA: usize = 16;
/// Connections that one guest may have to name servers.
const MOST_NAME_STREAMS: usize = 8;
/// Questions of one guest, and of all, that the host's resolvers are asked at a
/// time.
const MOST_OF_ONE: usize = 32;
const MOST_INQUIRIES: usize = 512;

/// The longest question, and one byte more (as in metadata::dns).
const LONGEST: usize = 4097;

/// How often what takes too long is looked for.
const CLOCK: Duration = Duration::from_millis(500);

/// The resolvers' port.
const DNS: u16 = 53;

/// A network's service.
pub(super) struct Service {
    switches: Switches,
    name: Name,
    /// Another network can have the name later.
    id: Id<OfVpc>,
    namespace: Namespace,
    sources: Sources,
    ports: BTreeMap<Id<OfPort>, Served>,
    servers: BTreeMap<Ipv4Addr, [u64; 2]>,
    zone: Zone,
    resolvers: (Vec<IpAddr>, u16),
    key: TokenKey,
    began: Instant,
}

/// A guest with its sockets.
struct Served {
    guest: Guest,
    metadata: Metadata,
    sources: [u64; 3],
}

/// What may become ready, by a number that the kernel tells it by.
struct Sources {
    epoll: OwnedFd,
    watch: Watch,
    all: BTreeMap<u64, Source>,
    next: u64,
}

/// Tells of changes; all others have numbers above.
const WATCH: u64 = 0;

enum Source {
    /// Asks for an address come, and are answered by the other socket.
    Dhcp(Id<OfPort>, UdpSocket, UdpSocket),
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
enum Client {
    Packet { server: u64, from: SocketAddr },
    Stream { number: u64, from: IpAddr },
}

impl Service {
    /// The service of the switch `name`, which asks the host's resolvers.
    ///
    /// # Errors
    /// The switch is not there, or the kernel refuses.
    pub(super) fn new(switches: Switches, name: Name) -> Result<Self, Error> {
        let mut key = [0; 32];
        let drawn = retry_on_intr(|| getrandom(&mut key, GetRandomFlags::empty()));
        drawn.map_err(|errno| unexpected(errno.into()))?;
        let record = switches.read(&name)?;
        let directory = switches.directory(&name);
        let namespace =
            Namespace::open(&live::namespace(record.vpc(&name)?)).map_err(live::failed)?;
        instance::prepare(&directory).map_err(unexpected)?;
        let watch = Watch::new(&directory, &namespace)?;
        let mut service = Self {
            zone: guests::zone(record.vpc(&name)?, &BTreeMap::new()),
            id: record.vpc(&name)?.id,
            switches,
            name,
            namespace,
            sources: Sources::new(watch).map_err(unexpected)?,
            ports: BTreeMap::new(),
            servers: BTreeMap::new(),
            resolvers: (resolvers::of_this_host(), DNS),
            key: TokenKey::new(&key),
            began: Instant::now(),
        };
        service.renew()?;
        Ok(service)
    }

    /// The same with other resolvers.
    #[cfg(test)]
    pub(super) fn asking(mut self, resolvers: Vec<IpAddr>, port: u16) -> Self {
        self.resolvers = (resolvers, port);
        self
    }

    /// Whether nobody is plugged in.
    pub(super) fn is_idle(&self) -> bool {
        self.ports.is_empty()
    }

    /// Whether `record` is of the network that is served.
    pub(super) fn serves(&self, record: &Record) -> bool {
        matches!(&record.kind, Kind::Vpc(vpc) if vpc.id == self.id)
    }

    /// Closes everything, so that another can serve the network.
    pub(super) fn close(&mut self) {
        self.ports.clear();
        self.servers.clear();
        self.sources.all.clear();
    }

    /// Waits until something is ready, for a moment at most if anything has a
    /// time, and sees to it.
    ///
    /// # Errors
    /// The kernel refuses to wait.
    pub(super) fn turn(&mut self) -> Result<(), Error> {
        let ready = self.sources.wait().map_err(unexpected)?;
        if ready.contains(&WATCH) {
            self.sources.watch.clear();
            if let Err(error) = self.renew() {
                // What is known still holds; the next change may be better.
                eprintln!("plinth: {}", error.report());
            }
        }
        for number in ready {
            if let Some(source) = self.sources.all.remove(&number) {
                self.see_to(number, source);
            }
        }
        self.end_late();
        Ok(())
    }

    /// Learns what is stored, and which taps there are. The port of a machine that
    /// has ended goes now: what led to it leads nowhere, rather than elsewhere.
    fn renew(&mut self) -> Result<(), Error> {
        if !self.switches.names()?.contains(&self.name) {
            self.forget_ports(|_| false);
            return Ok(());
        }
        let record = change::current(&self.switches, &self.name)?;
        if !self.serves(&record) {
            self.forget_ports(|_| false);
            return Ok(());
        }
        let vpc = record.vpc(&self.name)?;
        let links = super::super::kernel::Netlink::in_namespace(&self.namespace)
            .and_then(|net| net.links())
            .map_err(live::failed)?;
        let guests = guests::guests(vpc, &self.records(vpc));
        self.zone = guests::zone(vpc, &guests);
        let plugged = |guest: &Guest| links.iter().any(|link| link.up && link.name == guest.tap);
        let there: BTreeMap<_, _> = guests.into_iter().filter(|(_, one)| plugged(one)).collect();
        self.forget_ports(|id| there.contains_key(id));
        self.serve_ports(there);
        self.serve_names(vpc);
        Ok(())
    }

    fn records(&self, vpc: &Vpc) -> BTreeMap<Id<OfPort>, instance::InstanceRecord> {
        let directory = self.switches.directory(&self.name);
        let mut records = BTreeMap::new();
        for id in vpc.ports().keys() {
            match instance::read(&directory, *id) {
                Ok(Some(record)) => {
                    records.insert(*id, record);
                }
                Ok(None) => {}
                Err(error) => eprintln!("plinth: what is stored of port {id}: {error}"),
            }
        }
        records
    }

    fn forget_ports(&mut self, stays: impl Fn(&Id<OfPort>) -> bool) {
        let sources = &mut self.sources;
        self.ports.retain(|id, served| {
            let stays = stays(id);
            if !stays {
                served.sources.iter().for_each(|one| sources.remove(*one));
                let own = sources.all.iter();
                let requests =
                    own.filter(|(_, one)| matches!(one, Source::Request(of, ..) if of == id));
                let requests: Vec<u64> = requests.map(|(number, _)| *number).collect();
                requests.into_iter().for_each(|one| sources.remove(one));
            }
            stays
        });
    }

    fn serve_ports(&mut self, guests: BTreeMap<Id<OfPort>, Guest>) {
        let mut new = Vec::new();
        for (id, guest) in guests {
            match self.ports.get_mut(&id) {
                Some(served) if served.guest == guest => {}
                Some(served) => {
                    served.metadata.update(&guest.instance);
                    served.guest = guest;
                }
                None => new.push((id, guest)),
            }
        }
        if new.is_empty() {
            return;
        }
        let open = || {
            let opened = new
                .iter()
                .map(|(_, guest)| AtPort::open(&guest.tap, guest.lease.router));
            opened.collect::<Vec<_>>()
        };
        let opened = match self.namespace.within(open) {
            Ok(opened) => opened,
            Err(error) => return eprintln!("plinth: {error}"),
        };
        for ((id, guest), opened) in new.into_iter().zip(opened) {
            let served = opened.and_then(|sockets| self.served(id, guest, sockets));
            match served {
                Ok(served) => {
                    self.ports.insert(id, served);
                }
                // It was pulled out this moment.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                Err(error) => eprintln!("plinth: port {id} cannot be served: {error}"),
            }
        }
    }

    fn served(&mut self, id: Id<OfPort>, guest: Guest, sockets: AtPort) -> io::Result<Served> {
        let AtPort {
            everybody,
            router,
            metadata,
        } = sockets;
        let replies = router.try_clone()?;
        let own = replies.try_clone()?;
        let sources = [
            Source::Dhcp(id, everybody, replies),
            Source::Dhcp(id, router, own),
            Source::Metadata(id, metadata),
        ];
        let [first, second, third] = sources;
        Ok(Served {
            metadata: Metadata::new(&guest.instance, guest.interface, self.key.clone()),
            guest,
            sources: [
                self.sources.add(first, Next::Read)?,
                self.sources.add(second, Next::Read)?,
                self.sources.add(third, Next::Read)?,
            ],
        })
    }

    fn serve_names(&mut self, vpc: &Vpc) {
        let subnets = vpc.subnets().values();
        let wanted: Vec<Ipv4Addr> = subnets
            .map(|subnet| subnet.name_server())
            .chain([NAME_SERVER])
            .collect();
        let sources = &mut self.sources;
        self.servers.retain(|address, numbers| {
            let stays = wanted.contains(address);
            if !stays {
                numbers.iter().for_each(|one| sources.remove(*one));
            }
            stays
        });
        let new: Vec<Ipv4Addr> = wanted
            .into_iter()
            .filter(|address| !self.servers.contains_key(address))
            .collect();
        if new.is_empty() {
            return;
        }
        let open = || {
            new.iter()
                .map(|one| NameServer::open(*one))
                .collect::<Vec<_>>()
        };
        let opened = match self.namespace.within(open) {
            Ok(opened) => opened,
            Err(error) => return eprintln!("plinth: {error}"),
        };
        for (address, opened) in new.iter().zip(opened) {
            let added = opened.and_then(|NameServer { packets, streams }| {
                Ok([
                    self.sources.add(Source::Names(packets), Next::Read)?,
                    self.sources.add(Source::NameStreams(streams), Next::Read)?,
                ])
            });
            match added {
                Ok(numbers) => {
                    self.servers.insert(*address, numbers);
                }
                Err(error) => eprintln!("plinth: no name server at {address}: {error}"),
            }
        }
    }
}

/// What is done when a source is ready. Each is taken out, and put back if it goes
/// on.
impl Service {
    fn see_to(&mut self, number: u64, source: Source) {
        match source {
            Source::Dhcp(id, socket, replies) => {
                self.give_addresses(id, &socket, &replies);
                self.sources.put(number, Source::Dhcp(id, socket, replies));
            }
            Source::Metadata(id, listener) => {
                self.accept_requests(id, &listener);
                self.sources.put(number, Source::Metadata(id, listener));
            }
            Source::Request(id, mut stream, mut connection) => {
                if let Ok(next) = self.answer_requests(id, &mut stream, &mut connection) {
                    let source = Source::Request(id, stream, connection);
                    self.sources.put_and_wait(number, source, next);
                }
            }
            Source::Names(socket) => {
                self.answer_questions(number, &socket);
                self.sources.put(number, Source::Names(socket));
            }
            Source::NameStreams(listener) => {
                self.accept_name_streams(&listener);
                self.sources.put(number, Source::NameStreams(listener));
            }
            Source::NameStream(from, mut stream, mut came) => {
                if let Ok(next) = self.answer_stream(number, from, &mut stream, &mut came) {
                    let source = Source::NameStream(from, stream, came);
                    self.sources.put_and_wait(number, source, next);
                }
            }
            Source::Inquiry(client, mut inquiry) => match inquiry.turn() {
                Progress::Waiting => {
                    let next = if inquiry.writes() {
                        Next::Write
                    } else {
                        Next::Read
                    };
                    let source = Source::Inquiry(client, inquiry);
                    self.sources.put_and_wait(number, source, next);
                }
                Progress::Answered(answer) => self.tell(client, &answer),
                Progress::Failed => self.ask_next(client, inquiry),
            },
        }
    }

    fn give_addresses(&self, id: Id<OfPort>, socket: &UdpSocket, replies: &UdpSocket) {
        let Some(served) = self.ports.get(&id) else {
            return;
        };
        let mut message = [0; 2048];
        for _ in 0..TURN {
            let Ok(len) = socket.recv(&mut message) else {
                return;
            };
            if let Some(reply) = dhcp::answer(&served.guest.lease, &message[..len]) {
                // What does not reach it, it asks for again.
                let _ = replies.send_to(&reply.bytes, (reply.to, dhcp::CLIENT_PORT));
            }
        }
    }

    fn accept_requests(&mut self, id: Id<OfPort>, listener: &TcpListener) {
        for _ in 0..TURN {
            let Ok((socket, _)) = listener.accept() else {
                return;
            };
            let own = |source: &&Source| matches!(source, Source::Request(of, ..) if *of == id);
            if self.sources.all.values().filter(own).count() < MOST_METADATA
                && let Ok(stream) = Stream::new(socket)
            {
                let source = Source::Request(id, stream, Connection::default());
                // What cannot be waited for is closed.
                let _ = self.sources.add(source, Next::Read);
            }
        }
    }

    fn answer_requests(
        &mut self,
        id: Id<OfPort>,
        stream: &mut Stream,
        connection: &mut Connection,
    ) -> io::Result<Next> {
        let served = self.ports.get_mut(&id).ok_or(ErrorKind::NotFound)?;
        let mut bytes = [0; 4096];
        for _ in 0..TURN {
            if !stream.flush()? {
                return Ok(Next::Write);
            }
            if let Some(answer) = connection.answer(&mut served.metadata, self.began.elapsed()) {
                // It stays: what is not acknowledged is sent again, as far as what is
                // sent then.
                if let Some(limit) = answer.hop_limit {
                    stream.socket.set_ttl(HopLimit::get(limit).into())?;
                }
                stream.send(answer.bytes, answer.close);
                continue;
            }
            let room = connection.room().min(bytes.len());
            match stream.read(&mut bytes[..room])? {
                Came::Bytes(len) => connection.receive(&bytes[..len]),
                Came::Nothing => return Ok(Next::Read),
                Came::End => return Err(ErrorKind::UnexpectedEof.into()),
            };
        }
        Ok(Next::Write)
    }

    fn answer_questions(&mut self, number: u64, socket: &UdpSocket) {
        let mut question = [0; LONGEST];
        for _ in 0..TURN {
            let Ok((len, from)) = socket.recv_from(&mut question) else {
                return;
            };
            let question = &question[..len];
            let answer = match dns::answer(&self.zone, question, Transport::Udp) {
                dns::Answer::Reply(bytes) => Some(bytes),
                dns::Answer::Ignore => None,
                dns::Answer::Forward => {
                    let server = number;
                    self.ask(Client::Packet { server, from }, question)
                }
            };
            if let Some(answer) = answer {
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    fn accept_name_streams(&mut self, listener: &TcpListener) {
        for _ in 0..TURN {
            let Ok((socket, from)) = listener.accept() else {
                return;
            };
            let from = from.ip();
            let own =
                |source: &&Source| matches!(source, Source::NameStream(of, ..) if *of == from);
            if self.sources.all.values().filter(own).count() < MOST_NAME_STREAMS
                && let Ok(stream) = Stream::new(socket)
            {
                let source = Source::NameStream(from, stream, Vec::new());
                let _ = self.sources.add(source, Next::Read);
            }
        }
    }

    fn answer_stream(
        &mut self,
        number: u64,
        from: IpAddr,
        stream: &mut Stream,
        came: &mut Vec<u8>,
    ) -> io::Result<Next> {
        let mut bytes = [0; LONGEST];
        for _ in 0..TURN {
            if !stream.flush()? {
                return Ok(Next::Write);
            }
            if let Some(question) = names::message(came) {
                let answer = match dns::answer(&self.zone, &question, Transport::Tcp) {
                    dns::Answer::Reply(bytes) => Some(bytes),
                    dns::Answer::Ignore => return Err(ErrorKind::InvalidData.into()),
                    dns::Answer::Forward => self.ask(Client::Stream { number, from }, &question),
                };
                match answer {
                    Some(answer) => stream.send(names::framed(&answer), false),
                    None => return Ok(Next::Other),
                }
                continue;
            }
            if came.len() >= LONGEST {
                return Err(ErrorKind::InvalidData.into());
            }
            match stream.read(&mut bytes)? {
                Came::Bytes(len) => came.extend(&bytes[..len]),
                Came::Nothing => return Ok(Next::Read),
                Came::End => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(Next::Write)
    }

    /// Asks the host's resolvers; the answer to be given at once, if they cannot
    /// be asked.
    fn ask(&mut self, client: Client, question: &[u8]) -> Option<Vec<u8>> {
        let inquiries = self.sources.all.values().filter_map(|source| match source {
            Source::Inquiry(of, _) => Some(of.address()),
            _ => None,
        });
        let (mut all, mut own) = (0, 0);
        for address in inquiries {
            all += 1;
            own += usize::from(address == client.address());
        }
        if all >= MOST_INQUIRIES || own >= MOST_OF_ONE {
            return dns::failure(question);
        }
        let transport = match client {
            Client::Packet { .. } => names::Transport::Packet,
            Client::Stream { .. } => names::Transport::Stream,
        };
        let (resolvers, port) = self.resolvers.clone();
        match Inquiry::begin(question.to_vec(), transport, resolvers, port)
            .and_then(|inquiry| self.sources.wait_for(client, inquiry))
        {
            Ok(()) => None,
            Err(_) => dns::failure(question),
        }
    }

    /// Asks the next resolver, or says that none knows.
    fn ask_next(&mut self, client: Client, inquiry: Inquiry) {
        let failure = dns::failure(&inquiry.question);
        let next = inquiry.go_on();
        if let (Err(_), Some(failure)) = (
            next.and_then(|inquiry| self.sources.wait_for(client, inquiry)),
            failure,
        ) {
            self.tell(client, &failure);
        }
    }

    /// Passes an answer on, if who asked is still there.
    fn tell(&mut self, client: Client, answer: &[u8]) {
        match client {
            Client::Packet { server, from } => {
                if let Some(Source::Names(socket)) = self.sources.all.get(&server) {
                    let _ = socket.send_to(answer, from);
                }
            }
            Client::Stream { number, .. } => {
                if let Some(Source::NameStream(_, stream, _)) = self.sources.all.get_mut(&number) {
                    stream.send(names::framed(answer), false);
                    self.sources.wake(number);
                }
            }
        }
    }

    /// Ends what has taken too long.
    fn end_late(&mut self) {
        let now = Instant::now();
        let late = self.sources.all.iter().filter(|(_, source)| match source {
            Source::Request(_, stream, _) | Source::NameStream(_, stream, _) => stream.is_late(now),
            Source::Inquiry(_, inquiry) => inquiry.is_late(now),
            _ => false,
        });
        let late: Vec<u64> = late.map(|(number, _)| *number).collect();
        for number in late {
            if let Some(Source::Inquiry(client, inquiry)) = self.sources.all.remove(&number) {
                self.ask_next(client, inquiry);
            }
        }
    }
}

impl Client {
    fn address(self) -> IpAddr {
        match self {
            Self::Packet { from, .. } => from.ip(),
            Self::Stream { from, .. } => from,
        }
    }
}

impl Sources {
    fn new(watch: Watch) -> io::Result<Self> {
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
        })
    }

    /// The numbers of what is ready.
    fn wait(&self) -> io::Result<Vec<u64>> {
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
        let moment = self.all.values().any(timed).then_some(&moment);
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
    fn add(&mut self, source: Source, next: Next) -> io::Result<u64> {
        let number = self.next;
        self.next += 1;
        let data = epoll::EventData::new_u64(number);
        epoll::add(&self.epoll, source.descriptor(), data, flags(next))?;
        self.all.insert(number, source);
        Ok(number)
    }

    fn wait_for(&mut self, client: Client, inquiry: Inquiry) -> io::Result<()> {
        let next = if inquiry.writes() {
            Next::Write
        } else {
            Next::Read
        };
        self.add(Source::Inquiry(client, inquiry), next).map(drop)
    }

    /// Closes a source.
    fn remove(&mut self, number: u64) {
        // The kernel forgets what is closed.
        self.all.remove(&number);
    }

    /// Puts back a source that was taken out.
    fn put(&mut self, number: u64, source: Source) {
        self.all.insert(number, source);
    }

    /// The same for one that waits for something else now.
    fn put_and_wait(&mut self, number: u64, source: Source, next: Next) {
        let data = epoll::EventData::new_u64(number);
        if epoll::modify(&self.epoll, source.descriptor(), data, flags(next)).is_ok() {
            self.all.insert(number, source);
        }
    }

    /// Has a connection that waited for somebody go on.
    fn wake(&mut self, number: u64) {
        if let Some(source) = self.all.remove(&number) {
            self.put_and_wait(number, source, Next::Write);
        }
    }
}

impl Source {
    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Dhcp(_, socket, _) | Self::Names(socket) => socket.as_fd(),
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

fn unexpected(error: io::Error) -> Error {
    Error::unexpected("a network's service cannot go on").because(error)
}
