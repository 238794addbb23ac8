//! What networks and their parts are called by machines: a prefix and 17
//! hexadecimal digits, as on EC2.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::marker::PhantomData;
use std::str::FromStr;

use rustix::io::retry_on_intr;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};

const DIGITS: usize = 17;

/// A kind of thing that has ids.
pub trait Kind {
    /// What its ids begin with.
    const PREFIX: &'static str;
}

macro_rules! kind {
    ($($(#[$docs:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$docs])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {}

        impl Kind for $name {
            const PREFIX: &'static str = $prefix;
        }
    )*};
}

kind! {
    /// A network.
    OfVpc = "vpc-";
    /// A bridge.
    OfBridge = "br-";
    /// A part of a network's addresses.
    OfSubnet = "subnet-";
    /// A set of rules for ports.
    OfGroup = "sg-";
    /// A list of rules for the borders of subnets.
    OfNetworkAcl = "acl-";
    /// A cable from one network to another.
    OfPeering = "pcx-";
    /// A port, "elastic network interface" on EC2.
    OfPort = "eni-";
    /// A set of routes for subnets.
    OfRouteTable = "rtb-";
    /// A network's way out, which translates one address to one.
    OfInternetGateway = "igw-";
    /// A way out that translates many addresses to one.
    OfNatGateway = "nat-";
    /// An address that is known outside, "Elastic IP address" on EC2.
    OfPublicAddress = "eipalloc-";
}

/// The id of something of kind `K`.
#[derive(Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id<K: Kind> {
    number: u128,
    kind: PhantomData<K>,
}

/// Not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is '{prefix}' and 17 hexadecimal digits in lower case")]
pub struct BadId {
    prefix: &'static str,
}

impl<K: Kind> Id<K> {
    /// One that nothing else has: 68 random bits.
    ///
    /// # Errors
    /// The kernel has no random numbers.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        // Sixteen bytes come whole (getrandom(2)).
        retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty()))?;
        Ok(Self::numbered(
            u128::from_le_bytes(bytes) >> (128 - 4 * DIGITS),
        ))
    }

    fn numbered(number: u128) -> Self {
        Self {
            number,
            kind: PhantomData,
        }
    }

    /// The one of another kind that has the same digits.
    pub(crate) fn like<L: Kind>(other: Id<L>) -> Self {
        Self::numbered(other.number)
    }

    /// The digits alone.
    pub fn digits(self) -> String {
        format!("{:017x}", self.number)
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let prefix = K::PREFIX;
        let digits = text.strip_prefix(prefix).filter(|digits| {
            let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            digits.len() == DIGITS && digits.bytes().all(hexadecimal)
        });
        let number = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
        number.map(Self::numbered).ok_or(BadId { prefix })
    }
}

impl<K: Kind> TryFrom<String> for Id<K> {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl<K: Kind> From<Id<K>> for String {
    fn from(id: Id<K>) -> Self {
        id.to_string()
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:017x}", K::PREFIX, self.number)
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// Derived, these would ask the same of `K`.
impl<K: Kind> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Kind> Copy for Id<K> {}

impl<K: Kind> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<K: Kind> Eq for Id<K> {}

impl<K: Kind> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl<K: Kind> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Kind> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.number.cmp(&other.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = Id::<OfVpc>::random().unwrap();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string(), format!("vpc-{}", id.digits()));
        assert_ne!(Id::random().unwrap(), id);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<Id<OfVpc>>(&json).unwrap(), id);
    }

    #[test]
    fn an_id_of_another_kind_is_none() {
        let subnet = Id::<OfSubnet>::random().unwrap().to_string();
        let error = subnet.parse::<Id<OfVpc>>().unwrap_err().to_string();
        assert_eq!(
            error,
            "an id is 'vpc-' and 17 hexadecimal digits in lower case"
        );
        for bad in [
            "vpc-",
            "vpc-0",
            "vpc-0000000000000000G",
            "vpc-+000000000000000a",
        ] {
            assert!(bad.parse::<Id<OfVpc>>().is_err());
        }
    }
}
