//! A network's cable to the host's own namespace, and what the host has there for
//! it: routes to its public addresses, and a table of rules. The host's namespace is
//! the one that plinth is run in.
//!
//! Nothing of the host's own is changed but `ip_forward`, which is turned on, and
//! left on: others may rely on it by then. All else is about the one interface, and
//! goes with it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use network::plan::{MAIN_TABLE, Plan};
use network::publication::Published;
use network::ruleset::Ruleset;
use network::uplink::{HOST_PREFIX, MTU, OUT, Uplink, host_link};
use network::vpc::Vpc;
use serde_json::{Value, json};
use vmm::{MacAddress, Mtu};

use super::kernel::flows::{self, End};
use super::kernel::sysctl::{self, LinkSetting, Links, Sysctl};
use super::kernel::{
    KernelError, Link, LinkIndex, LinkKind, Namespace, Neighbour, Netlink, Route, Target, nft,
};
use super::rules_compared;

/// The host's own namespace.
pub(super) struct Outside {
    pub(super) namespace: Namespace,
    net: Netlink,
}

/// How the host treats packets that come and go by `link`.
fn settings(link: &str) -> impl Iterator<Item = (Sysctl<'_>, u32)> {
    let of_link = |setting, value| (Sysctl::Of(Links::One(link), setting), value);
    let settings = [
        (Sysctl::IpForward, 1),
        of_link(LinkSetting::Forwarding, 1),
        // What the host sends to a published port of its own 127.0.0.1.
        of_link(LinkSetting::RouteLocalnet, 1),
        of_link(LinkSetting::SendRedirects, 0),
        of_link(LinkSetting::AcceptRedirects, 0),
    ];
    let ipv6 = sysctl::has_ipv6().then(|| of_link(LinkSetting::DisableIpv6, 1));
    settings.into_iter().chain(ipv6)
}

impl Outside {
    /// The namespace that this is run in.
    pub(super) fn current() -> Result<Self, KernelError> {
        let namespace = Namespace::current()?;
        let net = Netlink::in_namespace(&namespace)?;
        Ok(Self { namespace, net })
    }

    /// The same, if something of `vpc` can be there.
    pub(super) fn of(vpc: &Vpc) -> Result<Option<Self>, KernelError> {
        let uplink = vpc.last_uplink();
        uplink.map(|_| Self::current()).transpose()
    }

    /// The host's own addresses.
    pub(super) fn addresses(&self) -> Result<BTreeSet<IpAddr>, KernelError> {
        let addresses = self.net.addresses()?.into_iter();
        Ok(addresses.map(|address| address.prefix.addr()).collect())
    }

    /// The addresses that the host sends to networks whose ends of their cables are
    /// not among `known`.
    pub(super) fn sends_to_strangers(
        &self,
        known: &BTreeSet<String>,
    ) -> Result<BTreeSet<Ipv4Addr>, KernelError> {
        let links = self.net.links()?.into_iter().filter(|link| {
            let is_cable = matches!(link.kind, LinkKind::Veth { .. });
            is_cable && link.name.starts_with(HOST_PREFIX) && !known.contains(&link.name)
        });
        let strange: BTreeSet<LinkIndex> = links.map(|link| link.index).collect();
        let routes = self.net.routes(MAIN_TABLE)?.into_iter();
        let addresses = routes.filter_map(|route| match (route.target, route.destination) {
            (Target::Gateway { link, .. }, IpNet::V4(to)) if strange.contains(&link) => {
                Some(to.addr())
            }
            _ => None,
        });
        Ok(addresses.collect())
    }

    /// Makes the cable, and plugs its other end in where `inside` is.
    pub(super) fn connect(
        &self,
        vpc: &Vpc,
        uplink: Uplink,
        inside: &Netlink,
    ) -> Result<(), KernelError> {
        let name = host_link(vpc.id);
        if inside.link(OUT)?.is_none() {
            // Its other end was in a namespace that is gone, or goes.
            self.disconnect(vpc)?;
        }
        let end = inside.add_veth(OUT, &name, &self.namespace)?;
        let Some(link) = self.net.link(&name)? else {
            return Ok(());
        };
        let mac = host_mac(uplink);
        if link.mac != Some(mac) {
            self.net.set_mac(link.index, mac)?;
        }
        for (net, index, address) in [
            (inside, end, uplink.own()),
            (&self.net, link.index, uplink.host()),
        ] {
            net.set_mtu(index, Mtu::new(MTU).expect("Ethernet has it"))?;
            net.add_address(index, host(address))?;
        }
        let settings: Vec<_> = settings(&name).collect();
        sysctl::set(&self.namespace, &settings)?;
        self.net.set_up(link.index)?;
        inside.set_up(end)
    }

