//! The network ACLs of a network, and which of its subnets have which.

use std::collections::BTreeMap;

use super::{Vpc, known, permanent, untaken, unused};
use crate::id::Id;
use crate::name::Name;
use crate::network_acl::{self, AclRule, MOST_RULES, NetworkAcl, Number};
use crate::refused::Refused;
use crate::security_group::Direction;

const WHAT: &str = "network ACL";

impl Vpc {
    /// All network ACLs, by name.
    pub fn network_acls(&self) -> &BTreeMap<Name, NetworkAcl> {
        &self.network_acls
    }

    /// The network ACL of a subnet, and its name.
    ///
    /// # Panics
    /// The network has no such subnet.
    pub fn network_acl_of(&self, subnet: &Name) -> (&Name, &NetworkAcl) {
        let name = &self.subnets[subnet].network_acl;
        (name, &self.network_acls[name])
    }

    /// A new network ACL, which lets nothing pass.
    ///
    /// # Errors
    /// The name is taken.
    pub fn add_network_acl(&mut self, name: Name) -> Result<&NetworkAcl, Refused> {
        untaken(WHAT, &self.network_acls, &name)?;
        let acl = NetworkAcl::new(Id::random()?);
        Ok(self.network_acls.entry(name).or_insert(acl))
    }

    /// Takes a network ACL away.
    ///
    /// # Errors
    /// There is none, a subnet has it, or it is the default one.
    pub fn remove_network_acl(&mut self, name: &Name) -> Result<(), Refused> {
        known(WHAT, &self.network_acls, name)?;
        permanent(WHAT, name, network_acl::DEFAULT)?;
        let mut subnets = self.subnets.iter();
        let user = subnets.find(|(_, subnet)| subnet.network_acl == *name);
        unused(WHAT, name, user.map(|(name, _)| format!("subnet '{name}'")))?;
        self.network_acls.remove(name);
        Ok(())
    }

    /// A rule more of the network ACL `name`.
    ///
    /// # Errors
    /// There is no such network ACL, it has a rule of that number, or as many as it
    /// can.
    pub fn add_acl_rule(
        &mut self,
        name: &Name,
        direction: Direction,
        number: Number,
        rule: AclRule,
    ) -> Result<(), Refused> {
        known(WHAT, &self.network_acls, name)?;
        let Some(acl) = self.network_acls.get_mut(name) else {
            return Ok(());
        };
        let (rules, acl) = (acl.rules_mut(direction), name.clone());
        if rules.contains_key(&number) {
            return Err(Refused::AclRuleExists {
                acl,
                direction,
                number,
            });
        }
        if rules.len() >= MOST_RULES {
            return Err(Refused::TooManyAclRules { acl, direction });
        }
        rules.insert(number, rule);
        Ok(())
    }

    /// Takes a rule of the network ACL `name` away.
    ///
    /// # Errors
    /// There is no such network ACL, or rule.
    pub fn remove_acl_rule(
        &mut self,
        name: &Name,
        direction: Direction,
        number: Number,
    ) -> Result<(), Refused> {
        known(WHAT, &self.network_acls, name)?;
        let acl = self.network_acls.get_mut(name);
        let removed = acl.and_then(|acl| acl.rules_mut(direction).remove(&number));
        let acl = name.clone();
        let gone = Refused::NoSuchAclRule {
            acl,
            direction,
            number,
        };
        removed.map(|_| ()).ok_or(gone)
    }

    /// Has the border of a subnet be that of the network ACL `acl`.
    ///
    /// # Errors
    /// There is no such network ACL, or subnet.
    pub fn associate_network_acl(&mut self, subnet: &Name, acl: &Name) -> Result<(), Refused> {
        known(WHAT, &self.network_acls, acl)?;
        known("subnet", &self.subnets, subnet)?;
        if let Some(subnet) = self.subnets.get_mut(subnet) {
            subnet.network_acl = acl.clone();
        }
        Ok(())
    }
}
