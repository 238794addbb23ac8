//! All sockets of a network's service, and who is asked when one of them is
//! ready. One thread does everything, and waits for nobody but here.

mod questions;
mod renewal;
mod requests;
mod sources;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use metadata::service::Service as Metadata;
use metadata::token::TokenKey;
use metadata::zone::Zone;
use network::id::{Id, OfPort, OfVpc};
use network::name::Name;
use rustix::io::{Errno, retry_on_intr};
use rustix::rand::{GetRandomFlags, getrandom};

use super::super::directory::Switches;
use super::super::instance;
use super::super::kernel::Namespace;
use super::super::live;
use super::super::record::{Kind, Record};
use super::guests::{self, Guest};
use super::names::Progress;
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
