//! Which nftables rules a network's packets meet: the whole of it as a value,
//! made from the network's state by [`Ruleset::of`], and the transaction that
//! takes the kernel from one to another.
//!
//! ```text
//! a guest's packet    prerouting      guard      sender's MAC and address are its port's
//!                                     tables     marked with its subnet's route table
//!                     forward         outbound   a tracked flow, or a rule of a group
//!                                                of the sender
//!                                     inbound    the same of the receiver
//! for the network     input           services   what the network itself answers
//! ARP                 arp input       guard      sender's MAC and address are its port's
//! ```
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
mod json;
mod rules;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use serde_json::Value;

use rules::Rules;

pub use bridge::UPLINK;
pub use change::{replacement, transaction};

/// What the tables of a network are called, in its own network namespace.
pub const TABLE: &str = "plinth";

/// All tables of a network.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub struct Ruleset {
    tables: BTreeMap<Family, Table>,
}

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Family {
    Arp,
    Bridge,
    Inet,
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
    name: &'static str,
    /// Chains of a hook are asked in order.
    priority: i32,
    /// What becomes of packets about which no rule decides.
    policy: &'static str,
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
        }
    }
}

#[cfg(test)]
mod tests;
