//! The route tables of a network, and which of its subnets have which.

use std::collections::{BTreeMap, BTreeSet};

use super::{FIRST_TABLE, Vpc, known, permanent, untaken, unused};
use crate::cidr::Cidr;
use crate::id::Id;
use crate::name::Name;
use crate::refused::Refused;
use crate::route_table::{MAIN, RouteTable, Target};

impl Vpc {
    /// A new route table, which leads nowhere but to the network itself.
    ///
    /// # Errors
    /// The name is taken.
    pub fn add_route_table(&mut self, name: Name) -> Result<&RouteTable, Refused> {
        untaken("route table", &self.route_tables, &name)?;
        let taken: BTreeSet<u32> = self.route_tables.values().map(|one| one.number).collect();
        let number = (FIRST_TABLE..).find(|number| !taken.contains(number));
        let table = RouteTable {
            id: Id::random()?,
            number: number.expect("there are fewer tables than numbers"),
            routes: BTreeMap::new(),
        };
        Ok(self.route_tables.entry(name).or_insert(table))
    }

    /// Takes a route table away.
    ///
    /// # Errors
    /// There is none, a subnet has it, or it is the main one.
    pub fn remove_route_table(&mut self, name: &Name) -> Result<(), Refused> {
        let what = "route table";
        known(what, &self.route_tables, name)?;
        permanent(what, name, MAIN)?;
        let mut subnets = self.subnets.iter();
        let user = subnets.find(|(_, subnet)| subnet.route_table == *name);
        unused(what, name, user.map(|(name, _)| format!("subnet '{name}'")))?;
        self.route_tables.remove(name);
        Ok(())
    }

    /// Has the packets of a subnet's ports go by `table`.
    ///
    /// # Errors
    /// There is no such table, or subnet.
    pub fn associate(&mut self, subnet: &Name, table: &Name) -> Result<(), Refused> {
        known("route table", &self.route_tables, table)?;
        known("subnet", &self.subnets, subnet)?;
        if let Some(subnet) = self.subnets.get_mut(subnet) {
            subnet.route_table = table.clone();
        }
        Ok(())
    }

    /// A new route.
    ///
    /// # Errors
    /// There is no such table or target, the table leads there already, or the
    /// network's own addresses are meant.
    pub fn add_route(
        &mut self,
        table: &Name,
        destination: Cidr,
        target: Target,
    ) -> Result<(), Refused> {
        known("route table", &self.route_tables, table)?;
        if self.cidr.covers(destination) {
            return Err(Refused::Local(destination));
        }
        match target {
            Target::Port(port) => drop(self.port(port)?),
            Target::InternetGateway(_) => drop(self.internet_gateway()?),
            Target::NatGateway(id) if self.nat_gateway(id).is_none() => {
                return Err(Refused::UnknownNatGateway(id));
            }
            Target::Peering(id) if self.peering(id).is_none() => {
                return Err(Refused::UnknownPeering(id));
            }
            Target::NatGateway(_) | Target::Peering(_) | Target::Blackhole => {}
        }
        let name = table;
        let Some(table) = self.route_tables.get_mut(name) else {
            return Ok(());
        };
        if table.routes.contains_key(&destination) {
            let table = name.clone();
            return Err(Refused::RouteExists { table, destination });
        }
        table.routes.insert(destination, target);
        Ok(())
    }

    /// Takes a route away.
    ///
    /// # Errors
    /// There is no such table, or route.
    pub fn remove_route(&mut self, table: &Name, destination: Cidr) -> Result<(), Refused> {
        known("route table", &self.route_tables, table)?;
        let routes = self.route_tables.get_mut(table);
        let removed = routes.and_then(|table| table.routes.remove(&destination));
        let table = table.clone();
        let gone = Refused::NoSuchRoute { table, destination };
        removed.map(|_| ()).ok_or(gone)
    }
}
