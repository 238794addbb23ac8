//! What volumes and snapshots are called by machines: `vol-` or `snap-` and 17
//! hexadecimal digits, as on EC2.

use std::fmt;
use std::io;
use std::str::FromStr;

use rustix::rand::{GetRandomFlags, getrandom};

const DIGITS: usize = 17;

/// Not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is '{prefix}' and 17 hexadecimal digits in lower case")]
pub struct BadId {
    prefix: &'static str,
}

/// 68 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Number(u128);

impl Number {
    fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        // Sixteen bytes come whole (getrandom(2)).
        getrandom(&mut bytes, GetRandomFlags::empty())?;
        Ok(Self(u128::from_le_bytes(bytes) >> (128 - 4 * DIGITS)))
    }

    fn parse(text: &str, prefix: &'static str) -> Result<Self, BadId> {
        let digits = text.strip_prefix(prefix).filter(|digits| {
            let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            digits.len() == DIGITS && digits.bytes().all(hexadecimal)
        });
        let number = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
        number.map(Self).ok_or(BadId { prefix })
    }
}

macro_rules! id {
    ($(#[$docs:meta])* $name:ident, $prefix:literal) => {
        $(#[$docs])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Number);

        impl $name {
            /// One that nothing else has.
            ///
            /// # Errors
            /// The kernel has no random numbers.
            pub fn random() -> io::Result<Self> {
                Number::random().map(Self)
            }

            /// As files keep it.
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.0.to_le_bytes()
            }

            /// What [`to_bytes`](Self::to_bytes) gave; `None` if it did not.
            pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
                let number = u128::from_le_bytes(bytes);
                (number >> (4 * DIGITS) == 0).then_some(Self(Number(number)))
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                Number::parse(text, $prefix).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:017x}"), self.0.0)
            }
        }
    };
}

id!(
    /// A volume's id.
    VolumeId,
    "vol-"
);

id!(
    /// A snapshot's id.
    SnapshotId,
    "snap-"
);

impl VolumeId {
    /// The id as a disk's serial number: without the dash, as in EC2's NVMe
    /// disks, since virtio has 20 bytes for it (virtio 1.3 §5.2.6).
    pub fn serial(self) -> String {
        format!("vol{:017x}", self.0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = VolumeId::random().unwrap();
        assert_eq!(id.to_string().len(), 21);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(VolumeId::from_bytes(id.to_bytes()), Some(id));
        assert_ne!(VolumeId::random().unwrap(), id);
    }

    #[test]
    fn a_serial_number_fits_into_virtio() {
        let id: VolumeId = "vol-00000000000000abc".parse().unwrap();
        assert_eq!(id.serial(), "vol00000000000000abc");
        assert_eq!(id.serial().len(), 20);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "vol-",
            "vol-0000000000000000",
            "vol-000000000000000000",
            "vol-0000000000000000G",
            "vol-0000000000000000A",
            "vol-+000000000000000a",
            "snap-00000000000000abc",
        ] {
            assert!(text.parse::<VolumeId>().is_err(), "{text}");
        }
        assert_eq!(VolumeId::from_bytes([0xff; 16]), None);
    }
}
