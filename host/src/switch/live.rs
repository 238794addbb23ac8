//! The kernel's side of a routed network: a network namespace, with what its
//! [`Plan`] and its [`Ruleset`] say.
//!
//! Everything here can be done again, and from any state in between: what is
//! there stays, what lacks is made, what is too much goes.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::path::Path;

use ipnet::IpNet;
use network::plan::{Hop, MAIN_TABLE, Plan, Route as Planned};
use network::port::{Port, TAP_PREFIX};
use network::ruleset::{Ruleset, replacement, transaction};
use network::vpc::Vpc;
use vmm::{MacAddress, Mtu, QueueCount};

use crate::error::Error;

use super::cable;
use super::kernel::flows::End;
use super::kernel::sysctl::{self, LinkSetting, Links, Sysctl};
use super::kernel::tap::{self, NewTap};
use super::kernel::{
    Family, KernelError, Link, LinkKind, Namespace, Neighbour, Netlink, Route, Rule, Target, flows,
    nft,
};
use super::outside::Outside;
use super::rules_compared;

/// What the names of namespaces begin with.
pub(super) const PREFIX: &str = "plinth-";

/// Inside a network (EC2, "Network MTU": jumbo frames).
pub const MTU: u16 = 9001;

/// Where the rules are that have marked packets looked up in their tables: after
/// the one for the network's own addresses, before all others.
const PRIORITY: u32 = 1000;

