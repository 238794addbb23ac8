//! The security groups of a network, and their rules.

use super::{Vpc, by, known, permanent, untaken, unused};
use crate::id::Id;
use crate::name::Name;
use crate::refused::Refused;
use crate::security_group::{self, Direction, MOST_RULES, Peer, Rule, SecurityGroup};

impl Vpc {
    /// A new group, which lets out everything and nothing in.
    ///
    /// # Errors
    /// The name is taken.
    pub fn add_group(
        &mut self,
        name: Name,
        description: String,
    ) -> Result<&SecurityGroup, Refused> {
        untaken("security group", &self.groups, &name)?;
        let group = SecurityGroup::new(Id::random()?, description);
        Ok(self.groups.entry(name).or_insert(group))
    }

    /// Takes a group away.
    ///
    /// # Errors
    /// There is none, it is the default one, or a port has it, or another
    /// group's rule is about it.
    pub fn remove_group(&mut self, name: &Name) -> Result<(), Refused> {
        let what = "security group";
        known(what, &self.groups, name)?;
        permanent(what, name, security_group::DEFAULT)?;
        unused(what, name, self.members(name).next().map(by))?;
        let mut others = self.groups.iter().filter(|(other, _)| *other != name);
        let user = others.find(|(_, group)| group.refers_to(name));
        unused(
            what,
            name,
            user.map(|(other, _)| format!("a rule of '{other}'")),
        )?;
        self.groups.remove(name);
        Ok(())
    }

    /// Lets through what `rule` allows.
    ///
    /// # Errors
    /// There is no such group, it has the rule, or as many as it can.
    pub fn authorize(
        &mut self,
        name: &Name,
        direction: Direction,
        rule: Rule,
    ) -> Result<(), Refused> {
        if let Peer::Group(other) = &rule.peer {
            known("security group", &self.groups, other)?;
        }
        known("security group", &self.groups, name)?;
        let Some(group) = self.groups.get_mut(name) else {
            return Ok(());
        };
        let rules = group.rules_mut(direction);
        if rules.contains(&rule) {
            return Err(Refused::RuleExists(name.clone()));
        }
        if rules.len() >= MOST_RULES {
            let group = name.clone();
            return Err(Refused::TooManyRules { group, direction });
        }
        rules.insert(rule);
        Ok(())
    }

    /// No longer lets through what only `rule` allows. What is tracked already
    /// goes on.
    ///
    /// # Errors
    /// There is no such group, or rule.
    pub fn revoke(
        &mut self,
        name: &Name,
        direction: Direction,
        rule: &Rule,
    ) -> Result<(), Refused> {
        known("security group", &self.groups, name)?;
        let group = self.groups.get_mut(name);
        let removed = group.is_some_and(|group| group.rules_mut(direction).remove(rule));
        if removed {
            return Ok(());
        }
        Err(Refused::NoSuchRule(name.clone()))
    }
}
