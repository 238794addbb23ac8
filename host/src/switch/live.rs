//! The kernel's side of a routed network: a network namespace, with what its
//! [`Plan`] and its [`Ruleset`] say.
//!
//! Everything here can be done again, and from any state in between: what is
//! there stays, what lacks is made, what is too much goes.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use network::plan::Plan;
use network::port::Port;
use network::ruleset::{Ruleset, replacement, transaction};
use network::vpc::Vpc;
use vmm::{Mtu, QueueCount};

use crate::error::Error;

use super::cable;
use super::kernel::flows::End;
use super::kernel::sysctl::{self, LinkSetting, Links, Sysctl};
use super::kernel::{KernelError, Link, Namespace, Netlink, flows, nft};
use super::outside::Outside;
use super::ways::Ways;
use super::{rules_compared, taps};

/// What the names of namespaces begin with.
pub(super) const PREFIX: &str = "plinth-";

/// Inside a network (EC2, "Network MTU": jumbo frames).
pub const MTU: u16 = 9001;

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
    // But on taps, for the metadata service.
    (Sysctl::Of(Links::All, LinkSetting::DisableIpv6), 1),
    (Sysctl::Of(Links::New, LinkSetting::DisableIpv6), 1),
];

/// Those that this kernel has: it can have been booted without IPv6.
fn settings() -> impl Iterator<Item = (Sysctl<'static>, u32)> {
    let has_ipv6 = sysctl::has_ipv6();
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
    /// also in the networks of peers, those of public addresses that are something
    /// else's, and those with networks that are peers no more.
    fn forget(&self, old: &Vpc, new: &Vpc) -> Result<(), KernelError> {
        let gone = old
            .ports()
            .iter()
            .filter(|(id, _)| !new.ports().contains_key(*id));
        let private: BTreeSet<End> = gone.map(|(_, port)| End::from(port.address)).collect();
        for peering in old.peerings().values().filter(|_| !private.is_empty()) {
            match Namespace::open(&format!("{PREFIX}{}", peering.peer)) {
                Err(KernelError::Gone { .. }) => {}
                peer => flows::forget(&peer?, &private)?,
            }
        }
        let changed = old
            .associations()
            .filter(|(_, holder)| new.public_address_of(holder) != old.public_address_of(holder));
        let public = changed.map(|(address, _)| address);
        let strangers = old.peerings().values();
        let strangers = strangers.filter(|peering| new.peering(peering.id).is_none());
        let theirs = strangers.flat_map(|one| (0..).map_while(|number| one.cidr.nth(number)));
        let ends = public.chain(theirs).map(End::from);
        let ends: BTreeSet<End> = ends.chain(private).collect();
        match ends.is_empty() {
            true => Ok(()),
            false => flows::forget(&self.namespace, &ends),
        }
    }

    /// Settings, cables, and where packets go.
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
        cable::connect(&plan, &self.net)?;
        Ways::of(&self.namespace, &self.net, vpc, &plan)?.arrange()
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
        vpc: &Vpc,
        port: &Port,
        queues: QueueCount,
    ) -> Result<Vec<OwnedFd>, Error> {
        let name = port.tap();
        let mtu = Mtu::new(MTU).expect("Ethernet has it");
        let plug_in = || {
            let descriptors = taps::make(&self.namespace, &name, queues, mtu)?;
            self.connect(vpc, &name)?;
            Ok(descriptors)
        };
        plug_in().map_err(failed)
    }

    fn connect(&self, vpc: &Vpc, tap: &str) -> Result<(), KernelError> {
        // The router answers for all at once, not after up to 0.8 s.
        let delay = Sysctl::Of(Links::One(tap), LinkSetting::ProxyDelay);
        sysctl::set(&self.namespace, &[(delay, 0)])?;
        let Some(link) = self.net.link(tap)? else {
            return Ok(());
        };
        self.net.set_up(link.index)?;
        let link = Link { up: true, ..link };
        Ways::of_port(&self.namespace, &self.net, vpc, &Plan::of(vpc), link).connect()
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
        let mut found = Ways::of(&self.namespace, &self.net, vpc, &plan)?.compare()?;
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
