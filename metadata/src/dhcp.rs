//! DHCP for one interface (RFC 2131): its address is settled before it asks,
//! so that a server for it keeps nothing, and [`answer`] is a function of the
//! [`Lease`] and the message.

use std::net::Ipv4Addr;

use dhcproto::Encodable;
use dhcproto::v4::borrowed;
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use ipnet::Ipv4Net;

use crate::interface::Mac;
use crate::name::DnsName;

/// What an interface is told of its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whose it is: messages of other Ethernet addresses are ignored.
    pub mac: Mac,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its subnet.
    pub subnet: Ipv4Net,
    /// The way out of the subnet.
    pub router: Ipv4Addr,
    /// Who answers about names.
    pub dns: Vec<Ipv4Addr>,
    /// Who gives the lease: what a guest renews it at.
    pub server: Ipv4Addr,
    /// What completes names.
    pub domain: Option<DnsName>,
    /// What it is called.
    pub hostname: Option<DnsName>,
    /// Most bytes of a packet.
    pub mtu: u16,
    /// Destinations that are reached otherwise than by `router`, and how;
    /// 0.0.0.0 for those on the interface itself.
    pub routes: Vec<(Ipv4Net, Ipv4Addr)>,
}

/// Seconds for which an address is given, as on EC2.
pub const SECONDS: u32 = 3600;

/// Most of [`Lease::dns`] and of [`Lease::routes`] that are told: with them a
/// message fits any Ethernet frame.
const MAX_ITEMS: usize = 16;

/// Bytes that some clients expect at the least: those of BOOTP (RFC 951 §3).
const MIN_MESSAGE: usize = 300;

/// More bytes than a message in one frame has.
const MAX_MESSAGE: usize = 1500;

/// A message to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The message.
    pub bytes: Vec<u8>,
    /// Where it goes, by the rules of RFC 2131 §4.1: the client's address, or
    /// everybody's if the client cannot receive at that yet.
    pub to: Ipv4Addr,
}

/// The reply to `message`, which a client sent to port 67 at any address; none
/// if it asks nothing, asks somebody else, or is no message.
pub fn answer(lease: &Lease, message: &[u8]) -> Option<Reply> {
    let request = Request::parse(lease, message)?;
    let kind = match request.kind {
        MessageType::Discover => MessageType::Offer,
        MessageType::Request => judge(lease, &request)?,
        MessageType::Inform => MessageType::Ack,
        // There is nothing to be given back: whoever asks again, or finds
        // another with its address, is still to have no other.
        _ => return None,
    };
    let mut reply = request.reply(kind);
    if kind != MessageType::Nak {
        describe_network(lease, &request, &mut reply);
        if request.kind != MessageType::Inform {
            give_address(lease, &request, &mut reply);
        }
    }
    reply
        .opts_mut()
        .insert(DhcpOption::ServerIdentifier(lease.server));
    let mut bytes = reply.to_vec().ok()?;
    bytes.resize(bytes.len().max(MIN_MESSAGE), 0);
    Some(Reply {
        bytes,
        to: request.destination(lease, &reply),
    })
}

/// What a REQUEST is answered with (RFC 2131 §4.3.2); nothing if it takes the
/// offer of another server, or says not what it wants.
fn judge(lease: &Lease, request: &Request<'_>) -> Option<MessageType> {
    let server = request.address(OptionCode::ServerIdentifier);
    if server.is_some_and(|server| server != lease.server) {
        return None;
    }
    // Whoever renews or rebinds an address sends from it, and names it nowhere
    // else.
    let requested = request.address(OptionCode::RequestedIpAddress);
    let claims = [requested, request.has()];
    let mut claims = claims.iter().flatten().peekable();
    claims.peek()?;
    match claims.all(|claim| *claim == lease.address) {
        true => Some(MessageType::Ack),
        false => Some(MessageType::Nak),
    }
}

