//! The kernel's side of a bridge: a network namespace with a bridge of Linux in
//! it, the taps and the uplink that are its ports, and the rules that its
//! [`Ruleset`] says.
//!
//! It is in a namespace of its own also if it has an uplink, of which an end is in
//! the host's ([`uplink`]). So the host is not on the segment unless it wants to,
//! the rules of its own firewall are not asked about frames between guests, and a
//! bridge is removed as a whole.
//!
//! Everything here can be done again, and from any state in between. What is made
//! last is that the bridge is up: one that is, is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use network::bridge::Bridge;
use network::bridge::port::Port;
use network::ruleset::{Ruleset, UPLINK, replacement};
use vmm::{Mtu, QueueCount};

use crate::error::Error;

use super::kernel::sysctl::{self, LinkSetting, Links, Sysctl};
use super::kernel::{KernelError, Link, LinkIndex, Namespace, Netlink, nft};
use super::live::{PREFIX, failed};
use super::{rules_compared, taps, uplink};

/// What the bridge is called in its namespace.
const BRIDGE: &str = "bridge";

/// The segment is the guests': nothing here has an address on it.
const SETTINGS: [(Sysctl<'_>, u32); 2] = [
    (Sysctl::Of(Links::All, LinkSetting::DisableIpv6), 1),
    (Sysctl::Of(Links::New, LinkSetting::DisableIpv6), 1),
];

/// Those that this kernel has: it can have been booted without IPv6.
fn settings() -> &'static [(Sysctl<'static>, u32)] {
    match sysctl::has_ipv6() {
        true => &SETTINGS,
        false => &[],
    }
}

/// A bridge in the kernel.
pub(super) struct LiveBridge {
    namespace: Namespace,
    net: Netlink,
}

impl LiveBridge {
    /// The kernel's side of `bridge`, made if there is none, or half of one.
    ///
    /// # Errors
    /// The privilege, the uplink or something in the kernel is missing.
    pub(super) fn bring_up(bridge: &Bridge) -> Result<Self, Error> {
        let namespace = Namespace::create(&namespace(bridge)).map_err(failed)?;
        let live = Self::of(namespace)?;
        let link = live.net.link(BRIDGE).map_err(failed)?;
        if !link.is_some_and(|link| link.up) {
            live.make(bridge)?;
        }
        Ok(live)
    }

    /// The kernel's side of `bridge`, or half of one, if there is any.
    ///
    /// # Errors
    /// The privilege is missing.
    pub(super) fn find(bridge: &Bridge) -> Result<Option<Self>, Error> {
        match Namespace::open(&namespace(bridge)) {
            Err(KernelError::Gone { .. }) => Ok(None),
            namespace => Self::of(namespace.map_err(failed)?).map(Some),
        }
    }

    fn of(namespace: Namespace) -> Result<Self, Error> {
        let net = Netlink::in_namespace(&namespace).map_err(failed)?;
        Ok(Self { namespace, net })
    }

    /// Takes `bridge` out of the kernel.
    ///
    /// # Errors
    /// The privilege is missing, or who has the uplink's other end refuses.
    pub(super) fn remove(bridge: &Bridge) -> Result<(), Error> {
        // A namespace ends some time after its name is gone, and others may want the
        // uplink.
        let live = Self::find(bridge)?;
        uplink::remove(bridge, live.as_ref().map(|live| &live.net))?;
        Namespace::delete(&model(bridge))
            .and_then(|()| Namespace::delete(&namespace(bridge)))
            .map_err(failed)
    }

    /// Has the kernel have all that `bridge` needs, and nothing else.
    ///
    /// # Errors
    /// It refuses, or the uplink is not there.
    pub(super) fn make(&self, bridge: &Bridge) -> Result<(), Error> {
        let link = self.prepare(bridge).map_err(failed)?;
        uplink::make(bridge, link, &self.namespace, &self.net)?;
        self.connect(bridge, link)
            .and_then(|()| self.net.set_up(link))
            .map_err(failed)
    }

    /// What frames meet first, and the bridge itself.
    fn prepare(&self, bridge: &Bridge) -> Result<LinkIndex, KernelError> {
        sysctl::set(&self.namespace, settings())?;
        self.rules(bridge)?;
        let link = self.net.add_bridge(BRIDGE)?;
        self.net.set_mtu(link, mtu(bridge))?;
        Ok(link)
    }

    fn rules(&self, bridge: &Bridge) -> Result<(), KernelError> {
        nft::apply(&self.namespace, &replacement(&Ruleset::of_bridge(bridge)))
    }

    /// Takes the kernel to `new`, whose ports may be others than before: first who
    /// may send, then who is connected.
    ///
    /// # Errors
    /// It refuses; some of it may be done then.
    pub(super) fn change(&self, new: &Bridge) -> Result<(), Error> {
        self.rules(new)
            .and_then(|()| self.net.add_bridge(BRIDGE))
            .and_then(|link| self.connect(new, link))
            .map_err(failed)
    }

