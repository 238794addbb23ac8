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
