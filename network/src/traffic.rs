//! Which packets a rule is about, but for where they come from: a protocol and
//! its ports, or its types.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Packets of one kind. Written `all`, `tcp`, `tcp:443`, `udp:6000-6100`,
/// `icmp`, `icmp:8`, `icmp:3/4` (type and code), or a protocol's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Traffic {
    /// Every packet.
    All,
    /// TCP to these ports.
    Tcp(Ports),
    /// UDP to these ports.
    Udp(Ports),
    /// ICMP: all of it, or of a type, or of a type and a code.
    Icmp(Option<(u8, Option<u8>)>),
    /// Another protocol, by its number at IANA.
    Other(u8),
}

/// Ports from one to another, both among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    first: u16,
    last: u16,
}

/// Not a kind of packets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a kind of packets: all, tcp, tcp:443, tcp:8000-8999, udp:53, icmp, icmp:8, \
     icmp:3/4, or the number of a protocol"
)]
pub struct BadTraffic(String);

/// The number of ICMP at IANA.
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

impl Ports {
    /// Every port.
    pub const ALL: Self = Self {
        first: 0,
        last: u16::MAX,
    };

    /// From the first to the last; `None` if there are none.
    pub fn new(range: RangeInclusive<u16>) -> Option<Self> {
        let (first, last) = range.into_inner();
        (first <= last).then_some(Self { first, last })
    }

    /// The first and the last.
    pub fn bounds(self) -> (u16, u16) {
        (self.first, self.last)
    }

    /// Whether `port` is one of them.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl Traffic {
    fn parse(text: &str) -> Option<Self> {
        let (protocol, rest) = match text.split_once(':') {
            Some((protocol, rest)) => (protocol, Some(rest)),
            None => (text, None),
        };
        match (protocol, rest) {
            ("all", None) => Some(Self::All),
            ("tcp", rest) => ports(rest).map(Self::Tcp),
            ("udp", rest) => ports(rest).map(Self::Udp),
            ("icmp", None) => Some(Self::Icmp(None)),
            ("icmp", Some(rest)) => {
                let (kind, code) = match rest.split_once('/') {
                    Some((kind, code)) => (kind, Some(number(code)?)),
                    None => (rest, None),
                };
                Some(Self::Icmp(Some((number(kind)?, code))))
            }
            (protocol, None) => Some(match number(protocol)? {
                ICMP => Self::Icmp(None),
                TCP => Self::Tcp(Ports::ALL),
                UDP => Self::Udp(Ports::ALL),
                other => Self::Other(other),
            }),
            _ => None,
        }
    }
}

fn ports(text: Option<&str>) -> Option<Ports> {
    let Some(text) = text else {
        return Some(Ports::ALL);
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Ports::new(number(first)?..=number(last)?)
}

/// Digits only: no sign, no space.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

impl FromStr for Traffic {
    type Err = BadTraffic;

    fn from_str(text: &str) -> Result<Self, BadTraffic> {
        let bad = || BadTraffic(text.chars().take(40).collect());
        Self::parse(text).ok_or_else(bad)
    }
}

impl TryFrom<String> for Traffic {
    type Error = BadTraffic;

    fn try_from(text: String) -> Result<Self, BadTraffic> {
        text.parse()
    }
}

impl From<Traffic> for String {
    fn from(traffic: Traffic) -> Self {
        traffic.to_string()
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Tcp(ports) => write!(f, "tcp{ports}"),
            Self::Udp(ports) => write!(f, "udp{ports}"),
            Self::Icmp(None) => f.write_str("icmp"),
            Self::Icmp(Some((kind, None))) => write!(f, "icmp:{kind}"),
            Self::Icmp(Some((kind, Some(code)))) => write!(f, "icmp:{kind}/{code}"),
            Self::Other(protocol) => write!(f, "{protocol}"),
        }
    }
}

impl fmt::Display for Ports {
    /// With a colon before, since all ports are nothing at all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (0, u16::MAX) => Ok(()),
            (first, last) if first == last => write!(f, ":{first}"),
            (first, last) => write!(f, ":{first}-{last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ports() -> impl Strategy<Value = Ports> {
        (any::<u16>(), any::<u16>()).prop_map(|(a, b)| Ports::new(a.min(b)..=a.max(b)).unwrap())
    }

    pub(crate) fn traffic() -> impl Strategy<Value = Traffic> {
        let other = any::<u8>().prop_filter("have names", |n| ![ICMP, TCP, UDP].contains(n));
        prop_oneof![
            Just(Traffic::All),
            ports().prop_map(Traffic::Tcp),
            ports().prop_map(Traffic::Udp),
            any::<Option<(u8, Option<u8>)>>().prop_map(Traffic::Icmp),
            other.prop_map(Traffic::Other),
        ]
    }

    proptest! {
        #[test]
        fn traffic_is_read_as_it_is_written(traffic in traffic()) {
            prop_assert_eq!(traffic.to_string().parse(), Ok(traffic));
        }

        #[test]
        fn no_text_is_too_much(text in ".{0,80}") {
            let _ = text.parse::<Traffic>();
        }
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let wrong = [
            "",
            "tcp:",
            "tcp:x",
            "tcp:2-1",
            "tcp:65536",
            "tcp:+1",
            "udp:1-",
            "icmp:256",
            "icmp:1/",
            "256",
            "-1",
            "sctp",
            "all:1",
            "47:1",
            "tcp:1:2",
        ];
        for text in wrong {
            let error = text.parse::<Traffic>().unwrap_err().to_string();
            assert!(error.contains("tcp:8000-8999"), "{text}: {error}");
        }
    }

    #[test]
    fn protocols_with_names_may_be_given_by_number() {
        for (number, name) in [("1", "icmp"), ("6", "tcp"), ("17", "udp")] {
            assert_eq!(number.parse::<Traffic>(), name.parse());
        }
    }
}
