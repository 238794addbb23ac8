//! A set of rules for ports: which packets may pass. Rules only allow; what none
//! allows is dropped. A port with several groups has the rules of all. Answers to
//! what was allowed pass, whatever the rules (EC2, "Security groups").

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::id::{Id, OfGroup};
use crate::name::Name;
use crate::traffic::Traffic;

/// Rules of a group in each direction, as on EC2 unless raised.
pub const MOST_RULES: usize = 60;

/// The group that every network has, and ports that are given no other.
pub const DEFAULT: &str = "default";

/// A security group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// What machines call it.
    pub id: Id<OfGroup>,
    /// What it is for.
    pub description: String,
    /// What may come to its ports.
    pub inbound: BTreeSet<Rule>,
    /// What they may send.
    pub outbound: BTreeSet<Rule>,
}

/// Packets that may pass.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rule {
    /// What they are.
    pub traffic: Traffic,
    /// Where they come from, or go to.
    pub peer: Peer,
}

/// The other end of a port's traffic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    /// Addresses.
    Cidr(Cidr),
    /// Whichever addresses the ports of a group have at the time.
    Group(Name),
}

/// Which way packets go, as a port sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the port.
    Inbound,
    /// From it.
    Outbound,
}

impl SecurityGroup {
    /// A group that lets out everything and nothing in, as a new one on EC2.
    pub(crate) fn new(id: Id<OfGroup>, description: String) -> Self {
        let everything = Rule {
            traffic: Traffic::All,
            peer: Peer::Cidr(Cidr::ALL),
        };
        Self {
            id,
            description,
            inbound: BTreeSet::new(),
            outbound: BTreeSet::from([everything]),
        }
    }

    /// The rules in one direction.
    pub fn rules(&self, direction: Direction) -> &BTreeSet<Rule> {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }

    pub(crate) fn rules_mut(&mut self, direction: Direction) -> &mut BTreeSet<Rule> {
        match direction {
            Direction::Inbound => &mut self.inbound,
            Direction::Outbound => &mut self.outbound,
        }
    }

    /// Whether a rule is about the group `name`.
    pub(crate) fn refers_to(&self, name: &Name) -> bool {
        let mut rules = self.inbound.iter().chain(&self.outbound);
        rules.any(|rule| matches!(&rule.peer, Peer::Group(group) if group == name))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.traffic, self.peer)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cidr(cidr) => cidr.fmt(f),
            Self::Group(name) => write!(f, "group {name}"),
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        })
    }
}
