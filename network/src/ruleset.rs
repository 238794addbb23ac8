//! Which nftables rules a network's packets meet: the whole of it as a value,
//! made from the network's state by [`Ruleset::of`], and the transaction that
//! takes the kernel from one to another.
//!
//! ```text
//! a guest's packet    prerouting      guard      sender's MAC and address are its port's
//!                                     tables     marked with its subnet's route table
//!                     forward         outbound-  the network ACL of the sender's subnet,
//!                                     border     if the packet leaves that
//!                                     inbound-   the same of a NAT gateway's: what comes
//!                                     gateway    into that by way of it,
//!                                     outbound-  and what leaves it
//!                                     gateway
//!                                     inbound-   the same of the receiver's, if it comes
//!                                     border     from elsewhere
//!                                     outbound   a tracked flow, or a rule of a group
//!                                                of the sender
//!                                     inbound    the same of the receiver
//! for the network     input           services   what the network itself answers
//! ARP                 arp input       guard      sender's MAC and address are its port's
//! ```
//!
//! Where there is an [uplink](crate::uplink), `gateway` adds what becomes of packets
//! there; where there are peerings, `peering` does; and `host` says what the host has for them in its own namespace.
//!
//! Chains and sets are named by what they are for, and each is a function of a
//! part of the state: a change is a transaction that replaces the chains that
//! differ and adds and removes the elements that do. It also takes away the
//! *seal* of the state that it starts from, so that a kernel in any other state
//! refuses it as a whole. The packets of a tracked
//! flow meet no rule of a group, however many there are; those of a new one meet
//! the rules of its ports' groups, found by maps and not by searching.

mod bridge;
mod change;
mod compile;
mod gateway;
mod guard;
mod host;
mod json;
mod network_acl;
mod peering;
mod rules;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use serde_json::{Value, json};

use rules::Rules;

pub use bridge::UPLINK;
pub use change::{replacement, transaction};

/// What the tables of a network are called, in its own network namespace.
pub const TABLE: &str = "plinth";

/// The tables of a network in one namespace.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Ruleset {
    /// What they are called.
    name: String,
    /// One that is empty is not to be there.
    tables: BTreeMap<Family, Table>,
}

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Family {
    Arp,
    Bridge,
    Inet,
    Ip,
}

/// Sets and chains, by name.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
struct Table {
    sets: BTreeMap<String, Set>,
    chains: BTreeMap<String, Chain>,
}

/// A set, or a map from keys to verdicts or marks.
#[derive(Clone, Debug, PartialEq)]
struct Set {
    /// The types of a key's parts.
    key: &'static [&'static str],
    /// The type of the values, if it is a map.
    value: Option<&'static str>,
    /// As nftables has them, by a text that orders them.
    elements: BTreeMap<String, Value>,
}

/// Rules, one after the other.
#[derive(Clone, Debug, PartialEq, Hash)]
struct Chain {
    /// Where the kernel comes in; elsewhere others jump to it.
    hook: Option<Hook>,
    rules: Rules,
}

/// Where in a packet's way a chain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Hook {
    /// `filter`, or `nat`, which sees the first packet of a flow only.
    kind: &'static str,
    name: &'static str,
    /// Chains of a hook are asked in order.
    priority: i32,
    /// What becomes of packets about which no rule decides.
    policy: &'static str,
}

/// The seal: a set with one element, a digest of all the rest.
const SEAL: &str = "seal";

impl Ruleset {
    /// `tables`, the last of them sealed.
    fn sealed<const N: usize>(name: String, tables: [(Family, Table); N]) -> Self {
        let tables = tables.into();
        let mut ruleset = Self { name, tables };
        let mut digest = crc32fast::Hasher::new();
        ruleset.hash(&mut digest);
        let mut seal = Set::of(&["mark"]);
        seal.insert(&[json!(digest.finalize())], None);
        let last = ruleset.tables.values_mut().next_back();
        if let Some(table) = last.filter(|table| !table.is_empty()) {
            table.sets.insert(SEAL.into(), seal);
        }
        ruleset
    }

    /// What its tables are called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether none of its tables is to be there.
    pub fn is_empty(&self) -> bool {
        self.tables.values().all(Table::is_empty)
    }
}

impl Table {
    fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.chains.is_empty()
    }
}

impl Hash for Set {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.key, self.value).hash(state);
        for element in self.elements.values() {
            element.to_string().hash(state);
        }
    }
}

impl Family {
    fn name(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Bridge => "bridge",
            Self::Inet => "inet",
            Self::Ip => "ip",
        }
    }
}

#[cfg(test)]
mod tests;
