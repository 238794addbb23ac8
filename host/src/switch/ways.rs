//! Where packets of a network go in its namespace, as its [`Plan`] says: its own
//! addresses, the rules that lead to tables of routes, the routes, and who is at
//! which tap.
//!
//! What is there is asked for once of each kind, however many ports there are, and
//! only what differs is told.

mod compared;
mod link_local;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use network::plan::{Hop, MAIN_TABLE, Plan, Route as Planned};
use network::port::Port;
use network::vpc::Vpc;
use vmm::MacAddress;

use super::kernel::sysctl::has_ipv6;
use super::kernel::{
    Address, Family, KernelError, Link, Namespace, Neighbour, Netlink, Route, Rule, Target,
};

/// Where the rules are that have marked packets looked up in their tables: after
/// the one for the network's own addresses, before all others.
const PRIORITY: u32 = 1000;

/// Those of a network, in `namespace`, which `net` is connected to.
pub(super) struct Ways<'a> {
    namespace: &'a Namespace,
    net: &'a Netlink,
    vpc: &'a Vpc,
    plan: &'a Plan,
    /// What there is, by name.
    links: BTreeMap<String, Link>,
}

impl<'a> Ways<'a> {
    /// Those of `vpc`, whose plan is `plan`, by the links that there are now.
    pub(super) fn of(
        namespace: &'a Namespace,
        net: &'a Netlink,
        vpc: &'a Vpc,
        plan: &'a Plan,
    ) -> Result<Self, KernelError> {
        let links = net.links()?.into_iter();
        let links = links.map(|link| (link.name.clone(), link)).collect();
        Ok(Self {
            namespace,
            net,
            vpc,
            plan,
            links,
        })
    }

    /// Those of one port of `vpc`, whose tap is `link`.
    pub(super) fn of_port(
        namespace: &'a Namespace,
        net: &'a Netlink,
        vpc: &'a Vpc,
        plan: &'a Plan,
        link: Link,
    ) -> Self {
        let links = [(link.name.clone(), link)].into();
        Self {
            namespace,
            net,
            vpc,
            plan,
            links,
        }
    }

    /// Has the kernel have all of them, and no others.
    pub(super) fn arrange(&self) -> Result<(), KernelError> {
        let there: BTreeSet<Address> = self.net.addresses()?.into_iter().collect();
        self.arrange_addresses(&there)?;
        self.arrange_addresses6(&there)?;
        let there = self.routes_there()?;
        self.arrange_tables(&there)?;
        let known: BTreeSet<Neighbour> = self.net.all_neighbours()?.into_iter().collect();
        self.introduce(&known)?;
        self.arrange_routes(&there)
    }

    /// Has packets for a tap that is plugged in just now go there.
    pub(super) fn connect(&self) -> Result<(), KernelError> {
        self.arrange_addresses6(&BTreeSet::new())?;
        self.introduce(&BTreeSet::new())?;
        let routes = self.plan.routes.iter();
        let mut routes = routes
            .filter(|planned| planned.hop.link().is_some())
            .filter_map(|planned| self.route(planned));
        routes.try_for_each(|route| unless_gone(self.net.replace_route(&route)))
    }

    /// Addresses are the loopback interface's: any tap leads to them.
    fn arrange_addresses(&self, all: &BTreeSet<Address>) -> Result<(), KernelError> {
        let Some(own) = self.links.get("lo") else {
            return Ok(());
        };
        if !own.up {
            self.net.set_up(own.index)?;
        }
        let (there, wanted) = (addresses_of(own, all), self.addresses());
        for address in there.difference(&wanted) {
            self.net.remove_address(own.index, *address)?;
        }
        for address in wanted.difference(&there) {
            self.net.add_address(own.index, *address)?;
        }
        Ok(())
    }

    /// The ports whose taps are there.
    fn taps(&self) -> impl Iterator<Item = (&Port, &Link)> {
        let ports = self.vpc.ports().values();
        ports.filter_map(|port| Some((port, self.links.get(&port.tap())?)))
    }

    fn addresses(&self) -> BTreeSet<IpNet> {
        let host = |address: &Ipv4Addr| IpNet::from(IpAddr::from(*address));
        self.plan.addresses.iter().map(host).collect()
    }

    fn arrange_tables(&self, routes: &BTreeMap<u32, BTreeSet<Route>>) -> Result<(), KernelError> {
        let there = self.net.rules(Family::V4)?;
        let wanted = self.rules();
        let ours = there.iter().filter(|rule| rule.priority == PRIORITY);
        for gone in ours.filter(|rule| !wanted.contains(rule)) {
            self.net.remove_rule(gone)?;
            for route in routes.get(&gone.table).into_iter().flatten() {
                self.net.remove_route(route.destination, gone.table)?;
            }
        }
        let there: BTreeSet<Rule> = there.into_iter().collect();
        let mut lacking = wanted.difference(&there);
        lacking.try_for_each(|rule| self.net.add_rule(rule))
    }

    /// Those that lead to the tables.
    fn rules(&self) -> BTreeSet<Rule> {
        self.plan.marks.iter().map(marked).collect()
    }

    fn arrange_routes(&self, there: &BTreeMap<u32, BTreeSet<Route>>) -> Result<(), KernelError> {
        let (wanted, none) = (self.routes(), BTreeSet::new());
        for table in self.tables() {
            let there = there.get(&table).unwrap_or(&none);
            let wanted = wanted.get(&table).unwrap_or(&none);
            let destinations: BTreeSet<IpNet> = wanted.iter().map(|one| one.destination).collect();
            for route in there {
                if !destinations.contains(&route.destination) {
                    self.net.remove_route(route.destination, table)?;
                }
            }
            let mut lacking = wanted.difference(there);
            lacking.try_for_each(|route| unless_gone(self.net.replace_route(route)))?;
        }
        Ok(())
    }

