//! A bridge as a file has it. What is read is not trusted: it becomes a
//! [`Bridge`] that could have been made, or is refused with the reason.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::port::Port;
use super::uplink::Uplink;
use super::{Bridge, MOST_PORTS, check_mtu};
use crate::id::{Id, OfBridge, OfPort};
use crate::refused::Refused;

/// What a file says of a bridge.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    id: Id<OfBridge>,
    mtu: u16,
    uplink: Option<Uplink>,
    ports: BTreeMap<Id<OfPort>, Port>,
}

/// Why what a file says is no bridge.
#[derive(Debug, thiserror::Error)]
pub enum BadBridge {
    /// It could not have been made.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A port is not what its place says, or has what another has.
    #[error("port {0} has a MAC address or an id that it cannot have")]
    Port(Id<OfPort>),
}

impl TryFrom<Saved> for Bridge {
    type Error = BadBridge;

    fn try_from(saved: Saved) -> Result<Self, BadBridge> {
        let Saved {
            id,
            mtu,
            uplink,
            ports,
        } = saved;
        check_mtu(mtu)?;
        uplink.iter().try_for_each(Uplink::check)?;
        if ports.len() > MOST_PORTS {
            return Err(Refused::TooManyPorts.into());
        }
        let (mut macs, mut taps) = (BTreeSet::new(), BTreeSet::new());
        for (id, port) in &ports {
            let own = macs.insert(port.mac) && taps.insert(port.tap());
            if port.id != *id || !own {
                return Err(BadBridge::Port(*id));
            }
        }
        Ok(Self {
            id,
            mtu,
            uplink,
            ports,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::bridge::Bridge;
    use crate::bridge::port::PortWish;
    use crate::bridge::uplink::Uplink;

    fn bridge() -> Bridge {
        let remote = "192.0.2.2".parse().unwrap();
        let uplink = Uplink::vxlan(7, "192.0.2.1".parse().unwrap(), [remote], None);
        let mut bridge = Bridge::new(uplink.ok(), None).unwrap();
        bridge.add_port(PortWish::default()).unwrap();
        bridge
    }

    #[test]
    fn a_bridge_is_read_as_it_was_written() {
        let bridge = bridge();
        let saved = serde_json::to_value(&bridge).unwrap();
        assert_eq!(serde_json::from_value::<Bridge>(saved).unwrap(), bridge);
    }

    #[test]
    fn what_a_bridge_cannot_be_is_refused() {
        let saved = serde_json::to_value(bridge()).unwrap();
        let id = saved["ports"].as_object().unwrap().keys().next().cloned();
        let port = format!("/ports/{}", id.unwrap());
        let cases = [
            ("/mtu".into(), json!(100), "from 1280"),
            (
                "/id".into(),
                json!("vpc-00000000000000000"),
                "an id is 'br-'",
            ),
            ("/uplink/vxlan/vni".into(), json!(0), "from 1 to"),
            (
                "/uplink/vxlan/local".into(),
                json!("224.0.0.1"),
                "an end of",
            ),
            (
                "/uplink".into(),
                json!({"interface": "../x"}),
                "the name of",
            ),
            (
                format!("{port}/id"),
                json!("eni-00000000000000000"),
                "an id",
            ),
            (
                format!("{port}/mac"),
                json!("01:00:00:00:00:00"),
                "MAC address",
            ),
            (format!("{port}/private_vlan"), json!("a/b"), "a name has"),
        ];
        for (place, value, part) in cases {
            let mut saved = saved.clone();
            *saved.pointer_mut(&place).expect(&place) = value;
            let error = refusal(saved);
            assert!(error.contains(part), "{place}: {error}");
        }
    }

    #[test]
    fn two_ports_with_the_same_are_refused() {
        let mut saved = serde_json::to_value(bridge()).unwrap();
        let port = saved["ports"].as_object().unwrap().values().next().cloned();
        let mut other = port.unwrap();
        other["id"] = json!("eni-0123456789abcdef0");
        saved["ports"]["eni-0123456789abcdef0"] = other;
        assert!(refusal(saved).contains("that it cannot have"));
    }

    fn refusal(saved: Value) -> String {
        let refused = serde_json::from_value::<Bridge>(saved).unwrap_err();
        refused.to_string()
    }
}