    /// Makes the taps of all ports that are plugged in ports of the bridge.
    fn connect(&self, bridge: &Bridge, link: LinkIndex) -> Result<(), KernelError> {
        let known: BTreeSet<String> = bridge.ports().values().map(Port::tap).collect();
        let there = self.net.links()?.into_iter();
        let lacking = there.filter(|tap| known.contains(&tap.name) && !is_on(tap, link));
        for tap in lacking {
            let connected = self.net.set_master(tap.index, Some(link));
            match connected.and_then(|()| self.net.set_up(tap.index)) {
                // A machine may end at any time: nothing is to be done for it.
                Err(KernelError::Gone { .. }) => {}
                connected => connected?,
            }
        }
        Ok(())
    }

    /// The names of the taps that are plugged in.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn plugged(&self) -> Result<BTreeSet<String>, Error> {
        taps::plugged(&self.net).map_err(failed)
    }

    /// Makes the tap of `port`, whose other end is the descriptors, and with them
    /// it is gone.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn plug_in(
        &self,
        bridge: &Bridge,
        port: &Port,
        queues: QueueCount,
    ) -> Result<Vec<OwnedFd>, Error> {
        let plug_in = || {
            let descriptors = taps::make(&self.namespace, &port.tap(), queues, mtu(bridge))?;
            let link = self.net.add_bridge(BRIDGE)?;
            self.connect(bridge, link)?;
            Ok(descriptors)
        };
        plug_in().map_err(failed)
    }

    /// What in the kernel is not as `bridge` says, a line each.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(super) fn differences(bridge: &Bridge) -> Result<Vec<String>, Error> {
        let Some(live) = Self::find(bridge)? else {
            return Ok(vec!["it is not in the kernel".into()]);
        };
        let mut found = live.compare(bridge).map_err(failed)?;
        found.extend(uplink::differences(bridge, &live.net)?);
        Ok(found)
    }

    fn compare(&self, bridge: &Bridge) -> Result<Vec<String>, KernelError> {
        let links = self.net.links()?;
        let mut found = Vec::new();
        match links.iter().find(|link| link.name == BRIDGE) {
            None => found.push("its bridge is missing".into()),
            Some(link) => found.extend(compare_links(bridge, link, &links)),
        }
        for (setting, value) in settings() {
            let there = sysctl::get(&self.namespace, *setting)?;
            if there != *value {
                found.push(format!("{setting} is {there}, not {value}"));
            }
        }
        let rules = Ruleset::of_bridge(bridge);
        found.extend(rules_compared::compare(
            &self.namespace,
            &model(bridge),
            &rules,
        )?);
        Ok(found)
    }
}

/// The bridge itself and what is on it, but for the uplink.
fn compare_links(bridge: &Bridge, own: &Link, links: &[Link]) -> Vec<String> {
    let mut found = Vec::new();
    if !own.up {
        found.push("its bridge is down".into());
    }
    if own.mtu != u32::from(bridge.mtu) {
        found.push(format!("its MTU is {}, not {}", own.mtu, bridge.mtu));
    }
    let by_name: BTreeMap<&str, &Link> = links.iter().map(|one| (one.name.as_str(), one)).collect();
    for port in bridge.ports().values() {
        let machine = format!("machine '{}' at {}", port.owner, port.mac);
        match by_name.get(port.tap().as_str()) {
            None => found.push(format!("{machine} is not plugged in")),
            Some(link) if !is_on(link, own.index) => {
                found.push(format!("{machine} is not connected"));
            }
            Some(_) => {}
        }
    }
    let known: BTreeSet<String> = bridge.ports().values().map(Port::tap).collect();
    let others = links.iter().filter(|link| {
        link.master == Some(own.index) && link.name != UPLINK && !known.contains(&link.name)
    });
    found.extend(others.map(|link| format!("port {} is not plinth's", link.name)));
    found
}

/// Whether `link` is a port of `bridge` that is up.
fn is_on(link: &Link, bridge: LinkIndex) -> bool {
    link.up && link.master == Some(bridge)
}

/// What the namespace of `bridge` is called: names are one user's, namespaces the
/// whole host's.
pub(super) fn namespace(bridge: &Bridge) -> String {
    format!("{PREFIX}{}", bridge.id)
}

/// Another for a moment, which shows what the kernel makes of rules.
fn model(bridge: &Bridge) -> String {
    format!("{}.check", namespace(bridge))
}

/// The MTU of all links of `bridge`.
pub(super) fn mtu(bridge: &Bridge) -> Mtu {
    Mtu::new(bridge.mtu).expect("what is an MTU of a bridge is one of a link")
}