    /// The tables whose routes are the network's.
    fn tables(&self) -> impl Iterator<Item = u32> {
        self.plan.marks.iter().copied().chain([MAIN_TABLE])
    }

    /// The routes that there are, by their tables. Those of IPv6 come with addresses.
    fn routes_there(&self) -> Result<BTreeMap<u32, BTreeSet<Route>>, KernelError> {
        let routes = self.net.all_routes()?.into_iter();
        let ours = routes.filter(|route| matches!(route.destination, IpNet::V4(_)));
        Ok(by_table(ours))
    }

    /// The routes of the plan, but for those to machines that are gone, by their
    /// tables.
    fn routes(&self) -> BTreeMap<u32, BTreeSet<Route>> {
        let planned = self.plan.routes.iter();
        by_table(planned.filter_map(|planned| self.route(planned)))
    }

    /// `planned` in the kernel's terms; `None` if the tap is not there, or not
    /// up, since its machine is gone.
    fn route(&self, planned: &Planned) -> Option<Route> {
        let index = |name: &String| {
            let link = self.links.get(name)?;
            link.up.then_some(link.index)
        };
        let target = match &planned.hop {
            Hop::Link(link) => Target::Link(index(link)?),
            Hop::Gateway { link, address } => Target::Gateway {
                address: IpAddr::from(*address),
                link: index(link)?,
            },
            Hop::Throw => Target::Throw,
            Hop::Blackhole => Target::Blackhole,
        };
        Some(Route {
            destination: planned.destination.into(),
            table: planned.table,
            target,
        })
    }

    /// Nobody needs to ask for the MAC address of a port, so nobody can lie.
    fn introduce(&self, known: &BTreeSet<Neighbour>) -> Result<(), KernelError> {
        let neighbours = self.neighbours();
        let mut lacking = neighbours.filter(|one| !known.contains(one));
        lacking.try_for_each(|one| unless_gone(self.net.add_neighbour(&one)))
    }

    /// Who is at the taps that are plugged in.
    fn neighbours(&self) -> impl Iterator<Item = Neighbour> {
        self.taps().flat_map(|(port, link)| {
            let link_local = has_ipv6().then(|| port.mac.link_local().into());
            let addresses = [Some(port.address.into()), link_local];
            addresses.into_iter().flatten().map(|address| Neighbour {
                link: link.index,
                address,
                mac: mac(port),
            })
        })
    }
}

/// The addresses of the loopback interface among `all`, but for those that every one
/// has.
fn addresses_of(own: &Link, all: &BTreeSet<Address>) -> BTreeSet<IpNet> {
    let ours = all
        .iter()
        .filter(|address| address.link == own.index && !address.prefix.addr().is_loopback());
    ours.map(|address| address.prefix).collect()
}

fn by_table(routes: impl Iterator<Item = Route>) -> BTreeMap<u32, BTreeSet<Route>> {
    let mut tables: BTreeMap<u32, BTreeSet<Route>> = BTreeMap::new();
    for route in routes {
        tables.entry(route.table).or_default().insert(route);
    }
    tables
}

/// The rule that has packets with `mark` looked up in the table of that number.
fn marked(mark: &u32) -> Rule {
    Rule {
        family: Family::V4,
        input: None,
        mark: Some(*mark),
        table: *mark,
        priority: PRIORITY,
    }
}

fn mac(port: &Port) -> MacAddress {
    MacAddress::new(port.mac.octets()).expect("a port's address is an interface's")
}

/// A machine may end at any time, and its tap is gone: nothing is to be done for it.
fn unless_gone(done: Result<(), KernelError>) -> Result<(), KernelError> {
    match done {
        Err(KernelError::Gone { .. }) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::super::change::{check, up};
    use super::super::fixture::Host;
    use super::*;

    #[test]
    fn what_is_in_place_is_not_told_again_however_many_ports_there_are() {
        let host = Host::new();
        let vpc = host.vpc("many");
        let asked = || {
            let record = host.switches.read(&vpc).unwrap();
            let network = record.vpc(&vpc).unwrap();
            let namespace = Namespace::open(&host.namespace(&vpc)).unwrap();
            let net = Netlink::in_namespace(&namespace).unwrap();
            let plan = Plan::of(network);
            let ways = Ways::of(&namespace, &net, network, &plan).unwrap();
            ways.arrange().unwrap();
            net.asked()
        };
        let few = [(); 2].map(|()| host.guest(&vpc, "front"));
        let before = asked();
        let more = [(); 3].map(|()| host.guest(&vpc, "front"));
        assert_eq!(asked(), before);
        drop((few, more));
    }

    #[test]
    fn a_neighbour_that_somebody_forgot_is_missed_and_told_again() {
        let host = Host::new();
        let vpc = host.vpc("forgotten");
        let guest = host.guest(&vpc, "front");
        assert_eq!(check(&host.switches, &vpc).unwrap(), [""; 0]);
        let namespace = Namespace::open(&host.namespace(&vpc)).unwrap();
        let net = Netlink::in_namespace(&namespace).unwrap();
        let mut known = net.all_neighbours().unwrap().into_iter();
        let own = IpAddr::from(guest.address);
        let neighbour = known.find(|one| one.address == own).unwrap();
        net.remove_neighbour(neighbour.link, neighbour.address)
            .unwrap();
        let told = check(&host.switches, &vpc).unwrap();
        assert!(told.len() == 1 && told[0].contains("neighbour"), "{told:?}");
        up(&host.switches, &vpc).unwrap();
        assert_eq!(check(&host.switches, &vpc).unwrap(), [""; 0]);
    }
}
