//! Whom a port of a bridge may talk to (private VLANs, RFC 5517).
//!
//! The uplink is promiscuous. What is behind it does not know of whom a frame came,
//! so that a port is kept from others of its own bridge, and not from those of
//! another host's. Nor is it kept from what a router on a promiscuous port sends on
//! for others: that is for the router to refuse.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{BadName, Name};

const PROMISCUOUS: &str = "promiscuous";
const ISOLATED: &str = "isolated";

/// The part of a private VLAN that a port is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PrivateVlan {
    /// It talks to all ports: a router's, and every port's of a bridge where nobody
    /// is kept from anybody.
    #[default]
    Promiscuous,
    /// It talks to promiscuous ports only.
    Isolated,
    /// It talks to those of its community as well.
    Community(Name),
}

impl PrivateVlan {
    /// Whether a port of this kind sends frames to one of that.
    pub fn reaches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Promiscuous, _) | (_, Self::Promiscuous) => true,
            (Self::Community(own), Self::Community(other)) => own == other,
            _ => false,
        }
    }

    /// Whether such a port is an ordinary host's, unless somebody says otherwise.
    pub fn is_guarded(&self) -> bool {
        *self != Self::Promiscuous
    }
}

impl FromStr for PrivateVlan {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        match text {
            PROMISCUOUS => Ok(Self::Promiscuous),
            ISOLATED => Ok(Self::Isolated),
            community => community.parse().map(Self::Community),
        }
    }
}

impl TryFrom<String> for PrivateVlan {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<PrivateVlan> for String {
    fn from(part: PrivateVlan) -> Self {
        part.to_string()
    }
}

impl fmt::Display for PrivateVlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Promiscuous => f.write_str(PROMISCUOUS),
            Self::Isolated => f.write_str(ISOLATED),
            Self::Community(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_as_it_is_written() {
        for text in ["promiscuous", "isolated", "red"] {
            assert_eq!(text.parse::<PrivateVlan>().unwrap().to_string(), text);
        }
        "a/b".parse::<PrivateVlan>().unwrap_err();
    }

    /// RFC 5517 §2.1.
    #[test]
    fn only_who_may_talks() {
        let reaches = |from: &str, to: &str| {
            let part = |text: &str| text.parse::<PrivateVlan>().unwrap();
            part(from).reaches(&part(to))
        };
        for other in ["promiscuous", "isolated", "red"] {
            assert!(reaches("promiscuous", other) && reaches(other, "promiscuous"));
        }
        assert!(reaches("red", "red"));
        for (from, to) in [
            ("isolated", "isolated"),
            ("isolated", "red"),
            ("red", "blue"),
        ] {
            assert!(!reaches(from, to) && !reaches(to, from), "{from} {to}");
        }
    }
}
