//! A conversation with the kernel about one namespace's network (rtnetlink(7)).
//!
//! One blocking socket; one request at a time, and each is answered before the
//! next. The kernel acknowledges every change, or says why it refuses it, in
//! words if it has any (extended acknowledgements). The socket stays with its
//! namespace, whichever thread uses it. What can be asked is in the files of
//! links, addresses, routes, rules and neighbours.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NlasIterator, parse_string,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::io::Errno;

use super::error::{KernelError, Refusal};
use super::namespace::Namespace;

/// Length of a message's header (`struct nlmsghdr`), and what messages are
/// aligned to.
const HEADER: usize = 16;
const ALIGNMENT: usize = 4;

/// The text of an extended acknowledgement (`NLMSGERR_ATTR_MSG`).
const TEXT: u16 = 1;
/// What is kept of it, in bytes.
const MOST_TEXT: usize = 256;

/// A list during which something changed is asked for again this often.
const MOST_LISTS: u32 = 16;

/// An open connection to the network of a namespace.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: Cell<u32>,
    /// The namespace.
    namespace: OwnedFd,
    /// What it is called in messages.
    place: String,
}

impl Netlink {
    /// Connects to the network of `namespace`.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub fn in_namespace(namespace: &Namespace) -> Result<Self, KernelError> {
        let place = namespace.to_string();
        let failed = |error: io::Error| {
            let task = format!("{place}: the kernel cannot be asked");
            Refusal::from(error).at(task)
        };
        Ok(Self {
            socket: namespace.within(open)?.map_err(failed)?,
            sequence: Cell::new(0),
            namespace: namespace.as_fd().try_clone_to_owned().map_err(failed)?,
            place,
        })
    }

    /// The namespace that it is connected to.
    pub(super) fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// How often the kernel was asked for anything.
    #[cfg(test)]
    pub(in super::super) fn asked(&self) -> u32 {
        self.sequence.get()
    }

    /// Has the kernel make a change, with `flags` (`NLM_F_*`) that say what may
    /// be there already.
    pub(super) fn change(&self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Refusal> {
        self.exchange(message, NLM_F_ACK | flags).map(drop)
    }

    /// Asks about one thing.
    pub(super) fn ask(&self, message: RouteNetlinkMessage) -> Result<Answer, Refusal> {
        self.exchange(message, NLM_F_ACK)?.pop().ok_or_else(|| {
            let says = Some("there was no answer".into());
            let errno = Errno::IO;
            Refusal { errno, says }
        })
    }

    /// Asks for all that there is, in a consistent state.
    pub(super) fn list(&self, message: &RouteNetlinkMessage) -> Result<Vec<Answer>, Refusal> {
        for _ in 0..MOST_LISTS {
            match self.exchange(message.clone(), NLM_F_DUMP) {
                Err(refusal) if refusal.errno == Errno::INTR => {}
                list => return list,
            }
        }
        Err(Refusal {
            errno: Errno::AGAIN,
            says: Some("it changes all the time".into()),
        })
    }

    /// What is said of a failure: where, and `what`.
    pub(super) fn task(&self, what: impl std::fmt::Display) -> String {
        format!("{}: {what}", self.place)
    }

    fn exchange(&self, message: RouteNetlinkMessage, flags: u16) -> Result<Vec<Answer>, Refusal> {
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        let mut header = NetlinkHeader::default();
        header.sequence_number = sequence;
        header.flags = NLM_F_REQUEST | flags;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;

        let mut answers = Answers::default();
        while !answers.complete {
            match self.socket.recv_from_full() {
                Ok((datagram, _)) => answers.take(&datagram, sequence)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        answers.end()
    }
}

/// What the kernel says of what it was asked.
pub(super) type Answer = RouteNetlinkMessage;

/// What has come of the answers to one request.
#[derive(Default)]
struct Answers {
    messages: Vec<Answer>,
    interrupted: bool,
    complete: bool,
    refusal: Option<Refusal>,
}

impl Answers {
    /// Takes the messages of a datagram; those to earlier requests, which
    /// failed half-way, are left out.
    fn take(&mut self, mut datagram: &[u8], sequence: u32) -> Result<(), Refusal> {
        while datagram.len() >= HEADER && !self.complete {
            let message = NetlinkMessage::<Answer>::deserialize(datagram).map_err(|error| {
                let says = Some(format!("an answer cannot be read: {error}"));
                let errno = Errno::PROTO;
                Refusal { errno, says }
            })?;
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
            let step = length.max(HEADER).checked_next_multiple_of(ALIGNMENT);
            datagram = step.and_then(|s| datagram.get(s..)).unwrap_or_default();
            if message.header.sequence_number == sequence {
                self.take_one(message);
            }
        }
        Ok(())
    }

    fn take_one(&mut self, message: NetlinkMessage<Answer>) {
        let (header, payload) = message.into_parts();
        self.interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
        let (code, more) = match payload {
            NetlinkPayload::InnerMessage(message) => return self.messages.push(message),
            // The header of what was asked comes before the attributes.
            NetlinkPayload::Error(error) => (
                error.raw_code(),
                error.header.get(HEADER..).map(<[u8]>::to_vec),
            ),
            NetlinkPayload::Done(done) => (done.code, Some(done.extended_ack)),
            _ => return,
        };
        self.complete = true;
        if code != 0 {
            let says = more.filter(|_| header.flags & NLM_F_ACK_TLVS != 0);
            self.refusal = Some(Refusal {
                says: says.and_then(|attributes| text(&attributes)),
                ..io::Error::from_raw_os_error(code.saturating_neg()).into()
            });
        }
    }

    fn end(self) -> Result<Vec<Answer>, Refusal> {
        match self.refusal {
            Some(refusal) => Err(refusal),
            None if self.interrupted => Err(Errno::INTR.into()),
            None => Ok(self.messages),
        }
    }
}

fn text(attributes: &[u8]) -> Option<String> {
    let mut texts = NlasIterator::new(attributes)
        .map_while(Result::ok)
        .filter(|attribute| attribute.kind() == TEXT);
    let mut text = parse_string(texts.next()?.value()).ok()?;
    text.truncate(text.floor_char_boundary(MOST_TEXT));
    Some(text)
}

/// A socket of the calling thread's namespace.
fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    // Nobody but the kernel is heard from now on.
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_cap_ack(true)?;
    socket.set_ext_ack(true)?;
    // Lists may be limited, and a request that makes no sense is refused.
    socket.set_netlink_get_strict_chk(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Scratch;
    use super::*;
    use netlink_packet_route::link::LinkMessage;
    use netlink_packet_route::route::RouteMessage;
    use proptest::prelude::*;

    #[test]
    fn a_refusal_comes_with_the_kernels_own_words() {
        let scratch = Scratch::new();
        let net = scratch.net();
        let nonsense = RouteNetlinkMessage::NewRoute(RouteMessage::default());
        net.change(nonsense, 0).unwrap_err();
        let mut missing = LinkMessage::default();
        missing.header.index = 1234;
        let refusal = net.ask(RouteNetlinkMessage::GetLink(missing)).unwrap_err();
        assert_eq!(refusal.errno, Errno::NODEV);
        // An attribute too much, by the strict check.
        let mut strict = LinkMessage::default();
        strict.header.link_layer_type = netlink_packet_route::link::LinkLayerType::Ether;
        let refusal = net.list(&RouteNetlinkMessage::GetLink(strict)).unwrap_err();
        assert_eq!(refusal.errno, Errno::INVAL);
        assert!(refusal.says.is_some(), "{refusal:?}");
        // The next request gets its own answer.
        let mut loopback = LinkMessage::default();
        loopback.header.index = 1;
        net.ask(RouteNetlinkMessage::GetLink(loopback)).unwrap();
    }

    /// Types of messages: ends, refusals, links, addresses, routes, neighbours,
    /// rules and namespaces.
    const TYPES: [u16; 8] = [2, 3, 16, 20, 24, 28, 32, 88];

    fn datagram(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + payload.len()).unwrap();
        let mut datagram = length.to_ne_bytes().to_vec();
        datagram.extend(kind.to_ne_bytes());
        datagram.extend(flags.to_ne_bytes());
        // The sequence number and the port.
        datagram.extend([0; 8]);
        datagram.extend(payload);
        datagram
    }

    #[test]
    fn an_answer_to_an_earlier_request_is_left_out() {
        let mut answers = Answers::default();
        answers.take(&datagram(3, 0, &[0; 4]), 1).unwrap();
        assert!(!answers.complete);
        answers.take(&datagram(3, 0, &[0; 4]), 0).unwrap();
        assert!(answers.complete);
        assert_eq!(answers.end(), Ok(vec![]));
    }

    #[test]
    fn an_error_without_a_name_is_an_error() {
        for code in [i32::MIN, -4096, 1, i32::MAX] {
            let mut answers = Answers::default();
            let refusal = datagram(2, 0, &code.to_ne_bytes());
            answers.take(&refusal, 0).unwrap();
            assert!(answers.end().is_err(), "{code}");
        }
    }

    #[test]
    fn a_list_that_changed_meanwhile_is_asked_for_again() {
        let mut answers = Answers::default();
        answers
            .take(&datagram(3, NLM_F_DUMP_INTR, &[0; 4]), 0)
            .unwrap();
        assert_eq!(answers.end(), Err(Errno::INTR.into()));
    }

    proptest! {
        #[test]
        fn any_datagram_is_taken_or_refused(datagram: Vec<u8>, sequence in 0..2_u32) {
            let mut answers = Answers::default();
            let _ = answers.take(&datagram, sequence);
        }

        #[test]
        fn any_message_is_taken_or_refused(
            kind in proptest::sample::select(&TYPES[..]),
            flags: u16,
            payload: Vec<u8>,
        ) {
            let mut answers = Answers::default();
            let _ = answers.take(&datagram(kind, flags, &payload), 0);
        }
    }
}
