//! Who is served: what is stored, and which taps there are, each time that one of
//! them has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;

use metadata::service::Service as Metadata;
use network::id::{Id, OfPort};
use network::plan::NAME_SERVER;
use network::vpc::Vpc;

use super::super::super::kernel::{LinkIndex, Netlink};
use super::super::super::{change, instance, live};
use super::super::guests::{self, Guest};
use super::super::sockets::{AtPort, NameServer, OnLink};
use super::super::stream::Next;
use super::sources::Source;
use super::{Served, Service};
use crate::error::Error;

impl Service {
    /// Learns what is stored, and which taps there are. The port of a machine that
    /// has ended goes now: what led to it leads nowhere, rather than elsewhere.
    pub(super) fn renew(&mut self) -> Result<(), Error> {
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
        let links = Netlink::in_namespace(&self.namespace)
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