fn give_address(lease: &Lease, request: &Request<'_>, reply: &mut Message) {
    reply.set_yiaddr(lease.address);
    if request.kind == MessageType::Request {
        reply.set_ciaddr(request.message.ciaddr());
    }
    let options = reply.opts_mut();
    options.insert(DhcpOption::AddressLeaseTime(SECONDS));
    // RFC 2131 §4.4.5.
    options.insert(DhcpOption::Renewal(SECONDS / 2));
    options.insert(DhcpOption::Rebinding(SECONDS / 8 * 7));
}

fn describe_network(lease: &Lease, request: &Request<'_>, reply: &mut Message) {
    let options = reply.opts_mut();
    options.insert(DhcpOption::SubnetMask(lease.subnet.netmask()));
    options.insert(DhcpOption::BroadcastAddr(lease.subnet.broadcast()));
    options.insert(DhcpOption::Router(vec![lease.router]));
    options.insert(DhcpOption::InterfaceMtu(lease.mtu));
    let dns: Vec<_> = lease.dns.iter().copied().take(MAX_ITEMS).collect();
    if !dns.is_empty() {
        options.insert(DhcpOption::DomainNameServer(dns));
    }
    if let Some(domain) = &lease.domain {
        options.insert(DhcpOption::DomainName(domain.to_string()));
    }
    if let Some(name) = &lease.hostname {
        options.insert(DhcpOption::Hostname(name.first_label().to_owned()));
    }
    // Whoever takes these does not take the router, so it is among them
    // (RFC 3442).
    if !lease.routes.is_empty() && request.asks_for(OptionCode::ClasslessStaticRoute) {
        let way_out = (Ipv4Net::default(), lease.router);
        let routes = lease.routes.iter().take(MAX_ITEMS);
        let routes = routes.map(|(to, by)| (to.trunc(), *by)).chain([way_out]);
        options.insert(DhcpOption::ClasslessStaticRoute(routes.collect()));
    }
}

/// A client's message. Its options are looked at one by one, so that one that
/// is not as it should be does not cost a guest its address.
struct Request<'a> {
    message: borrowed::Message<'a>,
    kind: MessageType,
}

impl<'a> Request<'a> {
    /// Takes `bytes` for a message; none if they are none, or not one of the
    /// lease's owner.
    fn parse(lease: &Lease, bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > MAX_MESSAGE {
            return None;
        }
        let message = borrowed::Message::new(bytes).ok()?;
        let theirs = message.opcode() == Opcode::BootRequest
            && u8::from(message.htype()) == 1
            // Relays have no place between a guest and its network.
            && message.giaddr().is_unspecified()
            && usize::from(message.hlen()) == lease.mac.0.len()
            && message.chaddr() == lease.mac.0;
        let kind = option(&message, OptionCode::MessageType)?;
        let kind = MessageType::from(*kind.first()?);
        theirs.then_some(Self { message, kind })
    }

    /// The address that option `code` has.
    fn address(&self, code: OptionCode) -> Option<Ipv4Addr> {
        let value: [u8; 4] = option(&self.message, code)?.try_into().ok()?;
        Some(value.into())
    }

    fn asks_for(&self, code: OptionCode) -> bool {
        let list = option(&self.message, OptionCode::ParameterRequestList);
        list.is_some_and(|list| list.contains(&code.into()))
    }

    /// A reply with nothing in it yet.
    fn reply(&self, kind: MessageType) -> Message {
        let unset = Ipv4Addr::UNSPECIFIED;
        let chaddr = self.message.chaddr();
        let xid = self.message.xid();
        let mut reply = Message::new_with_id(xid, unset, unset, unset, unset, chaddr);
        reply.set_opcode(Opcode::BootReply);
        reply.set_flags(self.message.flags());
        let options = reply.opts_mut();
        options.insert(DhcpOption::MessageType(kind));
        // RFC 6842 §3.
        if let Some(id) = option(&self.message, OptionCode::ClientIdentifier)
            && id.len() <= usize::from(u8::MAX)
        {
            options.insert(DhcpOption::ClientIdentifier(id));
        }
        reply
    }

