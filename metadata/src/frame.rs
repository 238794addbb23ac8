//! DHCP messages in the Ethernet frames of a guest that has no address yet, as
//! a tap or a packet socket brings them.

use std::net::Ipv4Addr;

use dhcproto::v4::{CLIENT_PORT, SERVER_PORT};
use etherparse::{EtherType, LinkSlice, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

use crate::dhcp::{self, Lease};
use crate::interface::Mac;

/// Any guest's address: all of them.
const BROADCAST: Mac = Mac([0xFF; 6]);

/// Hops that a reply may take. It takes none.
const TIME_TO_LIVE: u8 = 64;

/// The DHCP message in `frame`, if it is one from a client to a server: a whole
/// IPv4 packet without a VLAN's tag, from UDP port 68 to 67. Checksums are not
/// looked at: a guest leaves them to its device, which leaves them out.
pub fn message(frame: &[u8]) -> Option<&[u8]> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(LinkSlice::Ethernet2(ethernet)) = &packet.link else {
        return None;
    };
    let plain = ethernet.ether_type() == EtherType::IPV4;
    let whole = matches!(packet.net, Some(NetSlice::Ipv4(_))) && !packet.is_ip_payload_fragmented();
    match packet.transport {
        Some(TransportSlice::Udp(udp))
            if (udp.source_port(), udp.destination_port()) == (CLIENT_PORT, SERVER_PORT) =>
        {
            (plain && whole).then_some(udp.payload())
        }
        _ => None,
    }
}

/// The frame that answers `frame` by `lease`, from a server whose Ethernet
/// address is `server`; none if it is not to be answered.
pub fn answer(lease: &Lease, server: Mac, frame: &[u8]) -> Option<Vec<u8>> {
    let reply = dhcp::answer(lease, message(frame)?)?;
    let to = match reply.to {
        Ipv4Addr::BROADCAST => BROADCAST,
        // Nobody is asked who has an address: it is the lease's owner.
        _ => lease.mac,
    };
    let headers = PacketBuilder::ethernet2(server.0, to.0)
        .ipv4(lease.server.octets(), reply.to.octets(), TIME_TO_LIVE)
        .udp(SERVER_PORT, CLIENT_PORT);
    let mut bytes = Vec::with_capacity(headers.size(reply.bytes.len()));
    headers.write(&mut bytes, &reply.bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::tests::{lease, message as dhcp_message};
    use dhcproto::v4::MessageType;
    use proptest::prelude::*;

    const SERVER: Mac = Mac([2, 0, 0, 0, 0, 0xFE]);

    fn frame(ports: (u16, u16), message: &[u8]) -> Vec<u8> {
        let headers = PacketBuilder::ethernet2(lease().mac.0, BROADCAST.0)
            .ipv4([0; 4], [255; 4], 64)
            .udp(ports.0, ports.1);
        let mut frame = Vec::new();
        headers.write(&mut frame, message).unwrap();
        frame
    }

    fn discover() -> Vec<u8> {
        frame((68, 67), &dhcp_message(MessageType::Discover, |_| ()))
    }

    #[test]
    fn a_discover_is_answered_in_a_frame_to_its_sender() {
        let reply = answer(&lease(), SERVER, &discover()).unwrap();
        let packet = SlicedPacket::from_ethernet(&reply).unwrap();
        let Some(LinkSlice::Ethernet2(ethernet)) = &packet.link else {
            panic!("no Ethernet: {packet:?}");
        };
        assert_eq!(
            (ethernet.source(), ethernet.destination()),
            (SERVER.0, lease().mac.0)
        );
        let Some(NetSlice::Ipv4(ip)) = &packet.net else {
            panic!("no IPv4: {packet:?}");
        };
        assert_eq!(ip.header().source_addr(), lease().server);
        assert_eq!(ip.header().destination_addr(), lease().address);
        let Some(TransportSlice::Udp(udp)) = &packet.transport else {
            panic!("no UDP: {packet:?}");
        };
        assert_eq!((udp.source_port(), udp.destination_port()), (67, 68));
        let payload = udp.payload().to_vec();
        let expected = udp
            .to_header()
            .calc_checksum_ipv4(&ip.header().to_header(), &payload);
        assert_eq!(udp.checksum(), expected.unwrap());
    }

    #[test]
    fn a_broadcast_is_one_in_both_layers() {
        let message = dhcp_message(MessageType::Discover, |message| {
            message.set_flags(message.flags().set_broadcast());
        });
        let reply = answer(&lease(), SERVER, &frame((68, 67), &message)).unwrap();
        assert_eq!(reply[..6], [0xFF; 6]);
        assert_eq!(reply[30..34], [0xFF; 4]);
    }

    #[test]
    fn a_checksum_that_the_device_was_to_fill_in_does_not_matter() {
        let mut frame = discover();
        frame[40..42].copy_from_slice(&[0x12, 0x34]);
        assert!(answer(&lease(), SERVER, &frame).is_some());
    }

    #[test]
    fn other_frames_are_none() {
        let message_bytes = dhcp_message(MessageType::Discover, |_| ());
        for ports in [(67, 68), (68, 53), (1234, 67)] {
            assert_eq!(message(&frame(ports, &message_bytes)), None);
        }
        let mut fragment = discover();
        fragment[20] |= 0x20;
        assert_eq!(message(&fragment), None);
        let mut arp = discover();
        arp[13] = 6;
        assert_eq!(message(&arp), None);
        let whole = discover();
        for end in 0..whole.len() {
            assert_eq!(answer(&lease(), SERVER, &whole[..end]), None);
        }
    }

    proptest! {
        #[test]
        fn any_frame_is_answered_or_not(frame in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = answer(&lease(), SERVER, &frame);
        }

        #[test]
        fn any_byte_may_be_another(at in 0..60_usize, byte in any::<u8>()) {
            let mut frame = discover();
            frame[at] = byte;
            let _ = answer(&lease(), SERVER, &frame);
        }
    }
}
