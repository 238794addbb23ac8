//! DHCP for one interface (RFC 2131): its address is settled before it asks,
//! so that a server for it keeps nothing, and [`answer`] is a function of the
//! [`Lease`] and the message.

use std::net::Ipv4Addr;

use dhcproto::Encodable;
use dhcproto::v4::borrowed;
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use ipnet::Ipv4Net;

pub use dhcproto::v4::{CLIENT_PORT, SERVER_PORT};

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
pub(crate) mod tests;