    /// Takes the cable of `vpc` away, if it is there.
    pub(super) fn disconnect(&self, vpc: &Vpc) -> Result<(), KernelError> {
        match self.net.link(&host_link(vpc.id))? {
            Some(link) => self.net.delete_link(link.index),
            None => Ok(()),
        }
    }

    /// Forgets the flows of ports that are no longer published, before they lead
    /// elsewhere.
    pub(super) fn forget(&self, old: &Vpc, new: &Vpc) -> Result<(), KernelError> {
        let Some(uplink) = old.last_uplink() else {
            return Ok(());
        };
        let is_gone = |relay: &&Published| !new.published().any(|(_, other)| other == *relay);
        let gone = old.published().map(|(_, published)| published);
        let ends = gone.filter(is_gone).map(|published| {
            let protocol = published.publication.protocol;
            End {
                address: uplink.own(),
                port: Some((protocol.number(), published.relay)),
            }
        });
        let ends: BTreeSet<End> = ends.collect();
        match ends.is_empty() {
            true => Ok(()),
            false => flows::forget(&self.namespace, &ends),
        }
    }

    /// Takes all of `vpc` away.
    pub(super) fn remove(&self, vpc: &Vpc) -> Result<(), KernelError> {
        self.disconnect(vpc)?;
        let ruleset = Ruleset::of_host(vpc);
        nft::delete_table(&self.namespace, nft::TableFamily::Ip, ruleset.name())
    }

    /// Has the host send there what is for the network.
    pub(super) fn arrange(
        &self,
        vpc: &Vpc,
        plan: &Plan,
        uplink: Uplink,
    ) -> Result<(), KernelError> {
        let Some(link) = self.net.link(&host_link(vpc.id))? else {
            return Ok(());
        };
        let (there, wanted) = (self.routes(&link)?, routes(plan, uplink, &link));
        for route in there.iter().filter(|route| !wanted.contains(route)) {
            self.net.remove_route(route.destination, MAIN_TABLE)?;
        }
        for route in wanted.iter().filter(|route| !there.contains(route)) {
            self.net.add_route(route)?;
        }
        Ok(())
    }

    /// Has the network know its next hops at the cable's other end: nobody else is
    /// there, and nobody is asked.
    pub(super) fn introduce(
        plan: &Plan,
        uplink: Uplink,
        inside: &Netlink,
    ) -> Result<(), KernelError> {
        let Some(end) = inside.link(OUT)? else {
            return Ok(());
        };
        let wanted = neighbours(plan, uplink, &end);
        let there: BTreeSet<_> = inside.neighbours(end.index)?.into_iter().collect();
        for gone in there.difference(&wanted) {
            inside.remove_neighbour(gone.link, gone.address)?;
        }
        let mut lacking = wanted.difference(&there);
        lacking.try_for_each(|one| inside.add_neighbour(one))
    }

    /// Routes that lead to the network.
    fn routes(&self, link: &Link) -> Result<Vec<Route>, KernelError> {
        let mut routes = self.net.routes(MAIN_TABLE)?;
        routes.retain(|route| match route.target {
            Target::Link(index) | Target::Gateway { link: index, .. } => index == link.index,
            _ => false,
        });
        routes.retain(|route| matches!(route.destination, IpNet::V4(_)));
        Ok(routes)
    }