/// How the namespace treats packets.
const SETTINGS: [(Sysctl<'_>, u32); 12] = [
    (Sysctl::IpForward, 1),
    // Whatever the host does: a new namespace begins with its settings.
    (Sysctl::Of(Links::All, LinkSetting::ArpIgnore), 0),
    (Sysctl::Of(Links::New, LinkSetting::ArpIgnore), 0),
    (Sysctl::Of(Links::All, LinkSetting::AcceptRedirects), 0),
    (Sysctl::Of(Links::New, LinkSetting::AcceptRedirects), 0),
    // Routes to a port's address lead to its tap: the router answers for all.
    (Sysctl::Of(Links::New, LinkSetting::ProxyArp), 1),
    // Where packets may come from is for the rules to say.
    (Sysctl::Of(Links::All, LinkSetting::RpFilter), 0),
    (Sysctl::Of(Links::New, LinkSetting::RpFilter), 0),
    // No port is the better way to another.
    (Sysctl::Of(Links::All, LinkSetting::SendRedirects), 0),
    (Sysctl::Of(Links::New, LinkSetting::SendRedirects), 0),
    (Sysctl::Of(Links::All, LinkSetting::DisableIpv6), 1),
    (Sysctl::Of(Links::New, LinkSetting::DisableIpv6), 1),
];

/// Those that this kernel has: it can have been booted without IPv6.
fn settings() -> impl Iterator<Item = (Sysctl<'static>, u32)> {
    let has_ipv6 = Path::new("/proc/sys/net/ipv6").exists();
    let is_of_ipv6 = |setting| matches!(setting, Sysctl::Of(_, LinkSetting::DisableIpv6));
    SETTINGS
        .into_iter()
        .filter(move |(setting, _)| has_ipv6 || !is_of_ipv6(*setting))
}

/// A network in the kernel.
pub(super) struct Live {
    namespace: Namespace,
    net: Netlink,
}

impl Live {
    /// The kernel's side of `vpc`, made if there is none.
    ///
    /// # Errors
    /// The privilege or something in the kernel is missing.
    pub(super) fn bring_up(vpc: &Vpc) -> Result<Self, Error> {
        if let Some(live) = Self::find(vpc)? {
            return Ok(live);
        }
        let namespace = Namespace::create(&namespace(vpc)).map_err(failed)?;
        let net = Netlink::in_namespace(&namespace).map_err(failed)?;
        let live = Self { namespace, net };
        live.make(vpc)?;
        Ok(live)
    }

    /// The kernel's side of `vpc`, if there is one.
    ///
    /// # Errors
    /// The privilege is missing.
    pub(super) fn find(vpc: &Vpc) -> Result<Option<Self>, Error> {
        let namespace = match Namespace::open(&namespace(vpc)) {
            Err(KernelError::Gone { .. }) => return Ok(None),
            namespace => namespace.map_err(failed)?,
        };
        let net = Netlink::in_namespace(&namespace).map_err(failed)?;
        Ok(Some(Self { namespace, net }))
    }

    /// Takes `vpc` out of the kernel.
    ///
    /// # Errors
    /// The privilege is missing.
    pub(super) fn remove(vpc: &Vpc) -> Result<(), Error> {
        let remove = || {
            if let Some(outside) = Outside::of(vpc)? {
                outside.remove(vpc)?;
            }
            Namespace::delete(&model(vpc))?;
            Namespace::delete(&namespace(vpc))
        };
        remove().map_err(failed)
    }

    /// Has the kernel have all that `vpc` needs, and nothing else.
    ///
    /// # Errors
    /// It refuses.
    pub(super) fn make(&self, vpc: &Vpc) -> Result<(), Error> {
        let make = || {
            let outside = Outside::of(vpc)?;
            self.disconnect(vpc, outside.as_ref())?;
            cable::disconnect(&Plan::of(vpc), &self.net)?;
            nft::apply(&self.namespace, &replacement(&Ruleset::of(vpc)))?;
            if let Some(outside) = outside {
                nft::apply(&outside.namespace, &replacement(&Ruleset::of_host(vpc)))?;
            }
            self.arrange(vpc)
        };
        make().map_err(failed)
    }

    /// Takes away what `new` has on the host and `old` does not know of, which is to
    /// be again.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn abandon(&self, new: &Vpc, old: &Vpc) -> Result<(), Error> {
        if old.uplink().is_some() {
            return Ok(());
        }
        let outside = Outside::of(new).map_err(failed)?;
        let removed = outside.map_or(Ok(()), |outside| outside.remove(new));
        removed.map_err(failed)
    }

    /// Nothing is to leave while the rules about it go.
    fn disconnect(&self, vpc: &Vpc, outside: Option<&Outside>) -> Result<(), KernelError> {
        match outside.filter(|_| vpc.uplink().is_none()) {
            Some(outside) => outside.disconnect(vpc),
            None => Ok(()),
        }
    }

    /// Takes the kernel from `old` to `new`: first what may pass, then where it
    /// goes.
    ///
    /// # Errors
    /// It refuses; some of it may be done then.
    pub(super) fn change(&self, old: &Vpc, new: &Vpc) -> Result<(), Error> {
        let change = || {
            let outside = Outside::of(new)?;
            self.disconnect(new, outside.as_ref())?;
            if old.peerings() != new.peerings() {
                cable::disconnect(&Plan::of(new), &self.net)?;
            }
            change_rules(&self.namespace, &Ruleset::of(old), &Ruleset::of(new))?;
            if let Some(outside) = outside {
                let (old_rules, new_rules) = (Ruleset::of_host(old), Ruleset::of_host(new));
                change_rules(&outside.namespace, &old_rules, &new_rules)?;
                outside.forget(old, new)?;
            }
            // Most changes are of rules alone.
            if Plan::of(old) != Plan::of(new) {
                self.arrange(new)?;
            }
            self.forget(old, new)
        };
        change().map_err(failed)
    }

    /// Forgets the flows of ports that are gone, before others have their addresses,
    /// those of public addresses that are something else's, and those with networks
    /// that are peers no more.
    fn forget(&self, old: &Vpc, new: &Vpc) -> Result<(), KernelError> {
        let gone = old
            .ports()
            .iter()
            .filter(|(id, _)| !new.ports().contains_key(*id));
        let private = gone.map(|(_, port)| port.address);
        let changed = old
            .associations()
            .filter(|(_, holder)| new.public_address_of(holder) != old.public_address_of(holder));
        let public = changed.map(|(address, _)| address);
        let strangers = old.peerings().values();
        let strangers = strangers.filter(|peering| new.peering(peering.id).is_none());
        let theirs = strangers.flat_map(|one| (0..).map_while(|number| one.cidr.nth(number)));
        let ends = private.chain(public).chain(theirs);
        let ends: BTreeSet<End> = ends.map(End::from).collect();
        match ends.is_empty() {
            true => Ok(()),
            false => flows::forget(&self.namespace, &ends),
        }
    }

    /// Settings, addresses, and where packets go.
    fn arrange(&self, vpc: &Vpc) -> Result<(), KernelError> {
        let settings: Vec<_> = settings().collect();
        sysctl::set(&self.namespace, &settings)?;
        let plan = Plan::of(vpc);
        if let Some(uplink) = plan.uplink {
            let outside = Outside::current()?;
            outside.connect(vpc, uplink, &self.net)?;
            outside.arrange(vpc, &plan, uplink)?;
            Outside::introduce(&plan, uplink, &self.net)?;
        }
        for peering in &plan.peerings {
            cable::connect(peering, &self.net)?;
        }
        let links = self.net.links()?;
        self.arrange_addresses(&plan, &links)?;
        self.arrange_tables(&plan)?;
        for port in vpc.ports().values() {
            self.introduce(port, &links)?;
        }
        self.arrange_routes(&plan, &links)
    }

    /// Addresses are the loopback interface's: any tap leads to them.
    fn arrange_addresses(&self, plan: &Plan, links: &[Link]) -> Result<(), KernelError> {
        let Some(own) = links.iter().find(|link| link.name == "lo") else {
            return Ok(());
        };
        if !own.up {
            self.net.set_up(own.index)?;
        }
        let (there, wanted) = (self.own_addresses(own)?, own_addresses(plan));
        for address in there.difference(&wanted) {
            self.net.remove_address(own.index, *address)?;
        }
        for address in wanted.difference(&there) {
            self.net.add_address(own.index, *address)?;
        }
        Ok(())
    }

    /// The addresses of the loopback interface, but for those that every one has.
    fn own_addresses(&self, own: &Link) -> Result<BTreeSet<IpNet>, KernelError> {
        let addresses = self.net.addresses()?.into_iter();
        let ours = addresses
            .filter(|address| address.link == own.index && !address.prefix.addr().is_loopback());
        Ok(ours.map(|address| address.prefix).collect())
    }

    fn arrange_tables(&self, plan: &Plan) -> Result<(), KernelError> {
        let there = self.net.rules(Family::V4)?;
        let wanted: Vec<Rule> = plan.marks.iter().map(marked).collect();
        let ours = there.iter().filter(|rule| rule.priority == PRIORITY);
        for gone in ours.filter(|rule| !wanted.contains(rule)) {
            self.net.remove_rule(gone)?;
            for route in self.net.routes(gone.table)? {
                self.net.remove_route(route.destination, gone.table)?;
            }
        }
        for rule in wanted.iter().filter(|rule| !there.contains(rule)) {
            self.net.add_rule(rule)?;
        }
        Ok(())
    }

    fn arrange_routes(&self, plan: &Plan, links: &[Link]) -> Result<(), KernelError> {
        let wanted = routes(plan, links);
        for table in plan.marks.iter().copied().chain([MAIN_TABLE]) {
            let there = self.net.routes(table)?;
            let wanted: Vec<&Route> = wanted.iter().filter(|one| one.table == table).collect();
            let destinations: BTreeSet<IpNet> = wanted.iter().map(|one| one.destination).collect();
            for route in &there {
                if !destinations.contains(&route.destination) {
                    self.net.remove_route(route.destination, table)?;
                }
            }
            let there: HashSet<&Route> = there.iter().collect();
            for route in wanted.into_iter().filter(|one| !there.contains(one)) {
                unless_gone(self.net.replace_route(route))?;
            }
        }
        Ok(())
    }

    /// Nobody needs to ask for the MAC address of a port, so nobody can lie.
    fn introduce(&self, port: &Port, links: &[Link]) -> Result<(), KernelError> {
        let tap = port.tap();
        let Some(link) = links.iter().find(|link| link.name == tap) else {
            return Ok(());
        };
        unless_gone(self.net.add_neighbour(&Neighbour {
            link: link.index,
            address: port.address.into(),
            mac: mac(port),
        }))
    }

    /// The names of the taps that are plugged in.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn plugged(&self) -> Result<BTreeSet<String>, Error> {
        let links = self.net.links().map_err(failed)?;
        let taps = links.into_iter().filter(|link| {
            matches!(link.kind, LinkKind::Tap(_)) && link.name.starts_with(TAP_PREFIX)
        });
        Ok(taps.map(|link| link.name).collect())
    }

    /// Makes the tap of `port`, whose other end is the descriptors, and with them
    /// it is gone.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn plug_in(
        &self,
        vpc: &Vpc,
        port: &Port,
        queues: QueueCount,
    ) -> Result<Vec<OwnedFd>, Error> {
        let name = port.tap();
        let tap = NewTap {
            name: &name,
            queues,
            mac: None,
            mtu: Mtu::new(MTU).ok(),
            owner: None,
        };
        let descriptors = tap::create(&self.namespace, &tap).map_err(failed)?;
        self.connect(vpc, &name).map_err(failed)?;
        Ok(descriptors)
    }

    fn connect(&self, vpc: &Vpc, tap: &str) -> Result<(), KernelError> {
        if let Some(link) = self.net.link(tap)? {
            // The router answers for all at once, not after up to 0.8 s.
            let delay = Sysctl::Of(Links::One(tap), LinkSetting::ProxyDelay);
            sysctl::set(&self.namespace, &[(delay, 0)])?;
            self.net.set_up(link.index)?;
        }
        self.arrange(vpc)
    }

    /// What in the kernel is not as `vpc` says, a line each.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(super) fn differences(vpc: &Vpc) -> Result<Vec<String>, Error> {
        let Some(live) = Self::find(vpc)? else {
            return Ok(vec!["it is not in the kernel".into()]);
        };
        live.compare(vpc).map_err(failed)
    }

    fn compare(&self, vpc: &Vpc) -> Result<Vec<String>, KernelError> {
        let plan = Plan::of(vpc);
        let links = self.net.links()?;
        let mut found = Vec::new();
        for port in vpc.ports().values() {
            if !links.iter().any(|link| link.name == port.tap()) {
                found.push(format!(
                    "machine '{}' at {} is not plugged in",
                    port.owner, port.address
                ));
            }
        }
        let wanted = routes(&plan, &links);
        for table in plan.marks.iter().copied().chain([MAIN_TABLE]) {
            let there = self.net.routes(table)?;
            let wanted = wanted.iter().filter(|route| route.table == table);
            let lacking = wanted.clone().filter(|route| !there.contains(route));
            found.extend(lacking.map(|route| format!("{route} is missing")));
            let extra = there
                .iter()
                .filter(|there| !wanted.clone().any(|one| one == *there));
            found.extend(extra.map(|route| format!("{route} is not plinth's")));
        }
        found.extend(self.compare_ways(&plan, &links)?);
        found.extend(cable::compare(&plan, &self.net)?);
        for (setting, value) in settings() {
            let there = sysctl::get(&self.namespace, setting)?;
            if there != value {
                found.push(format!("{setting} is {there}, not {value}"));
            }
        }
        let model = model(vpc);
        let ruleset = Ruleset::of(vpc);
        found.extend(rules_compared::compare(&self.namespace, &model, &ruleset)?);
        if let Some(outside) = Outside::of(vpc)? {
            let of_host = rules_compared::expected(&model, &Ruleset::of_host(vpc))?;
            found.extend(outside.compare(vpc, &plan, &self.net, &of_host)?);
        }
        Ok(found)
    }

    /// The rules that lead to tables, and the network's own addresses.
    fn compare_ways(&self, plan: &Plan, links: &[Link]) -> Result<Vec<String>, KernelError> {
        let mut found = Vec::new();
        let there = self.net.rules(Family::V4)?;
        let wanted: Vec<Rule> = plan.marks.iter().map(marked).collect();
        let lacking = wanted.iter().filter(|rule| !there.contains(rule));
        found.extend(lacking.map(|rule| format!("{rule} is missing")));
        let ours = there.iter().filter(|rule| rule.priority == PRIORITY);
        let extra = ours.filter(|rule| !wanted.contains(rule));
        found.extend(extra.map(|rule| format!("{rule} is not plinth's")));
        match links.iter().find(|link| link.name == "lo") {
            Some(own) if own.up => {
                let there = self.own_addresses(own)?;
                let wanted = own_addresses(plan);
                let lacking = wanted.difference(&there);
                found.extend(lacking.map(|address| format!("address {address} is missing")));
                let extra = there.difference(&wanted);
                found.extend(extra.map(|address| format!("address {address} is not plinth's")));
            }
            _ => found.push("its loopback interface is down".into()),
        }
        Ok(found)
    }
}

