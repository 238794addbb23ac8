//! What connects a bridge with the world.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::link_name::LinkName;
use crate::refused::Refused;

/// The UDP port of VXLAN (RFC 7348 §5).
pub const VXLAN_PORT: u16 = 4789;

/// The numbers of tunnels have 24 bits (RFC 7348 §5).
const LAST_VNI: u32 = (1 << 24) - 1;

/// A frame for everybody is sent to each other end: more is for a control plane.
pub const MOST_REMOTES: usize = 64;

/// An uplink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Uplink {
    /// An interface of the host. A bridge of the host gets a port for it; of any
    /// other it is the only user.
    Interface(LinkName),
    /// A tunnel to other hosts.
    Vxlan(Vxlan),
    /// A bridge of Open vSwitch, which gets a port for it.
    OpenVswitch(LinkName),
}

/// A tunnel for frames in UDP (VXLAN, RFC 7348).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vxlan {
    /// Its number, the same at all ends.
    pub vni: u32,
    /// The host's address that it sends from.
    pub local: IpAddr,
    /// The other ends.
    pub remotes: BTreeSet<IpAddr>,
    /// The UDP port of all ends.
    pub port: u16,
}

impl Uplink {
    /// A tunnel; without `port`, at the registered one.
    ///
    /// # Errors
    /// A number or an address will not do.
    pub fn vxlan(
        vni: u32,
        local: IpAddr,
        remotes: impl IntoIterator<Item = IpAddr>,
        port: Option<u16>,
    ) -> Result<Self, Refused> {
        let tunnel = Vxlan {
            vni,
            local,
            remotes: remotes.into_iter().collect(),
            port: port.unwrap_or(VXLAN_PORT),
        };
        let uplink = Self::Vxlan(tunnel);
        uplink.check()?;
        Ok(uplink)
    }

    /// What it takes of the packets that carry frames, in bytes: the headers of
    /// Ethernet, VXLAN, UDP and IP.
    pub fn overhead(&self) -> u16 {
        match self {
            Self::Vxlan(tunnel) if tunnel.local.is_ipv4() => 14 + 8 + 8 + 20,
            Self::Vxlan(_) => 14 + 8 + 8 + 40,
            Self::Interface(_) | Self::OpenVswitch(_) => 0,
        }
    }

    /// Whether both cannot be.
    pub fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Interface(own), Self::Interface(other)) => own == other,
            (Self::Vxlan(own), Self::Vxlan(other)) => {
                (own.vni, own.port) == (other.vni, other.port)
            }
            _ => false,
        }
    }

    pub(super) fn check(&self) -> Result<(), Refused> {
        let Self::Vxlan(tunnel) = self else {
            return Ok(());
        };
        if !(1..=LAST_VNI).contains(&tunnel.vni) || tunnel.port == 0 {
            return Err(Refused::Tunnel { last: LAST_VNI });
        }
        if tunnel.remotes.len() > MOST_REMOTES {
            return Err(Refused::TooManyRemotes(tunnel.remotes.len()));
        }
        let host = |address: &IpAddr| !address.is_multicast() && !address.is_unspecified();
        if !host(&tunnel.local) {
            return Err(Refused::End(tunnel.local));
        }
        let local = tunnel.local;
        let fits = |remote: &IpAddr| {
            host(remote) && *remote != local && remote.is_ipv4() == local.is_ipv4()
        };
        match tunnel.remotes.iter().find(|remote| !fits(remote)) {
            Some(remote) => Err(Refused::End(*remote)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Uplink {
    /// As it is asked for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => write!(f, "interface={name}"),
            Self::OpenVswitch(name) => write!(f, "open-vswitch={name}"),
            Self::Vxlan(tunnel) => {
                write!(f, "vxlan={},local={}", tunnel.vni, tunnel.local)?;
                let remotes: Vec<String> = tunnel.remotes.iter().map(IpAddr::to_string).collect();
                if !remotes.is_empty() {
                    write!(f, ",remote={}", remotes.join("+"))?;
                }
                match tunnel.port {
                    VXLAN_PORT => Ok(()),
                    other => write!(f, ",port={other}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vxlan(vni: u32, local: &str, remotes: &[&str], port: u16) -> Result<Uplink, Refused> {
        let remotes = remotes.iter().map(|remote| remote.parse().unwrap());
        Uplink::vxlan(vni, local.parse().unwrap(), remotes, Some(port))
    }

    #[test]
    fn a_tunnel_has_two_ends_of_one_kind() {
        let (here, there) = ("192.0.2.1", "192.0.2.2");
        let tunnel = vxlan(7, here, &["192.0.2.3", there], 4789).unwrap();
        assert_eq!(
            tunnel.to_string(),
            "vxlan=7,local=192.0.2.1,remote=192.0.2.2+192.0.2.3"
        );
        assert_eq!(
            vxlan(7, "2001:db8::1", &[], 8472).unwrap().to_string(),
            "vxlan=7,local=2001:db8::1,port=8472"
        );
        for (vni, port) in [(0, 4789), (1 << 24, 4789), (7, 0)] {
            let refused = vxlan(vni, here, &[there], port).unwrap_err();
            assert!(refused.to_string().contains("from 1 to 16777215"));
        }
        for (local, remote) in [
            (here, here),
            (here, "239.1.1.1"),
            (here, "2001:db8::1"),
            (here, "0.0.0.0"),
            ("0.0.0.0", there),
            ("224.0.0.1", there),
        ] {
            let refused = vxlan(7, local, &[remote], 4789).unwrap_err().to_string();
            assert!(refused.contains("an end of a tunnel"), "{refused}");
        }
        let many = (0..).map(|number: u8| [10, 0, 0, number].into());
        let many = many.take(MOST_REMOTES + 1);
        Uplink::vxlan(7, here.parse().unwrap(), many, None).unwrap_err();
    }

    #[test]
    fn two_switches_cannot_have_the_same() {
        let interface = |name: &str| Uplink::Interface(name.parse().unwrap());
        assert!(interface("eth1").excludes(&interface("eth1")));
        assert!(!interface("eth1").excludes(&interface("eth2")));
        let open = Uplink::OpenVswitch("eth1".parse().unwrap());
        assert!(!open.excludes(&open) && !open.excludes(&interface("eth1")));
        let tunnel = |vni, port| vxlan(vni, "192.0.2.1", &[], port).unwrap();
        assert!(tunnel(7, 1).excludes(&tunnel(7, 1)));
        assert!(!tunnel(7, 1).excludes(&tunnel(7, 2)) && !tunnel(7, 1).excludes(&tunnel(8, 1)));
    }
}
