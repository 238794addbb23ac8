//! What a network's router says of itself by IPv6 (RFC 4861 §4.2): that the metadata
//! service is on the guest's link, and nothing else is anywhere.

use std::net::Ipv6Addr;

/// What a guest asks with (RFC 4861 §4.1).
const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;

/// What tells of a range of addresses (RFC 4861 §4.6.2), in words of 64 bits, and
/// that they are on the link.
const PREFIX: u8 = 3;
const PREFIX_WORDS: u8 = 4;
const ON_LINK: u8 = 0x80;
/// All bits of an address.
const WHOLE: u8 = 128;
const FOREVER: [u8; 4] = [0xff; 4];

/// The hops that a guest may let its packets go, which it would choose itself.
const HOPS: u8 = 64;

/// As many hops an answer must have left when it comes: who is further away is no
/// router of the link (RFC 4861 §6.1.2).
pub const ADVERTISED_HOPS: u32 = 255;

/// The answer to `message`, in ICMPv6 without its checksum; `None` if it asks for no
/// router. It gives the guest neither an address nor a way elsewhere: that `service` is
/// on its link is all.
pub fn answer(message: &[u8], service: Ipv6Addr) -> Option<Vec<u8>> {
    if message.first() != Some(&SOLICITATION) {
        return None;
    }
    // Neither code nor flags; a router for no time, which says nothing of others.
    let mut answer = vec![ADVERTISEMENT, 0, 0, 0, HOPS];
    answer.resize(16, 0);
    answer.extend([PREFIX, PREFIX_WORDS, WHOLE, ON_LINK]);
    answer.extend([FOREVER, FOREVER, [0; 4]].concat());
    answer.extend(service.octets());
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn who_asks_for_a_router_is_told_of_the_service_alone() {
        let service: Ipv6Addr = "fd00:ec2::254".parse().unwrap();
        let answer = answer(&[133, 0, 0, 0, 0, 0, 0, 0], service).unwrap();
        assert_eq!(answer.len(), 16 + 8 * usize::from(PREFIX_WORDS));
        assert_eq!(answer[0], 134);
        assert_eq!(answer[5] & 0xc0, 0, "neither addresses nor more by DHCP");
        assert_eq!(answer[6..8], [0, 0], "no way elsewhere");
        assert_eq!(answer[16..20], [3, 4, 128, 0x80], "no address for itself");
        assert_eq!(answer[32..], service.octets());
    }

    proptest! {
        #[test]
        fn nothing_else_is_answered(message: Vec<u8>) {
            let answered = answer(&message, Ipv6Addr::LOCALHOST).is_some();
            prop_assert_eq!(answered, message.first() == Some(&133));
        }
    }
}
