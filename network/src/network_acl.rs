//! A numbered list of rules for a subnet's border: which packets may cross it. The
//! first rule that is about a packet decides, and what none is about is dropped.
//! Nothing is remembered: answers need rules of their own. Packets that stay in the
//! subnet do not meet it (EC2, "Network ACLs").

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::id::{Id, OfNetworkAcl};
use crate::name::Name;
use crate::security_group::Direction;
use crate::traffic::Traffic;

/// Rules of a network ACL in each direction: EC2's highest quota.
pub const MOST_RULES: usize = 40;

/// The network ACL that every network has, and subnets that are given no other.
pub const DEFAULT: &str = "default";

/// The last number of a rule (EC2, "Network ACL rules").
const LAST: u16 = 32766;

/// A network ACL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAcl {
    /// What machines call it.
    pub id: Id<OfNetworkAcl>,
    /// About what comes into its subnets.
    pub inbound: BTreeMap<Number, AclRule>,
    /// About what leaves them.
    pub outbound: BTreeMap<Number, AclRule>,
}

/// What is done with some packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AclRule {
    /// What is done.
    pub action: Action,
    /// What they are.
    pub traffic: Traffic,
    /// Where they come from, or go to.
    pub cidr: Cidr,
}

/// Whether packets cross the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// They do.
    Allow,
    /// They are dropped.
    Deny,
}

/// The place of a rule: those with lower numbers come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Number(NonZeroU16);

/// Not the number of a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the number of a rule, which is from 1 to {LAST}")]
pub struct BadNumber(String);

/// Neither of the two.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is neither allow nor deny")]
pub struct BadAction(String);

impl NetworkAcl {
    /// One that drops everything, as a new one on EC2.
    pub(crate) fn new(id: Id<OfNetworkAcl>) -> Self {
        Self {
            id,
            inbound: BTreeMap::new(),
            outbound: BTreeMap::new(),
        }
    }

    /// One that lets everything pass, by the number that EC2 gives that.
    pub(crate) fn open(id: Id<OfNetworkAcl>) -> Self {
        let everything = AclRule {
            action: Action::Allow,
            traffic: Traffic::All,
            cidr: Cidr::ALL,
        };
        let first = NonZeroU16::MIN.saturating_add(99);
        let rules = BTreeMap::from([(Number(first), everything)]);
        Self {
            id,
            inbound: rules.clone(),
            outbound: rules,
        }
    }

    /// The rules in one direction, as the subnet sees it.
    pub fn rules(&self, direction: Direction) -> &BTreeMap<Number, AclRule> {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }

    pub(crate) fn rules_mut(&mut self, direction: Direction) -> &mut BTreeMap<Number, AclRule> {
        match direction {
            Direction::Inbound => &mut self.inbound,
            Direction::Outbound => &mut self.outbound,
        }
    }
}

/// The name of [`DEFAULT`], for records from before there were others.
pub(crate) fn default_name() -> Name {
    Name::own(DEFAULT)
}

impl TryFrom<u16> for Number {
    type Error = BadNumber;

    fn try_from(number: u16) -> Result<Self, BadNumber> {
        let valid = NonZeroU16::new(number).filter(|number| number.get() <= LAST);
        valid.map(Self).ok_or_else(|| BadNumber(number.to_string()))
    }
}

impl From<Number> for u16 {
    fn from(number: Number) -> Self {
        number.0.get()
    }
}

impl FromStr for Number {
    type Err = BadNumber;

    fn from_str(text: &str) -> Result<Self, BadNumber> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number: Option<u16> = text.parse().ok().filter(|_| digits);
        let valid = number.and_then(|number| Self::try_from(number).ok());
        valid.ok_or_else(|| BadNumber(text.chars().take(40).collect()))
    }
}

impl FromStr for Action {
    type Err = BadAction;

    fn from_str(text: &str) -> Result<Self, BadAction> {
        match text {
            "allow" => Ok(Self::Allow),
            "deny" => Ok(Self::Deny),
            other => Err(BadAction(other.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_numbers_from_1_to_32766() {
        for good in ["1", "100", "32766"] {
            assert_eq!(good.parse::<Number>().unwrap().to_string(), good);
        }
        for bad in ["0", "32767", "65536", "-1", "+1", "", "*"] {
            let error = bad.parse::<Number>().unwrap_err().to_string();
            assert!(error.ends_with("from 1 to 32766"), "{error}");
        }
        for bad in ["0", "32767"] {
            assert!(serde_json::from_str::<Number>(bad).is_err());
        }
    }

    #[test]
    fn an_action_is_read_as_it_is_written() {
        for action in [Action::Allow, Action::Deny] {
            assert_eq!(action.to_string().parse(), Ok(action));
        }
        assert!("drop".parse::<Action>().is_err());
    }

    #[test]
    fn the_open_one_allows_all_by_number_100() {
        let acl = NetworkAcl::open(Id::random().unwrap());
        let rules = serde_json::to_value(acl.rules(Direction::Inbound)).unwrap();
        let all = serde_json::json!({"action": "allow", "traffic": "all", "cidr": "0.0.0.0/0"});
        assert_eq!(rules, serde_json::json!({"100": all}));
    }
}
