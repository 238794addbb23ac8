//! Policy rules: which table of routes packets are looked up in that come in by a
//! link, or have a mark (ip-rule(8)).

use std::fmt;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use super::error::KernelError;
use super::link::vet_name;
use super::netlink::Netlink;

/// A protocol that packets are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Packets are looked up in a table; if that has no route for them, by the next
/// rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// Which packets.
    pub family: Family,
    /// Those that come in by the link of this name, now or whenever there is
    /// one; `lo` for those that the namespace's own sockets send. All, if there
    /// is no name, as in the kernel's own rules.
    pub input: Option<String>,
    /// Those that are marked so. All, if there is none.
    pub mark: Option<u32>,
    /// Where they are looked up.
    pub table: u32,
    /// The lower, the earlier. The kernel's own rules have 0, 32766 and 32767.
    pub priority: u32,
}

impl Netlink {
    /// The rules that name a table, by priority.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn rules(&self, family: Family) -> Result<Vec<Rule>, KernelError> {
        let mut message = RuleMessage::default();
        message.header.family = family.into();
        match self.list(&RouteNetlinkMessage::GetRule(message)) {
            Ok(answers) => {
                let rules = answers.into_iter().filter_map(|answer| match answer {
                    RouteNetlinkMessage::NewRule(message) => rule(family, message),
                    _ => None,
                });
                Ok(rules.collect())
            }
            Err(refusal) => Err(refusal.at(self.task("policy rules cannot be listed"))),
        }
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// [`KernelError::Taken`]: there is one of this priority for this link that
    /// names another table. The kernel refuses.
    pub fn add_rule(&self, wanted: &Rule) -> Result<(), KernelError> {
        wanted.input.as_deref().map_or(Ok(()), vet_name)?;
        let task = || self.task(format_args!("{wanted} cannot be added"));
        let is_at_its_place = |there: &Rule| {
            Rule {
                table: wanted.table,
                ..there.clone()
            } == *wanted
        };
        match self.rules(wanted.family)?.into_iter().find(is_at_its_place) {
            Some(there) if there == *wanted => return Ok(()),
            Some(there) => {
                let there = there.to_string();
                let task = task();
                return Err(KernelError::Taken { task, there });
            }
            None => {}
        }
        self.change(
            RouteNetlinkMessage::NewRule(message(wanted)),
            NLM_F_CREATE | NLM_F_EXCL,
        )
        .map_err(|refusal| refusal.at(task()))
    }

    /// Removes a rule, if there is one like that.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn remove_rule(&self, rule: &Rule) -> Result<(), KernelError> {
        rule.input.as_deref().map_or(Ok(()), vet_name)?;
        match self.change(RouteNetlinkMessage::DelRule(message(rule)), 0) {
            Err(refusal) if refusal.errno != Errno::NOENT => {
                Err(refusal.at(self.task(format_args!("{rule} cannot be removed"))))
            }
            _ => Ok(()),
        }
    }
}

fn message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = rule.family.into();
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Table(rule.table),
        RuleAttribute::Priority(rule.priority),
    ];
    let input = rule.input.clone().map(RuleAttribute::Iifname);
    message.attributes.extend(input);
    let mark = rule.mark.map(RuleAttribute::FwMark);
    message.attributes.extend(mark);
    message
}

/// The rule in a message; none if it looks at more than link and mark, or does
/// something else.
fn rule(family: Family, message: RuleMessage) -> Option<Rule> {
    let mut rule = Rule {
        family,
        input: None,
        mark: None,
        table: message.header.table.into(),
        // The kernel leaves a zero out.
        priority: 0,
    };
    let (from, to) = (message.header.src_len, message.header.dst_len);
    if message.header.action != RuleAction::ToTable || (from, to) != (0, 0) {
        return None;
    }
    for attribute in message.attributes {
        match attribute {
            RuleAttribute::Iifname(name) => rule.input = Some(name),
            RuleAttribute::Table(table) => rule.table = table,
            RuleAttribute::Priority(priority) => rule.priority = priority,
            RuleAttribute::FwMark(mark) => rule.mark = Some(mark),
            RuleAttribute::FwMask(u32::MAX) => {}
            RuleAttribute::Oifname(_) | RuleAttribute::FwMask(_) => return None,
            _ => {}
        }
    }
    Some(rule)
}

impl From<Family> for AddressFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => Self::Inet,
            Family::V6 => Self::Inet6,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, priority) = (self.table, self.priority);
        let family = match self.family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        let input = self.input.as_deref().unwrap_or("any link");
        write!(
            f,
            "the {family} rule {priority} that looks packets from {input} "
        )?;
        if let Some(mark) = self.mark {
            write!(f, "with mark {mark} ")?;
        }
        write!(f, "up in table {table}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Scratch;
    use super::*;

    #[test]
    fn rules_come_and_go_with_or_without_their_link() {
        let scratch = Scratch::new();
        let net = scratch.net();
        for family in [Family::V4, Family::V6] {
            let before = net.rules(family).unwrap();
            assert!(before.iter().any(|rule| rule.table == 254), "{before:?}");
            let rule = |input: &str, table| Rule {
                family,
                input: Some(input.into()),
                mark: None,
                table,
                priority: 1000,
            };
            let marked = Rule {
                input: None,
                mark: Some(100_001),
                ..rule("", 100_001)
            };
            let rules = [rule("tap0", 100_000), rule("tap1", 7), marked];
            for rule in &rules {
                net.add_rule(rule).unwrap();
                net.add_rule(rule).unwrap();
            }
            let listed = net.rules(family).unwrap();
            assert_eq!(listed.len(), before.len() + rules.len(), "{listed:?}");
            assert!(rules.iter().all(|rule| listed.contains(rule)));
            let taken = net.add_rule(&rule("tap0", 7)).unwrap_err();
            assert!(matches!(taken, KernelError::Taken { .. }), "{taken:?}");
            assert!(taken.to_string().contains("table 100000"), "{taken}");
            for rule in rules.iter().chain(&rules) {
                net.remove_rule(rule).unwrap();
            }
            assert_eq!(net.rules(family).unwrap(), before);
        }
        let nameless = Rule {
            family: Family::V4,
            input: Some(String::new()),
            mark: None,
            table: 7,
            priority: 1,
        };
        net.add_rule(&nameless).unwrap_err();
    }
}
