//! Where a guest is plugged in: an address that only it may use, and the security
//! groups that say who it may talk to.

use std::io;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::id::{Id, OfPort};
use crate::mac::Mac;
use crate::name::Name;
use crate::publication::Published;

/// What the names of taps begin with, and of no other interface of a network.
pub const TAP_PREFIX: &str = "p";

/// The longest name of an interface (IFNAMSIZ less its end).
const LONGEST_NAME: usize = 15;

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// What machines call it.
    pub id: Id<OfPort>,
    /// Which subnet it is in.
    pub subnet: Name,
    /// The only one that it may send from, and that packets come to.
    pub mac: Mac,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its security groups, at least one.
    pub groups: Vec<Name>,
    /// Whether it may send only from `address`, and is sent only what is for it.
    /// A guest that routes does without.
    pub source_check: bool,
    /// The machine that is plugged in, as its user calls it.
    pub owner: String,
    /// Ports of the host that lead to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<Published>,
}

/// What a port is to be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortWish {
    /// Its address; the first that is free if not given.
    pub address: Option<Ipv4Addr>,
    /// Its MAC address; one of its own if not given.
    pub mac: Option<Mac>,
    /// Its security groups; the default group if there are none.
    pub groups: Vec<Name>,
    /// Its machine.
    pub owner: String,
}

impl Port {
    /// What its tap is called.
    pub fn tap(&self) -> String {
        tap_of(self.id)
    }
}

/// What the tap of the port `id` is called.
pub(crate) fn tap_of(id: Id<OfPort>) -> String {
    let digits = id.digits();
    format!("{TAP_PREFIX}{}", &digits[..LONGEST_NAME - TAP_PREFIX.len()])
}

/// An id whose tap has a name that none of `others` has: it is shorter.
pub(crate) fn free_id<'a>(
    others: impl Iterator<Item = &'a Id<OfPort>> + Clone,
) -> io::Result<Id<OfPort>> {
    loop {
        let id = Id::random()?;
        let tap = tap_of(id);
        if !others.clone().any(|other| tap_of(*other) == tap) {
            return Ok(id);
        }
    }
}

/// The MAC address of the port `id` if it is given no other.
pub(crate) fn own_mac(id: Id<OfPort>) -> Mac {
    let digits = u64::from_str_radix(&id.digits()[..10], 16);
    Mac::local(digits.expect("an id has hexadecimal digits"))
}
