//! Where a guest is plugged into a bridge.

use serde::{Deserialize, Serialize};

use super::private_vlan::PrivateVlan;
use crate::id::{Id, OfPort};
use crate::mac::Mac;
use crate::port::tap_of;

/// A port of a bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// What machines call it.
    pub id: Id<OfPort>,
    /// The only one that it may send from.
    pub mac: Mac,
    /// Whom it may talk to.
    pub private_vlan: PrivateVlan,
    /// Whether it is an ordinary host's: what only a router or a DHCP server says
    /// does not come from it.
    pub guard: bool,
    /// The machine that is plugged in, as its user calls it.
    pub owner: String,
}

/// What a port is to be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortWish {
    /// Its MAC address; one of its own if not given.
    pub mac: Option<Mac>,
    /// Whom it may talk to.
    pub private_vlan: PrivateVlan,
    /// Whether it is guarded; if not given, its private VLAN decides.
    pub guard: Option<bool>,
    /// Its machine.
    pub owner: String,
}

impl Port {
    /// What its tap is called.
    pub fn tap(&self) -> String {
        tap_of(self.id)
    }
}
