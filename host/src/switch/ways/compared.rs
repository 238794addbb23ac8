//! Where the kernel differs from what a network's ways should be.

use std::collections::BTreeSet;

use super::super::kernel::{Address, Family, KernelError, Neighbour, Rule};
use super::link_local::addresses6;
use super::{PRIORITY, Ways, addresses_of};

impl Ways<'_> {
    /// What is not so, a line each.
    pub(in super::super) fn compare(&self) -> Result<Vec<String>, KernelError> {
        let mut found = Vec::new();
        let ports = self.vpc.ports().values();
        let gone = ports.filter(|port| !self.links.contains_key(&port.tap()));
        found.extend(gone.map(|port| {
            let (owner, address) = (&port.owner, port.address);
            format!("machine '{owner}' at {address} is not plugged in")
        }));
        let (there, wanted, none) = (self.routes_there()?, self.routes(), BTreeSet::new());
        for table in self.tables() {
            let there = there.get(&table).unwrap_or(&none);
            let wanted = wanted.get(&table).unwrap_or(&none);
            let lacking = wanted.difference(there);
            found.extend(lacking.map(|route| format!("{route} is missing")));
            let extra = there.difference(wanted);
            found.extend(extra.map(|route| format!("{route} is not plinth's")));
        }
        let known: BTreeSet<Neighbour> = self.net.all_neighbours()?.into_iter().collect();
        let lacking = self.neighbours().filter(|one| !known.contains(one));
        found.extend(lacking.map(|one| format!("{one} is missing")));
        let there: BTreeSet<Rule> = self.net.rules(Family::V4)?.into_iter().collect();
        let wanted = self.rules();
        let lacking = wanted.difference(&there);
        found.extend(lacking.map(|rule| format!("{rule} is missing")));
        let ours = there.iter().filter(|rule| rule.priority == PRIORITY);
        let extra = ours.filter(|rule| !wanted.contains(rule));
        found.extend(extra.map(|rule| format!("{rule} is not plinth's")));
        found.extend(self.compare_addresses()?);
        Ok(found)
    }

    fn compare_addresses(&self) -> Result<Vec<String>, KernelError> {
        let all: BTreeSet<Address> = self.net.addresses()?.into_iter().collect();
        let mut found = Vec::new();
        match self.links.get("lo").filter(|own| own.up) {
            None => found.push("its loopback interface is down".into()),
            Some(own) => {
                let (there, wanted) = (addresses_of(own, &all), self.addresses());
                let lacking = wanted.difference(&there);
                found.extend(lacking.map(|address| format!("address {address} is missing")));
                let extra = there.difference(&wanted);
                found.extend(extra.map(|address| format!("address {address} is not plinth's")));
            }
        }
        for (_, link) in self.taps() {
            let lacking = addresses6(link).filter(|address| !all.contains(address));
            found.extend(lacking.map(|address| {
                let (prefix, tap) = (address.prefix, &link.name);
                format!("address {prefix} of {tap} is missing")
            }));
        }
        Ok(found)
    }
}
