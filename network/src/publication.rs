//! A port of the host that leads to one of a guest.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::traffic::{TCP, UDP};

/// A port of the host, and where it leads. Written `8080:80`, `53:53/udp`, or with
/// the one address of the host that is meant, `127.0.0.1:8080:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Publication {
    /// Of which protocol.
    pub protocol: Protocol,
    /// At which of the host's addresses; all if not given.
    pub host_address: Option<Ipv4Addr>,
    /// Its number there.
    pub host_port: u16,
    /// Its number in the guest.
    pub guest_port: u16,
}

/// A protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A publication that a guest's port has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Published {
    /// What is published.
    pub publication: Publication,
    /// The port under which it comes over the [uplink](crate::uplink), where the
    /// host's addresses are no longer told apart: no other of the network has it.
    pub relay: u16,
}

/// Not a publication.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' does not say which port is published: HOSTPORT:GUESTPORT, 8080:80, 53:53/udp, or \
     127.0.0.1:8080:80; ports are from 1 to 65535"
)]
pub struct BadPublication(String);

impl Protocol {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// Its number at IANA.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
        }
    }
}

impl Publication {
    /// Whether a packet could be for both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let same_address = match (self.host_address, other.host_address) {
            (Some(own), Some(others)) => own == others,
            _ => true,
        };
        same_address && (self.protocol, self.host_port) == (other.protocol, other.host_port)
    }

    /// Whether it is about what comes to `address` of the host.
    pub fn is_at(&self, address: Ipv4Addr) -> bool {
        self.host_address.is_none_or(|own| own == address)
    }

    fn parse(text: &str) -> Option<Self> {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return None,
        };
        let (rest, guest_port) = ports.rsplit_once(':')?;
        let (host_address, host_port) = match rest.split_once(':') {
            Some((address, port)) => (Some(address.parse().ok()?), port),
            None => (None, rest),
        };
        Some(Self {
            protocol,
            host_address,
            host_port: port(host_port)?,
            guest_port: port(guest_port)?,
        })
    }
}

/// Digits only: no sign, no space.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

impl FromStr for Publication {
    type Err = BadPublication;

    fn from_str(text: &str) -> Result<Self, BadPublication> {
        let bad = || BadPublication(text.chars().take(40).collect());
        Self::parse(text).ok_or_else(bad)
    }
}

impl TryFrom<String> for Publication {
    type Error = BadPublication;

    fn try_from(text: String) -> Result<Self, BadPublication> {
        text.parse()
    }
}

impl From<Publication> for String {
    fn from(publication: Publication) -> Self {
        publication.to_string()
    }
}

impl fmt::Display for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.host_address {
            write!(f, "{address}:")?;
        }
        write!(f, "{}:{}", self.host_port, self.guest_port)?;
        match self.protocol {
            Protocol::Tcp => Ok(()),
            Protocol::Udp => f.write_str("/udp"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_is_too_much(text in "[0-9.:/a-z]{0,40}|.{0,40}") {
            if let Ok(read) = text.parse::<Publication>() {
                prop_assert_eq!(read.to_string().parse(), Ok(read));
            }
        }
    }

    #[test]
    fn a_publication_is_read_as_it_is_written() {
        for text in [
            "8080:80",
            "53:5353/udp",
            "127.0.0.1:1:65535",
            "192.0.2.1:53:53/udp",
        ] {
            assert_eq!(text.parse::<Publication>().unwrap().to_string(), text);
        }
        let read = "80:8080/tcp".parse::<Publication>().unwrap();
        assert_eq!((read.host_port, read.guest_port), (80, 8080));
        for bad in [
            "",
            "80",
            ":80",
            "80:",
            "0:80",
            "80:0",
            "65536:1",
            "80:+1",
            "80:80/sctp",
            "80:80/",
            "x:80:80",
            "1.2.3:80:80",
            "[::1]:80:80",
            "80:80/udp/udp",
            "1.2.3.4:5:6:7",
        ] {
            let error = bad.parse::<Publication>().unwrap_err().to_string();
            assert!(error.contains("HOSTPORT:GUESTPORT"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_port_of_the_host_leads_to_one_guest() {
        let overlap = |one: &str, other: &str| {
            let (one, other): (Publication, Publication) =
                (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(one.overlaps(&other), other.overlaps(&one));
            one.overlaps(&other)
        };
        assert!(overlap("8080:80", "8080:81"));
        assert!(overlap("8080:80", "127.0.0.1:8080:80"));
        assert!(!overlap("8080:80", "8081:80"));
        assert!(!overlap("8080:80", "8080:80/udp"));
        assert!(!overlap("127.0.0.1:8080:80", "192.0.2.1:8080:80"));
    }
}
