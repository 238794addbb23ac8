//! All sockets of a network's service, and who is asked when one of them is
//! ready. One thread does everything, and waits for nobody but here.

mod questions;
mod requests;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use metadata::service::Service as Metadata;
use metadata::token::TokenKey;
use metadata::zone::Zone;
use network::id::{Id, OfPort, OfVpc};
use network::name::Name;
use network::plan::NAME_SERVER;
use network::vpc::Vpc;
use rustix::io::{Errno, retry_on_intr};
use rustix::rand::{GetRandomFlags, getrandom};

use super::super::change;
use super::super::directory::Switches;
use super::super::instance;
use super::super::kernel::{LinkIndex, Namespace};
use super::super::live;
use super::super::record::{Kind, Record};
use super::guests::{self, Guest};
use super::names::Progress;
use super::sockets::{AtPort, NameServer, OnLink};
use super::stream::Next;
use super::watch::Watch;
use crate::error::Error;
use crate::resolvers;
use sources::{Source, Sources, WATCH};

/// Packets of one socket that are answered in a row, while others wait.
const TURN: usize = 32;
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
    sources: Vec<u64>,
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
        let up = links.into_iter().filter(|link| link.up);
        let up: BTreeMap<String, LinkIndex> = up.map(|link| (link.name, link.index)).collect();
        let there = guests.into_iter().filter_map(|(id, guest)| {
            let index = *up.get(&guest.tap)?;
            Some((id, (guest, index)))
        });
        let there: BTreeMap<_, _> = there.collect();
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

    fn serve_ports(&mut self, guests: BTreeMap<Id<OfPort>, (Guest, LinkIndex)>) {
        let mut new = Vec::new();
        for (id, (guest, index)) in guests {
            match self.ports.get_mut(&id) {
                Some(served) if served.guest == guest => {}
                Some(served) => {
                    served.metadata.update(&guest.instance);
                    served.guest = guest;
                }
                None => new.push((id, guest, index)),
            }
        }
        if new.is_empty() {
            return;
        }
        let open = || {
            let opened = new
                .iter()
                .map(|(_, guest, index)| AtPort::open(&guest.tap, *index, guest.lease.router));
            opened.collect::<Vec<_>>()
        };
        let opened = match self.namespace.within(open) {
            Ok(opened) => opened,
            Err(error) => return eprintln!("plinth: {error}"),
        };
        for ((id, guest, _), opened) in new.into_iter().zip(opened) {
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
            link,
        } = sockets;
        let replies = router.try_clone()?;
        let own = replies.try_clone()?;
        let mut sources = vec![
            Source::Dhcp(id, everybody, replies),
            Source::Dhcp(id, router, own),
            Source::Metadata(id, metadata),
        ];
        if let Some(OnLink { routers, metadata }) = link {
            sources.extend([Source::Routers(routers), Source::Metadata(id, metadata)]);
        }
        let mut numbers = Vec::new();
        for source in sources {
            match self.sources.add(source, Next::Read) {
                Ok(number) => numbers.push(number),
                Err(error) => {
                    // Those that were added would be for nobody.
                    numbers.iter().for_each(|one| self.sources.remove(*one));
                    return Err(error);
                }
            }
        }
        Ok(Served {
            metadata: Metadata::new(&guest.instance, guest.interface, self.key.clone()),
            guest,
            sources: numbers,
        })
    }

    fn serve_names(&mut self, vpc: &Vpc) {
        let subnets = vpc.subnets().values();
        let wanted: BTreeSet<Ipv4Addr> = subnets
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
            Source::Routers(socket) => {
                requests::tell_of_the_service(&socket);
                self.sources.put(number, Source::Routers(socket));
            }
            Source::Metadata(id, listener) => {
                let accepted = self.accept_requests(id, &listener);
                self.sources.put(number, Source::Metadata(id, listener));
                self.rest_without_room(number, accepted);
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
                let accepted = self.accept_name_streams(&listener);
                self.sources.put(number, Source::NameStreams(listener));
                self.rest_without_room(number, accepted);
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

    /// A connection for which there is no room stays, and its listener ready: it would
    /// be asked again and again.
    fn rest_without_room(&mut self, number: u64, accepted: io::Result<()>) {
        if accepted.is_err_and(|error| is_for_want_of_room(&error)) {
            self.sources.rest(number);
        }
    }

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

/// Whether there are too many descriptors, or there is too little memory (accept(2)).
fn is_for_want_of_room(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(
        errno,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}

fn unexpected(error: io::Error) -> Error {
    Error::unexpected("a network's service cannot go on").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_rests_for_want_of_room_only() {
        for (errno, rests) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOBUFS, true),
            (Errno::NOMEM, true),
            (Errno::WOULDBLOCK, false),
            (Errno::CONNABORTED, false),
        ] {
            let error = io::Error::from(errno);
            assert_eq!(is_for_want_of_room(&error), rests, "{errno}");
        }
    }
}
