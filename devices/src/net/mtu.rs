//! A maximum transmission unit.

use std::fmt;
use std::str::FromStr;

/// The most bytes that an interface sends in one frame, without the Ethernet
/// header: 68 to 65535 (virtio 1.3 §5.1.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mtu(u16);

/// Not an MTU.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an MTU is a number of bytes from {} to {}, for instance 1500",
    Mtu::MIN,
    u16::MAX
)]
pub struct BadMtu;

impl Mtu {
    /// The least MTU: what every IPv4 link carries (RFC 791).
    pub const MIN: u16 = 68;

    /// An MTU of `bytes`.
    ///
    /// # Errors
    /// Fewer than [`Mtu::MIN`].
    pub fn new(bytes: u16) -> Result<Self, BadMtu> {
        (bytes >= Self::MIN).then_some(Self(bytes)).ok_or(BadMtu)
    }

    /// In bytes.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl FromStr for Mtu {
    type Err = BadMtu;

    fn from_str(text: &str) -> Result<Self, BadMtu> {
        text.parse().map_err(|_| BadMtu).and_then(Self::new)
    }
}

impl fmt::Display for Mtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_range_are_mtus() {
        for bytes in [68, 1500, u16::MAX] {
            assert_eq!(bytes.to_string().parse(), Mtu::new(bytes));
            assert_eq!(Mtu::new(bytes).unwrap().get(), bytes);
        }
    }

    #[test]
    fn all_else_is_refused() {
        for text in ["", "0", "67", "65536", "-1", "1500 ", "jumbo"] {
            assert_eq!(text.parse::<Mtu>(), Err(BadMtu), "{text:?}");
        }
    }
}
