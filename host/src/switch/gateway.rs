//! What a network has of its host's: an uplink, public addresses, published ports.
//! No two networks have the same, which the directory of switches knows: who asks
//! for something looks into all of them, and holds up others who do.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};

use network::claims::Claims;
use network::id::{Id, OfInternetGateway};
use network::name::Name;
use network::nat_gateway::NatGateway;
use network::publication::{Protocol, Publication};
use network::refused::Refused;
use network::uplink::host_link;
use network::vpc::Vpc;

use crate::error::Error;

use super::change::{self, change};
use super::directory::Switches;
use super::outside::Outside;
use super::record::{Kind, Record};

/// What other networks have, as long as this is held.
#[derive(Debug)]
pub(super) struct Others {
    pub(super) claims: Claims,
    _lock: File,
}

/// What networks other than `name` have. One that is damaged holds nobody up: it has
/// what this host sends there, which is told.
///
/// # Errors
/// The directory cannot be read or locked, or the kernel does not tell.
pub(super) fn others(switches: &Switches, name: &Name) -> Result<Others, Error> {
    let lock = switches.lock_claims()?;
    let mut claims = Claims::default();
    let (mut known, mut damaged) = (BTreeSet::new(), None);
    for other in switches.names()? {
        let current = match other == *name {
            true => switches.read(&other),
            false => change::current(switches, &other),
        };
        // Somebody may delete one meanwhile, which then has nothing.
        match current {
            Ok(Record {
                kind: Kind::Vpc(vpc),
            }) => {
                known.insert(host_link(vpc.id));
                if other != *name {
                    claims.add(&other, &vpc);
                }
            }
            // A bridge has none of it.
            Ok(_) => {}
            Err(_) if !switches.names()?.contains(&other) => {}
            Err(error) => {
                eprintln!("plinth: {}", error.report());
                damaged = Some(other);
            }
        }
    }
    if let Some(other) = damaged {
        let strange = Outside::current().and_then(|outside| outside.sends_to_strangers(&known));
        let strange = strange.map_err(|error| Error::host(error.to_string()))?;
        claims.add_addresses(&other, strange);
    }
    Ok(Others {
        claims,
        _lock: lock,
    })
}

fn claim<T>(
    switches: &Switches,
    name: &Name,
    claim: impl FnOnce(&mut Vpc, &Claims) -> Result<T, Refused>,
) -> Result<T, Error> {
    let others = others(switches, name)?;
    change(switches, name, |vpc| claim(vpc, &others.claims))
}

/// Gives the network `name` a way out.
///
/// # Errors
/// There is no such network, it has one, or the host cannot.
pub fn attach(switches: &Switches, name: &Name) -> Result<Id<OfInternetGateway>, Error> {
    claim(switches, name, |vpc, claims| {
        vpc.attach_internet_gateway(claims.uplink(vpc)?)
    })
}

/// Gives the network `name` the public address `wish`, or another.
///
/// # Errors
/// There is no such network, the address is taken or cannot be public, or the host
/// cannot.
pub fn allocate(
    switches: &Switches,
    name: &Name,
    wish: Option<Ipv4Addr>,
) -> Result<Ipv4Addr, Error> {
    if let Some(address) = wish
        && host_has(address)?
    {
        return Err(Error::configuration(format!(
            "{address} cannot be a public address: it is this host's own"
        ))
        .remedy("one that others send to this host, and that it does not have itself"));
    }
    claim(switches, name, |vpc, claims| {
        let address = claims.address(vpc, wish)?;
        vpc.allocate(address).map(|_| address)
    })
}

/// A new NAT gateway of the network `vpc`, known outside by `public`, or by an
/// address that it is given.
///
/// # Errors
/// As for [`allocate`], or the network refuses.
pub fn create_nat_gateway(
    switches: &Switches,
    vpc: &Name,
    name: Name,
    subnet: Name,
    public: Option<Ipv4Addr>,
) -> Result<NatGateway, Error> {
    claim(switches, vpc, |vpc, claims| {
        let public = match public {
            Some(public) => public,
            None => {
                let public = claims.address(vpc, None)?;
                vpc.allocate(public)?;
                public
            }
        };
        vpc.add_nat_gateway(name, subnet, public).cloned()
    })
}

/// Whether the host itself has something at what is to be published, or not even the
/// address.
///
/// # Errors
/// It has something there, or not the address.
pub(super) fn vet(publication: &Publication) -> Result<(), Error> {
    if let Some(address) = publication.host_address
        && !address.is_loopback()
        && !host_has(address)?
    {
        return Err(Error::configuration(format!(
            "{publication} cannot be published: {address} is no address of this host"
        ))
        .remedy("one that ip address lists, or none for all of them"));
    }
    match bind(publication) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(Error::configuration(format!(
            "{publication} cannot be published: a program of this host has port {}",
            publication.host_port
        ))
        .remedy("another port of the host, or ending that program: ss -lntup")),
        // Others are told of by who needs it.
        _ => Ok(()),
    }
}

fn bind(publication: &Publication) -> io::Result<()> {
    let address = publication.host_address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let at = (address, publication.host_port);
    match publication.protocol {
        Protocol::Tcp => TcpListener::bind(at).map(drop),
        Protocol::Udp => UdpSocket::bind(at).map(drop),
    }
}

fn host_has(address: Ipv4Addr) -> Result<bool, Error> {
    let addresses = Outside::current().and_then(|outside| outside.addresses());
    let addresses = addresses.map_err(|error| Error::host(error.to_string()))?;
    Ok(addresses.contains(&IpAddr::from(address)))
}

#[cfg(test)]
mod tests;
