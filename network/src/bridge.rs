//! A bridge: one segment of Ethernet, whose ports send each other frames as they
//! are, whatever is in them. Addresses, routers and name servers are the guests'
//! own business. It may have an uplink, behind which it goes on.
//!
//! As with a [`Vpc`](crate::vpc::Vpc), a change that is refused leaves everything
//! as it was, and which rules frames meet is a function of the state
//! ([`ruleset`](crate::ruleset)).

pub mod link_name;
pub mod port;
pub mod private_vlan;
mod saved;
pub mod uplink;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{Id, OfBridge, OfPort};
use crate::port::{free_id, own_mac};
use crate::refused::Refused;

use port::{Port, PortWish};
use uplink::Uplink;

pub use saved::BadBridge;

/// The least that every link of IPv6 carries, in bytes (RFC 8200 §5).
pub const SMALLEST_MTU: u16 = 1280;
/// The most that a tap carries.
pub const LARGEST_MTU: u16 = 65_521;

/// Without an uplink that carries less: Ethernet's own.
const ETHERNET_MTU: u16 = 1500;

/// The ports of a bridge in Linux (`BR_MAX_PORTS`), but for the uplink.
pub const MOST_PORTS: usize = 1023;

/// A bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "saved::Saved")]
pub struct Bridge {
    /// What machines call it.
    pub id: Id<OfBridge>,
    /// The length of the longest packet, in bytes, without the header of Ethernet.
    pub mtu: u16,
    /// What connects it with the world.
    pub uplink: Option<Uplink>,
    ports: BTreeMap<Id<OfPort>, Port>,
}

impl Bridge {
    /// A bridge without ports. Without `mtu` it has Ethernet's, or what a tunnel
    /// leaves of that.
    ///
    /// # Errors
    /// The MTU will not do.
    pub fn new(uplink: Option<Uplink>, mtu: Option<u16>) -> Result<Self, Refused> {
        let overhead = uplink.as_ref().map_or(0, Uplink::overhead);
        let mtu = mtu.unwrap_or(ETHERNET_MTU - overhead);
        check_mtu(mtu)?;
        Ok(Self {
            id: Id::random()?,
            mtu,
            uplink,
            ports: BTreeMap::new(),
        })
    }

    /// All ports, by id.
    pub fn ports(&self) -> &BTreeMap<Id<OfPort>, Port> {
        &self.ports
    }

    /// A new port.
    ///
    /// # Errors
    /// The MAC address is taken, or the bridge is full.
    pub fn add_port(&mut self, wish: PortWish) -> Result<&Port, Refused> {
        if self.ports.len() >= MOST_PORTS {
            return Err(Refused::TooManyPorts);
        }
        let id = free_id(self.ports.keys())?;
        let mac = wish.mac.unwrap_or_else(|| own_mac(id));
        if let Some(port) = self.ports.values().find(|port| port.mac == mac) {
            let by = format!("{} of '{}'", port.id, port.owner);
            return Err(Refused::MacTaken { mac, by });
        }
        let port = Port {
            id,
            mac,
            guard: wish.guard.unwrap_or(wish.private_vlan.is_guarded()),
            private_vlan: wish.private_vlan,
            owner: wish.owner,
        };
        Ok(self.ports.entry(id).or_insert(port))
    }

    /// Takes a port away.
    ///
    /// # Errors
    /// There is none.
    pub fn remove_port(&mut self, id: Id<OfPort>) -> Result<Port, Refused> {
        self.ports.remove(&id).ok_or(Refused::UnknownPort(id))
    }
}

fn check_mtu(mtu: u16) -> Result<(), Refused> {
    match (SMALLEST_MTU..=LARGEST_MTU).contains(&mtu) {
        true => Ok(()),
        false => Err(Refused::Mtu(mtu)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(private_vlan: &str, mac: Option<&str>) -> PortWish {
        PortWish {
            mac: mac.map(|mac| mac.parse().unwrap()),
            private_vlan: private_vlan.parse().unwrap(),
            guard: None,
            owner: "web".into(),
        }
    }

    #[test]
    fn a_bridge_is_as_wide_as_its_uplink_lets_it() {
        let mtu = |uplink: Option<&str>, mtu| {
            let uplink = uplink.map(|local| {
                let remotes = [];
                Uplink::vxlan(42, local.parse().unwrap(), remotes, None).unwrap()
            });
            Bridge::new(uplink, mtu).map(|bridge| bridge.mtu)
        };
        assert_eq!(mtu(None, None).unwrap(), 1500);
        assert_eq!(mtu(Some("192.0.2.1"), None).unwrap(), 1450);
        assert_eq!(mtu(Some("2001:db8::1"), None).unwrap(), 1430);
        assert_eq!(mtu(Some("192.0.2.1"), Some(8950)).unwrap(), 8950);
        for bad in [0, 1279, 65_522] {
            let refused = mtu(None, Some(bad)).unwrap_err().to_string();
            assert!(refused.contains("from 1280 to 65521"), "{refused}");
        }
    }

    #[test]
    fn each_port_has_a_mac_address_of_its_own() {
        let mut bridge = Bridge::new(None, None).unwrap();
        let mac = "02:00:00:00:00:07";
        let first = bridge.add_port(wish("isolated", Some(mac))).unwrap().id;
        bridge.add_port(wish("isolated", None)).unwrap();
        let before = bridge.clone();
        let refused = bridge.add_port(wish("isolated", Some(mac))).unwrap_err();
        assert!(refused.to_string().contains(&format!("taken by {first}")));
        assert_eq!(bridge, before);
        bridge.remove_port(first).unwrap();
        bridge.remove_port(first).unwrap_err();
        bridge.add_port(wish("isolated", Some(mac))).unwrap();
    }

    #[test]
    fn who_is_not_trusted_is_guarded_unless_asked_otherwise() {
        let mut bridge = Bridge::new(None, None).unwrap();
        for (role, guard, guarded) in [
            ("promiscuous", None, false),
            ("isolated", None, true),
            ("red", None, true),
            ("promiscuous", Some(true), true),
            ("red", Some(false), false),
        ] {
            let wish = PortWish {
                guard,
                ..wish(role, None)
            };
            assert_eq!(bridge.add_port(wish).unwrap().guard, guarded, "{role}");
        }
    }

    #[test]
    fn a_bridge_has_as_many_ports_as_linux_lets_it() {
        let mut bridge = Bridge::new(None, None).unwrap();
        for _ in 0..MOST_PORTS {
            bridge.add_port(wish("isolated", None)).unwrap();
        }
        bridge.add_port(wish("isolated", None)).unwrap_err();
        assert_eq!(bridge.ports().len(), MOST_PORTS);
    }
}