    /// The address that the client says it has.
    fn has(&self) -> Option<Ipv4Addr> {
        Some(self.message.ciaddr()).filter(|has| !has.is_unspecified())
    }

    /// RFC 2131 §4.1. A refusal goes to everybody, since the client may not have
    /// the address that it believes it has; nothing goes to an address that is
    /// not the lease's.
    fn destination(&self, lease: &Lease, reply: &Message) -> Ipv4Addr {
        let given = reply.yiaddr() == lease.address && !self.message.flags().broadcast();
        let refused = reply.opts().has_msg_type(MessageType::Nak);
        match !refused && (given || self.has() == Some(lease.address)) {
            true => lease.address,
            false => Ipv4Addr::BROADCAST,
        }
    }
}

/// What option `code` of `message` has.
fn option(message: &borrowed::Message<'_>, code: OptionCode) -> Option<Vec<u8>> {
    let mut options = message.opts();
    let found = options.find(|option| option.code() == code)?;
    Some(found.data().to_vec())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use dhcproto::{Decodable, Decoder};
    use proptest::prelude::*;

    pub(crate) fn lease() -> Lease {
        Lease {
            mac: Mac([2, 0, 0, 0, 0, 1]),
            address: [10, 0, 1, 5].into(),
            subnet: "10.0.1.0/24".parse().unwrap(),
            router: [10, 0, 1, 1].into(),
            dns: vec![[10, 0, 0, 2].into()],
            server: [10, 0, 1, 1].into(),
            domain: Some("region-1.internal".parse().unwrap()),
            hostname: Some("web".parse().unwrap()),
            mtu: 9001,
            routes: vec![("169.254.169.254/32".parse().unwrap(), [0, 0, 0, 0].into())],
        }
    }

    pub(crate) fn message(kind: MessageType, change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::default();
        message.set_chaddr(&lease().mac.0).set_xid(7);
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        change(&mut message);
        message.to_vec().unwrap()
    }

    fn reply(kind: MessageType, change: impl FnOnce(&mut Message)) -> Option<(Message, Ipv4Addr)> {
        let reply = answer(&lease(), &message(kind, change))?;
        assert!(reply.bytes.len() >= MIN_MESSAGE);
        let message = Message::decode(&mut Decoder::new(&reply.bytes)).unwrap();
        assert_eq!((message.xid(), message.opcode()), (7, Opcode::BootReply));
        assert!(message.opts().contains(OptionCode::ServerIdentifier));
        Some((message, reply.to))
    }

    fn requested(address: [u8; 4]) -> DhcpOption {
        DhcpOption::RequestedIpAddress(address.into())
    }

    const MINE: [u8; 4] = [10, 0, 1, 5];
    const OTHER: [u8; 4] = [10, 0, 1, 6];
    const SERVER: [u8; 4] = [10, 0, 1, 1];

    #[test]
    fn who_asks_is_offered_its_address_and_told_its_network() {
        let (offer, to) = reply(MessageType::Discover, |message| {
            let id = DhcpOption::ClientIdentifier(vec![1, 2, 3]);
            message.opts_mut().insert(id);
        })
        .unwrap();
        assert_eq!((offer.yiaddr(), to), (MINE.into(), MINE.into()));
        let options = offer.opts();
        assert_eq!(options.msg_type(), Some(MessageType::Offer));
        for option in [
            DhcpOption::SubnetMask([255, 255, 255, 0].into()),
            DhcpOption::Router(vec![SERVER.into()]),
            DhcpOption::DomainNameServer(vec![[10, 0, 0, 2].into()]),
            DhcpOption::DomainName("region-1.internal".into()),
            DhcpOption::Hostname("web".into()),
            DhcpOption::InterfaceMtu(9001),
            DhcpOption::AddressLeaseTime(3600),
            DhcpOption::Renewal(1800),
            DhcpOption::Rebinding(3150),
            DhcpOption::ServerIdentifier(SERVER.into()),
            DhcpOption::ClientIdentifier(vec![1, 2, 3]),
        ] {
            assert_eq!(options.get(OptionCode::from(&option)), Some(&option));
        }
        assert!(!options.contains(OptionCode::ClasslessStaticRoute));
    }

    #[test]
    fn who_cannot_receive_at_its_address_is_answered_with_a_broadcast() {
        let (_, to) = reply(MessageType::Discover, |message| {
            message.set_flags(message.flags().set_broadcast());
        })
        .unwrap();
        assert_eq!(to, Ipv4Addr::BROADCAST);
    }

    #[test]
    fn routes_are_told_who_asks_for_them() {
        let (offer, _) = reply(MessageType::Discover, |message| {
            let list = vec![OptionCode::ClasslessStaticRoute];
            message
                .opts_mut()
                .insert(DhcpOption::ParameterRequestList(list));
        })
        .unwrap();
        let expected = DhcpOption::ClasslessStaticRoute(vec![
            ("169.254.169.254/32".parse().unwrap(), [0, 0, 0, 0].into()),
            ("0.0.0.0/0".parse().unwrap(), SERVER.into()),
        ]);
        assert_eq!(
            offer.opts().get(OptionCode::ClasslessStaticRoute),
            Some(&expected)
        );
    }

    /// Asks for `address` in each of the four states that ask (RFC 2131 §4.3.2).
    fn request(address: [u8; 4]) -> Vec<(MessageType, Ipv4Addr)> {
        let selecting = |message: &mut Message| {
            let server = DhcpOption::ServerIdentifier(SERVER.into());
            message.opts_mut().insert(requested(address));
            message.opts_mut().insert(server);
        };
        let init_reboot = |message: &mut Message| {
            message.opts_mut().insert(requested(address));
        };
        // Renewing and rebinding differ in where they are sent to.
        let renewing = |message: &mut Message| {
            message.set_ciaddr(address);
        };
        let replies = [
            reply(MessageType::Request, selecting),
            reply(MessageType::Request, init_reboot),
            reply(MessageType::Request, renewing),
        ];
        let kind = |(message, to): (Message, Ipv4Addr)| (message.opts().msg_type().unwrap(), to);
        replies.map(|reply| kind(reply.unwrap())).into()
    }

    #[test]
    fn its_own_address_is_confirmed_and_another_refused() {
        let acknowledged = (MessageType::Ack, Ipv4Addr::from(MINE));
        assert_eq!(request(MINE), [acknowledged; 3]);
        let refused = (MessageType::Nak, Ipv4Addr::BROADCAST);
        assert_eq!(request(OTHER), [refused; 3]);
        let (refusal, _) = reply(MessageType::Request, |message| {
            message.opts_mut().insert(requested(OTHER));
        })
        .unwrap();
        assert_eq!(
            (refusal.yiaddr(), refusal.opts().len()),
            (Ipv4Addr::UNSPECIFIED, 2)
        );
    }

    #[test]
    fn what_is_for_another_server_or_says_nothing_is_ignored() {
        let other = |message: &mut Message| {
            let server = DhcpOption::ServerIdentifier(OTHER.into());
            message.opts_mut().insert(requested(MINE));
            message.opts_mut().insert(server);
        };
        assert_eq!(reply(MessageType::Request, other), None);
        for kind in [
            MessageType::Request,
            MessageType::Release,
            MessageType::Decline,
            MessageType::Offer,
        ] {
            assert_eq!(reply(kind, |_| ()), None, "{kind:?}");
        }
    }

    #[test]
    fn who_has_an_address_is_only_told_its_network() {
        let (told, to) = reply(MessageType::Inform, |message| {
            message.set_ciaddr(MINE);
        })
        .unwrap();
        assert_eq!(told.opts().msg_type(), Some(MessageType::Ack));
        assert_eq!((told.yiaddr(), to), (Ipv4Addr::UNSPECIFIED, MINE.into()));
        assert!(told.opts().contains(OptionCode::Router));
        assert!(!told.opts().contains(OptionCode::AddressLeaseTime));
    }

    #[test]
    fn no_reply_goes_to_an_address_that_is_not_the_leases() {
        let (refused, to) = reply(MessageType::Request, |message| {
            message.set_ciaddr(OTHER);
            message.opts_mut().insert(requested(MINE));
        })
        .unwrap();
        assert_eq!(refused.opts().msg_type(), Some(MessageType::Nak));
        assert_eq!(to, Ipv4Addr::BROADCAST);
        for kind in [MessageType::Inform, MessageType::Discover] {
            let (_, to) = reply(kind, |message| {
                message.set_ciaddr(OTHER);
            })
            .unwrap();
            assert!([Ipv4Addr::BROADCAST, MINE.into()].contains(&to));
        }
    }

    #[test]
    fn messages_of_others_are_ignored() {
        let ignored = |change: fn(&mut Message)| reply(MessageType::Discover, change).is_none();
        assert!(ignored(|message| {
            message.set_chaddr(&[2, 0, 0, 0, 0, 2]);
        }));
        assert!(ignored(|message| {
            message.set_chaddr(&[0; 16]);
        }));
        assert!(ignored(|message| {
            message.set_giaddr([10, 0, 0, 9]);
        }));
        assert!(ignored(|message| {
            message.set_opcode(Opcode::BootReply);
        }));
        assert!(ignored(|message| {
            message.opts_mut().clear();
        }));
    }

    #[test]
    fn an_option_that_is_wrong_spoils_no_other() {
        let mut bytes = message(MessageType::Request, |_| ());
        // Before the end: a host name that is no text, then the address.
        assert_eq!(bytes.pop(), Some(255));
        bytes.extend([12, 2, 0xFF, 0xFE, 50, 4, 10, 0, 1, 5, 255]);
        let reply = answer(&lease(), &bytes).unwrap();
        assert_eq!(reply.to, Ipv4Addr::from(MINE));
    }

    #[test]
    fn the_longest_reply_fits_a_frame() {
        let name: DnsName = format!("{}.{}", "a".repeat(63), "b".repeat(63))
            .parse()
            .unwrap();
        let lease = Lease {
            dns: vec![[10, 0, 0, 2].into(); 100],
            domain: Some(name.clone()),
            hostname: Some(name),
            routes: vec![("10.1.2.3/32".parse().unwrap(), [10, 0, 1, 1].into()); 100],
            ..lease()
        };
        let bytes = message(MessageType::Discover, |message| {
            let list = vec![OptionCode::ClasslessStaticRoute];
            message
                .opts_mut()
                .insert(DhcpOption::ParameterRequestList(list));
            message
                .opts_mut()
                .insert(DhcpOption::ClientIdentifier(vec![7; 255]));
        });
        let reply = answer(&lease, &bytes).unwrap();
        assert!(
            reply.bytes.len() <= 1500 - 28,
            "{} bytes",
            reply.bytes.len()
        );
    }

    proptest! {
        #[test]
        fn any_message_is_answered_or_not(
            head in prop::collection::vec(any::<u8>(), 0..300),
            options in prop::collection::vec(any::<u8>(), 0..100),
            kind in 0..20_u8,
            whole in any::<bool>(),
        ) {
            let _ = answer(&lease(), &head);
            let mut bytes = message(MessageType::from(kind), |_| ());
            if whole {
                bytes.pop();
            }
            bytes.extend(options);
            if let Some(reply) = answer(&lease(), &bytes) {
                let reply = Message::decode(&mut Decoder::new(&reply.bytes)).unwrap();
                prop_assert!([MINE.into(), Ipv4Addr::UNSPECIFIED].contains(&reply.yiaddr()));
            }
        }

        #[test]
        fn any_byte_may_be_another(at in 0..247_usize, byte in any::<u8>()) {
            let mut bytes = message(MessageType::Discover, |_| ());
            if let Some(old) = bytes.get_mut(at) {
                *old = byte;
            }
            let _ = answer(&lease(), &bytes);
        }
    }
}