/// Takes the rules of `namespace` from `old` to `new`.
fn change_rules(namespace: &Namespace, old: &Ruleset, new: &Ruleset) -> Result<(), KernelError> {
    let Some(change) = transaction(old, new) else {
        return Ok(());
    };
    match nft::apply(namespace, &change) {
        // The kernel is not in the state that was stored.
        Err(KernelError::Refused { .. }) => nft::apply(namespace, &replacement(new)),
        applied => applied,
    }
}

/// What the namespace of `vpc` is called: names are one user's, namespaces the
/// whole host's.
pub(super) fn namespace(vpc: &Vpc) -> String {
    format!("{PREFIX}{}", vpc.id)
}

/// Another for a moment, which shows what the kernel makes of rules.
fn model(vpc: &Vpc) -> String {
    format!("{}.check", namespace(vpc))
}

/// The routes of `plan`, but for those to machines that are gone.
fn routes(plan: &Plan, links: &[Link]) -> Vec<Route> {
    let routes = plan.routes.iter();
    routes.filter_map(|planned| route(planned, links)).collect()
}

/// `planned` in the kernel's terms; `None` if the tap is not there, or not
/// up, since its machine is gone.
fn route(planned: &Planned, links: &[Link]) -> Option<Route> {
    let index = |name: &str| {
        let link = links.iter().find(|link| link.name == name)?;
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

/// A machine may end at any time, and its tap is gone: nothing is to be done for it.
fn unless_gone(done: Result<(), KernelError>) -> Result<(), KernelError> {
    match done {
        Err(KernelError::Gone { .. }) => Ok(()),
        done => done,
    }
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

fn own_addresses(plan: &Plan) -> BTreeSet<IpNet> {
    let host = |address: &Ipv4Addr| IpNet::from(IpAddr::from(*address));
    plan.addresses.iter().map(host).collect()
}

fn mac(port: &Port) -> MacAddress {
    MacAddress::new(port.mac.octets()).expect("a port's address is an interface's")
}

/// What the kernel refuses, as this crate says it.
pub(super) fn failed(error: KernelError) -> Error {
    let error_is_hosts = !matches!(error, KernelError::BadName { .. });
    let text = error.to_string();
    let made = match error_is_hosts {
        true => Error::host(text),
        false => Error::configuration(text),
    };
    match std::error::Error::source(&error) {
        Some(source) => made.because(source.to_string()),
        None => made,
    }
}
