//! A network interface's address (MAC address, EUI-48).

use std::fmt;
use std::str::FromStr;

/// In the first octet: the address is of a group, not of an interface.
const GROUP: u8 = 1;
/// In the first octet: the address was not assigned by a manufacturer.
const LOCAL: u8 = 2;

/// The address of one interface: neither of a group nor zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddress([u8; 6]);

/// Not the address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMac {
    /// Not six octets.
    #[error("a MAC address is six hexadecimal octets, for instance 52:54:00:12:34:56")]
    Form,
    /// Multicast or broadcast.
    #[error("the MAC address is of a group (its first octet is odd); an interface needs its own")]
    Group,
    /// All octets are zero.
    #[error("the MAC address is all zeroes; an interface needs one of its own")]
    Zero,
}

impl MacAddress {
    /// The address with these octets.
    ///
    /// # Errors
    /// It is zero or of a group.
    pub fn new(octets: [u8; 6]) -> Result<Self, BadMac> {
        if octets[0] & GROUP != 0 {
            Err(BadMac::Group)
        } else if octets == [0; 6] {
            Err(BadMac::Zero)
        } else {
            Ok(Self(octets))
        }
    }

    /// A locally administered address made from `seed`: the same for the
    /// same seed, always, and very likely another for another.
    pub fn local(seed: &[u8]) -> Self {
        // 64-bit FNV-1a: the standard library promises no hash that stays the
        // same from release to release.
        let hash = seed.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // Folded, since its upper bits depend on more of a short seed.
        let [mut first, b, c, d, e, f, ..] = (hash ^ hash >> 32).to_le_bytes();
        first = first & !GROUP | LOCAL;
        Self([first, b, c, d, e, f])
    }

    /// The six octets, in the order of transmission.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for MacAddress {
    type Err = BadMac;

    /// Six pairs of hexadecimal digits with colons or hyphens between them.
    fn from_str(text: &str) -> Result<Self, BadMac> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut octets = [0; 6];
        let mut parts = text.split(separator);
        for octet in &mut octets {
            *octet = parse_octet(parts.next().ok_or(BadMac::Form)?)?;
        }
        match parts.next() {
            None => Self::new(octets),
            Some(_) => Err(BadMac::Form),
        }
    }
}

fn parse_octet(text: &str) -> Result<u8, BadMac> {
    // from_str_radix alone would take "+1" and "1".
    let two_digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let octet = u8::from_str_radix(text, 16).ok();
    octet.filter(|_| two_digits).ok_or(BadMac::Form)
}

impl fmt::Display for MacAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(formatter, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    use proptest::prelude::*;

    #[test]
    fn an_address_is_read_in_either_notation() {
        let address = MacAddress::new([0x52, 0x54, 0, 0xab, 0xcd, 0xef]).unwrap();
        assert_eq!("52:54:00:ab:cd:ef".parse(), Ok(address));
        assert_eq!("52-54-00-AB-CD-EF".parse(), Ok(address));
        assert_eq!(address.to_string(), "52:54:00:ab:cd:ef");
    }

    #[test]
    fn what_is_no_interfaces_address_is_refused() {
        for (text, reason) in [
            ("", BadMac::Form),
            ("52:54:00:ab:cd", BadMac::Form),
            ("52:54:00:ab:cd:ef:01", BadMac::Form),
            ("52:54:00:ab:cd:e", BadMac::Form),
            ("52:54:00:ab:cd:+f", BadMac::Form),
            ("52:54:00:ab-cd:ef", BadMac::Form),
            ("ff:ff:ff:ff:ff:ff", BadMac::Group),
            ("00:00:00:00:00:00", BadMac::Zero),
        ] {
            assert_eq!(text.parse::<MacAddress>(), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn a_seed_always_gives_the_same_address() {
        // Guests remember the addresses of their interfaces: this must never
        // change.
        assert_eq!(MacAddress::local(b"tap0").to_string(), "fa:2c:cf:de:ef:fc");
    }

    #[test]
    fn names_that_differ_by_a_digit_get_addresses_that_differ() {
        let addresses: HashSet<_> = (0..1000)
            .map(|i| MacAddress::local(format!("tap{i}").as_bytes()))
            .collect();
        assert_eq!(addresses.len(), 1000);
    }

    proptest! {
        #[test]
        fn local_addresses_are_local_and_survive_text(seed: Vec<u8>) {
            let address = MacAddress::local(&seed);
            prop_assert_eq!(address.octets()[0] & 3, LOCAL);
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text: String) {
            let _ = text.parse::<MacAddress>();
        }
    }
}
