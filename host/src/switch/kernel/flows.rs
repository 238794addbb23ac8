//! Flows that the kernel tracks (conntrack), of which a namespace has its own.
//!
//! A flow is tracked for as long as packets come, whoever has its addresses. When
//! somebody else is given one, the flows of who had it before are to be forgotten,
//! or they let in what the rules would not.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;

use netlink_packet_core::NlasIterator;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::error::{KernelError, Refusal};
use super::namespace::Namespace;

/// linux/netlink.h: the header of a message, its flags, and its special types.
const HEADER: usize = 16;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// linux/netfilter/nfnetlink.h: what follows the header.
const SUBHEADER: usize = 4;

/// linux/netfilter/nfnetlink_conntrack.h: messages of its subsystem, 1.
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;

/// Attributes of a flow: its two directions, and in each the addresses, the protocol
/// and the ports.
const TUPLES: [u16; 2] = [1, 2];
const ORIGINAL: u16 = TUPLES[0];
const ADDRESSES: u16 = 1;
const IPV4: [u16; 2] = [1, 2];
const PROTOCOL: u16 = 2;
const NUMBER: u16 = 1;
const PORTS: [u16; 2] = [2, 3];

/// Attributes have flags in these bits of their types.
const FLAGS: u16 = 0xc000;
const NESTED: u16 = 0x8000;

/// `AF_INET`.
const INET: u8 = 2;

/// As often flows are looked for that came while others were forgotten.
const ROUNDS: u32 = 4;

/// Who has a part in flows: an address, in all of its flows, or in those of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    /// Its address.
    pub address: Ipv4Addr,
    /// The number of a protocol, and its port.
    pub port: Option<(u8, u16)>,
}

impl From<Ipv4Addr> for End {
    fn from(address: Ipv4Addr) -> Self {
        let port = None;
        Self { address, port }
    }
}

/// Forgets the flows of `namespace` that one of `ends` has a part in.
///
/// # Errors
/// The privilege is missing, or the kernel does not track.
pub fn forget(namespace: &Namespace, ends: &BTreeSet<End>) -> Result<(), KernelError> {
    let task = || format!("{namespace}: flows cannot be forgotten");
    let failed = |error: io::Error| Refusal::from(error).at(task());
    let mut socket = namespace.within(open)?.map_err(failed)?;
    for _ in 0..ROUNDS {
        let found = find(&mut socket, ends).map_err(failed)?;
        if found.is_empty() {
            break;
        }
        for original in found {
            delete(&mut socket, &original).map_err(failed)?;
        }
    }
    Ok(())
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    // Nobody but the kernel is heard from now on.
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// The original directions of the flows with one of `ends`: their names.
fn find(socket: &mut Socket, ends: &BTreeSet<End>) -> io::Result<Vec<Vec<u8>>> {
    socket.send(&message(GET, REQUEST | DUMP, &[]), 0)?;
    let mut found = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        for (kind, payload) in messages(&datagram) {
            match kind {
                DONE => return Ok(found),
                ERROR => outcome(payload)?,
                _ => found.extend(payload.get(SUBHEADER..).and_then(|f| name(f, ends))),
            }
        }
    }
}

fn delete(socket: &mut Socket, original: &[u8]) -> io::Result<()> {
    socket.send(&message(DELETE, REQUEST | ACK, original), 0)?;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        for (kind, payload) in messages(&datagram) {
            if kind == ERROR {
                return match outcome(payload) {
                    // It ended by itself.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                    outcome => outcome,
                };
            }
        }
    }
}

/// What an acknowledgement says.
fn outcome(payload: &[u8]) -> io::Result<()> {
    let code = payload.first_chunk().map(|code| i32::from_ne_bytes(*code));
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The attribute that names the flow in `attributes`, if one of `ends` has a part in
/// it.
fn name(attributes: &[u8], ends: &BTreeSet<End>) -> Option<Vec<u8>> {
    let [original, reply] = TUPLES.map(|tuple| value(attributes, tuple));
    let original = original?;
    let is_theirs = has(&original, ends) || reply.is_some_and(|reply| has(&reply, ends));
    is_theirs.then(|| attribute(ORIGINAL | NESTED, &original))
}

/// Whether one of `ends` is one of the two of a direction.
fn has(tuple: &[u8], ends: &BTreeSet<End>) -> bool {
    let addresses = value(tuple, ADDRESSES).unwrap_or_default();
    let of_protocol = value(tuple, PROTOCOL).unwrap_or_default();
    let protocol = value(&of_protocol, NUMBER).and_then(|number| number.first().copied());
    IPV4.into_iter().zip(PORTS).any(|(address, port)| {
        let address = value(&addresses, address).and_then(|bytes| bytes.try_into().ok());
        let port = value(&of_protocol, port).and_then(|bytes| bytes.try_into().ok());
        address.is_some_and(|address: [u8; 4]| {
            let whole = End::from(Ipv4Addr::from(address));
            let port = protocol.zip(port.map(u16::from_be_bytes));
            ends.contains(&whole) || ends.contains(&End { port, ..whole })
        })
    })
}

/// The value of the attribute of type `kind`.
fn value(attributes: &[u8], kind: u16) -> Option<Vec<u8>> {
    let mut all = NlasIterator::new(attributes).map_while(Result::ok);
    let found = all.find(|one| one.kind() & !FLAGS == kind);
    found.map(|one| one.value().to_vec())
}

/// An attribute as the kernel reads it, aligned.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn message(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let len = HEADER + SUBHEADER + attributes.len();
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
    // Sequence and port number: there is one conversation.
    bytes.extend([0; 8]);
    bytes.extend([INET, 0, 0, 0]);
    bytes.extend(attributes);
    bytes
}

/// The messages of a datagram: types and what follows the headers.
fn messages(datagram: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let header: &[u8; HEADER] = rest.first_chunk()?;
        let len = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let len = usize::try_from(len).ok()?;
        let payload = rest.get(HEADER..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_answer_is_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let ends = BTreeSet::from([End::from(Ipv4Addr::LOCALHOST)]);
            for (_, payload) in messages(&bytes) {
                let _ = (outcome(payload), name(payload, &ends));
            }
        }
    }
}