    /// What is not as `vpc` says, of which `rules` are the rules in the host's
    /// namespace, as the kernel lists them.
    pub(super) fn compare(
        &self,
        vpc: &Vpc,
        plan: &Plan,
        inside: &Netlink,
        rules: &Value,
    ) -> Result<Vec<String>, KernelError> {
        let name = host_link(vpc.id);
        let link = self.net.link(&name)?;
        let mut found = match (plan.uplink, &link) {
            (Some(uplink), Some(link)) => self.compare_cable(plan, uplink, link, inside)?,
            (Some(_), None) => vec![format!("its uplink {name} is missing")],
            (None, Some(_)) => vec![format!("its uplink {name} leads nowhere")],
            (None, None) => Vec::new(),
        };
        let ruleset = Ruleset::of_host(vpc);
        let there = only(&nft::ruleset(&self.namespace)?, ruleset.name());
        let differences = rules_compared::differences(rules, &there);
        found.extend(differences.iter().map(|one| format!("on the host, {one}")));
        Ok(found)
    }

    fn compare_cable(
        &self,
        plan: &Plan,
        uplink: Uplink,
        link: &Link,
        inside: &Netlink,
    ) -> Result<Vec<String>, KernelError> {
        let mut found = Vec::new();
        let ends = [
            (&self.net, link.name.as_str(), uplink.host()),
            (inside, OUT, uplink.own()),
        ];
        for (net, name, address) in ends {
            let Some(end) = net.link(name)? else {
                found.push(format!("its uplink {name} is missing"));
                continue;
            };
            if !end.up || end.mtu != u32::from(MTU) {
                found.push(format!("its uplink {name} is not up with an MTU of {MTU}"));
            }
            let mut addresses = net.addresses()?.into_iter();
            let own = host(address);
            if !addresses.any(|there| there.link == end.index && there.prefix == own) {
                found.push(format!("address {own} of {name} is missing"));
            }
        }
        if let Some(end) = inside.link(OUT)? {
            let there = inside.neighbours(end.index)?;
            let wanted = neighbours(plan, uplink, &end);
            let lacking = wanted.iter().filter(|one| !there.contains(one));
            found.extend(lacking.map(|one| format!("{one} of {OUT} is missing")));
        }
        if link.mac != Some(host_mac(uplink)) {
            found.push(format!("the MAC address of {} was changed", link.name));
        }
        let (there, wanted) = (self.routes(link)?, routes(plan, uplink, link));
        let lacking = wanted.iter().filter(|route| !there.contains(route));
        found.extend(lacking.map(|route| format!("on the host, {route} is missing")));
        let extra = there.iter().filter(|route| !wanted.contains(route));
        found.extend(extra.map(|route| format!("on the host, {route} is not plinth's")));
        for (setting, value) in settings(&link.name) {
            let there = sysctl::get(&self.namespace, setting)?;
            if there != value {
                found.push(format!("on the host, {setting} is {there}, not {value}"));
            }
        }
        Ok(found)
    }
}

/// What the host is to send to the network.
fn routes(plan: &Plan, uplink: Uplink, link: &Link) -> Vec<Route> {
    let route = |destination, target| Route {
        destination: host(destination),
        table: MAIN_TABLE,
        target,
    };
    let through = Target::Gateway {
        address: uplink.own().into(),
        link: link.index,
    };
    let own = route(uplink.own(), Target::Link(link.index));
    let public = plan.public_addresses.iter();
    let public = public.map(|address| route(*address, through));
    public.chain([own]).collect()
}

/// Who is at the other end of the network's `end`.
fn neighbours(plan: &Plan, uplink: Uplink, end: &Link) -> BTreeSet<Neighbour> {
    let hops = plan.next_hops.iter();
    hops.map(|address| Neighbour {
        link: end.index,
        address: (*address).into(),
        mac: host_mac(uplink),
    })
    .collect()
}

/// What of a listing is of the tables called `name`.
fn only(listing: &Value, name: &str) -> Value {
    let entries = listing["nftables"].as_array().into_iter().flatten();
    let ours = entries.filter(|entry| {
        let mut objects = entry.as_object().into_iter().flatten();
        objects.any(|(kind, object)| match kind.as_str() {
            "table" => object["name"] == name,
            _ => object["table"] == name,
        })
    });
    json!({"nftables": ours.collect::<Vec<_>>()})
}

fn host(address: Ipv4Addr) -> IpNet {
    IpNet::from(IpAddr::from(address))
}

/// Of the host's end.
fn host_mac(uplink: Uplink) -> MacAddress {
    let octets = uplink.host_mac().octets();
    MacAddress::new(octets).expect("it is an interface's")
}
