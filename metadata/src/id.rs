//! What instances and interfaces are called: `i-` or `eni-` and 17 hexadecimal
//! digits, as on EC2.

use std::fmt;
use std::str::FromStr;

const DIGITS: usize = 17;

/// Not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is '{prefix}' and 17 hexadecimal digits in lower case")]
pub struct BadId {
    prefix: &'static str,
}

fn parse(text: &str, prefix: &'static str) -> Result<u128, BadId> {
    let digits = text.strip_prefix(prefix).filter(|digits| {
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        digits.len() == DIGITS && digits.bytes().all(hexadecimal)
    });
    let number = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
    number.ok_or(BadId { prefix })
}

macro_rules! id {
    ($(#[$docs:meta])* $name:ident, $prefix:literal) => {
        $(#[$docs])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// The id whose digits are the first 68 bits of `bytes`, which are
            /// random, or a hash.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bytes) >> (128 - 4 * DIGITS))
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                parse(text, $prefix).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:017x}"), self.0)
            }
        }
    };
}

id! {
    /// An instance. To cloud-init another id is another machine, on which all
    /// that is done once is done again.
    InstanceId, "i-"
}

id! {
    /// A network interface.
    InterfaceId, "eni-"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_what_it_is_written_as() {
        let id: InstanceId = "i-0123456789abcdef0".parse().unwrap();
        assert_eq!(id.to_string(), "i-0123456789abcdef0");
        let id = InterfaceId::from_bytes([0xAB; 16]);
        assert_eq!(id.to_string(), "eni-ababababababababa");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn everything_else_is_none() {
        for text in [
            "",
            "i-",
            "i-0123456789abcdef",
            "i-0123456789ABCDEF0",
            "eni-0123456789abcdef0",
        ] {
            let error = text.parse::<InstanceId>().unwrap_err().to_string();
            assert!(error.contains("'i-' and 17"), "{error}");
        }
    }
}
