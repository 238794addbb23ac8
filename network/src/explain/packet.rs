//! Packets that are asked about.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::traffic::{ICMP, TCP, Traffic, UDP};

/// A packet, the first of its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Who sends it.
    pub from: Ipv4Addr,
    /// Whom it is for.
    pub to: Ipv4Addr,
    /// What it is.
    pub kind: PacketKind,
}

/// What a packet is. Written `tcp:443` or just `443`, `udp:53`, `icmp` (an echo
/// request), `icmp:3/4`, or the number of another protocol after `protocol:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// TCP to this port.
    Tcp(u16),
    /// UDP to this port.
    Udp(u16),
    /// ICMP of this type and code.
    Icmp(u8, u8),
    /// Another protocol.
    Other(u8),
}

/// Not a kind of packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a packet: 443, tcp:443, udp:53, icmp, icmp:3/4 or protocol:47")]
pub struct BadPacketKind(String);

impl PacketKind {
    /// Whether `traffic` is about it.
    pub(super) fn is(self, traffic: Traffic) -> bool {
        match (traffic, self) {
            (Traffic::All, _) => true,
            (Traffic::Tcp(ports), Self::Tcp(port)) | (Traffic::Udp(ports), Self::Udp(port)) => {
                ports.contains(port)
            }
            (Traffic::Icmp(None), Self::Icmp(..)) => true,
            (Traffic::Icmp(Some((kind, code))), Self::Icmp(own_kind, own_code)) => {
                kind == own_kind && code.is_none_or(|code| code == own_code)
            }
            (Traffic::Other(protocol), Self::Other(own)) => protocol == own,
            _ => false,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (protocol, rest) = text.split_once(':').unwrap_or(match text {
            "icmp" => ("icmp", "8/0"),
            port => ("tcp", port),
        });
        let digits = rest
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'/');
        let number = rest.parse().ok().filter(|_| digits);
        match protocol {
            "tcp" => number.map(Self::Tcp),
            "udp" => number.map(Self::Udp),
            "icmp" => {
                let (kind, code) = rest.split_once('/').unwrap_or((rest, "0"));
                let kind = kind.parse().ok().filter(|_| digits)?;
                Some(Self::Icmp(kind, code.parse().ok()?))
            }
            "protocol" => {
                let number = u8::try_from(number?).ok()?;
                (![ICMP, TCP, UDP].contains(&number)).then_some(Self::Other(number))
            }
            _ => None,
        }
    }
}

impl FromStr for PacketKind {
    type Err = BadPacketKind;

    fn from_str(text: &str) -> Result<Self, BadPacketKind> {
        let bad = || BadPacketKind(text.chars().take(40).collect());
        Self::parse(text).ok_or_else(bad)
    }
}

impl fmt::Display for PacketKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(f, "tcp:{port}"),
            Self::Udp(port) => write!(f, "udp:{port}"),
            Self::Icmp(kind, code) => write!(f, "icmp:{kind}/{code}"),
            Self::Other(protocol) => write!(f, "protocol:{protocol}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_read_as_it_is_written() {
        for text in ["tcp:443", "udp:0", "icmp:3/4", "protocol:47"] {
            assert_eq!(text.parse::<PacketKind>().unwrap().to_string(), text);
        }
        assert_eq!("443".parse(), Ok(PacketKind::Tcp(443)));
        assert_eq!("icmp".parse(), Ok(PacketKind::Icmp(8, 0)));
        for bad in [
            "",
            "x",
            "tcp:",
            "tcp:+1",
            "65536",
            "icmp:8/",
            "protocol:6",
            "protocol:300",
        ] {
            assert!(bad.parse::<PacketKind>().is_err(), "{bad}");
        }
    }
}
