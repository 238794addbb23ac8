//! The kernel's side of an uplink: a link in the bridge's namespace that is one of
//! its ports, and what is at its other end in the host's, which is the one that
//! the calling thread is in.
//!
//! A bridge of the host, or of Open vSwitch, has a port more: the other end of a
//! cable. All frames of another interface are passed through, in its mode that
//! keeps MAC addresses as they are (macvlan, `passthru`), so that the interface
//! stays where it is, and is the host's again when the bridge is gone. A tunnel's
//! packets cross the host's network, and its frames are the bridge's.

use std::net::IpAddr;

use network::bridge::Bridge;
use network::bridge::link_name::LinkName;
use network::bridge::uplink::{self, Uplink};
use network::ruleset::UPLINK;

use crate::error::Error;

use super::kernel::{KernelError, Link, LinkIndex, LinkKind, Namespace, Netlink, Vxlan};
use super::live::failed;
use super::live_bridge::mtu;
use super::open_vswitch::Database;

/// What the names of the host's ends begin with.
const PREFIX: &str = "plinth-";

/// Makes the uplink of `bridge`, if it has one, a port of `link` in the namespace
/// `inside`, which `net` is connected to.
///
/// # Errors
/// What it leads to is not there, is in use, or does not do; or the kernel refuses.
pub(super) fn make(
    bridge: &Bridge,
    link: LinkIndex,
    inside: &Namespace,
    net: &Netlink,
) -> Result<(), Error> {
    let Some(uplink) = &bridge.uplink else {
        return Ok(());
    };
    let host = Host::open()?;
    let is_there = net.link(UPLINK).map_err(failed)?.is_some();
    if !is_there {
        host.vet(uplink, bridge.mtu)?;
    }
    let made = match host.make(bridge, uplink, inside, net) {
        // It leads to what was there before.
        Err(KernelError::Taken { .. }) if is_there => {
            take_away(net).and_then(|()| host.make(bridge, uplink, inside, net))
        }
        made => made,
    };
    let end = made.map_err(failed)?;
    net.set_mtu(end, mtu(bridge))
        .and_then(|()| net.set_master(end, Some(link)))
        .and_then(|()| net.set_up(end))
        .map_err(failed)?;
    match uplink {
        Uplink::OpenVswitch(name) => {
            let (port, id) = (other_end(bridge), bridge.id.to_string());
            Database::of_this_host()?.add_port(name, &port, &id)
        }
        _ => Ok(()),
    }
}

/// Takes the uplink of `bridge` away: its port, in the namespace that `net` is
/// connected to if it is still there, and the other end.
///
/// # Errors
/// The privilege is missing, or Open vSwitch keeps the port.
pub(super) fn remove(bridge: &Bridge, net: Option<&Netlink>) -> Result<(), Error> {
    net.map_or(Ok(()), take_away).map_err(failed)?;
    match &bridge.uplink {
        Some(Uplink::OpenVswitch(name)) => match Database::if_there()? {
            Some(database) => database.remove_port(name, &other_end(bridge)),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn take_away(net: &Netlink) -> Result<(), KernelError> {
    match net.link(UPLINK)? {
        Some(link) => net.delete_link(link.index),
        None => Ok(()),
    }
}

/// Where the uplink of `bridge`, in the namespace that `net` is connected to, is
/// not as it should be, a line each.
///
/// # Errors
/// The kernel does not tell.
pub(super) fn differences(bridge: &Bridge, net: &Netlink) -> Result<Vec<String>, Error> {
    let there = net.link(UPLINK).map_err(failed)?;
    let (uplink, link) = match (&bridge.uplink, there) {
        (None, None) => return Ok(Vec::new()),
        (None, Some(_)) => return Ok(vec!["its uplink is not plinth's".into()]),
        (Some(_), None) => return Ok(vec!["its uplink is missing".into()]),
        (Some(uplink), Some(link)) => (uplink, link),
    };
    let mut found = Vec::new();
    if !link.up || link.master.is_none() {
        found.push("its uplink is not connected".into());
    }
    if link.mtu != u32::from(bridge.mtu) {
        found.push(format!(
            "the MTU of its uplink is {}, not {}",
            link.mtu, bridge.mtu
        ));
    }
    let host = Host::open()?;
    if !host.leads_to(bridge, uplink, &link, net).map_err(failed)? {
        found.push(format!("its uplink is not {uplink}"));
    }
    if let Uplink::OpenVswitch(name) = uplink {
        let database = Database::of_this_host()?;
        if !database.has_port(name, &other_end(bridge))? {
            found.push(format!("bridge '{name}' of Open vSwitch lacks its port"));
        }
    }
    Ok(found)
}

/// Whether several bridges can have `uplink`: each has a port of its own there.
///
/// # Errors
/// The kernel does not tell.
pub(super) fn is_shared(uplink: &Uplink) -> Result<bool, Error> {
    let Uplink::Interface(name) = uplink else {
        return Ok(matches!(uplink, Uplink::OpenVswitch(_)));
    };
    let link = Host::open()?.net.link(name.as_str()).map_err(failed)?;
    Ok(link.is_some_and(|link| link.kind == LinkKind::Bridge))
}

/// What the end of the cable is called in the host's namespace.
fn other_end(bridge: &Bridge) -> String {
    format!("{PREFIX}{}", &bridge.id.digits()[..8])
}

/// The network that uplinks lead to.
struct Host {
    namespace: Namespace,
    net: Netlink,
}

impl Host {
    fn open() -> Result<Self, Error> {
        let namespace = Namespace::current().map_err(failed)?;
        let net = Netlink::in_namespace(&namespace).map_err(failed)?;
        Ok(Self { namespace, net })
    }

    /// Makes the link that is to be a port, and what is behind it.
    fn make(
        &self,
        bridge: &Bridge,
        uplink: &Uplink,
        inside: &Namespace,
        net: &Netlink,
    ) -> Result<LinkIndex, KernelError> {
        let cable = || {
            let name = other_end(bridge);
            let end = net.add_veth(UPLINK, &name, &self.namespace)?;
            let other = self.existing(&name)?.index;
            self.net.set_mtu(other, mtu(bridge))?;
            self.net.set_up(other)?;
            Ok((end, other))
        };
        match uplink {
            Uplink::Interface(name) => {
                let lower = self.existing(name.as_str())?;
                if lower.kind == LinkKind::Bridge {
                    let (end, other) = cable()?;
                    self.net.set_master(other, Some(lower.index))?;
                    return Ok(end);
                }
                self.net.set_up(lower.index)?;
                self.net.add_passthrough(UPLINK, lower.index, inside)
            }
            Uplink::Vxlan(wanted) => {
                let end = self.net.add_vxlan(UPLINK, &tunnel(wanted), inside)?;
                net.set_floods(end, &wanted.remotes)?;
                Ok(end)
            }
            Uplink::OpenVswitch(_) => cable().map(|(end, _)| end),
        }
    }

    /// Whether `link` is the uplink that is asked for.
    fn leads_to(
        &self,
        bridge: &Bridge,
        uplink: &Uplink,
        link: &Link,
        net: &Netlink,
    ) -> Result<bool, KernelError> {
        let cable = |master: Option<LinkIndex>| {
            let other = self.net.link(&other_end(bridge))?;
            let is_other = |other: Link| {
                let is_end =
                    matches!(link.kind, LinkKind::Veth { peer, .. } if peer == Some(other.index));
                is_end && other.up && (master.is_none() || other.master == master)
            };
            Ok(other.is_some_and(is_other))
        };
        match uplink {
            Uplink::Interface(name) => match self.net.link(name.as_str())? {
                None => Ok(false),
                Some(lower) if lower.kind == LinkKind::Bridge => cable(Some(lower.index)),
                Some(wanted) => Ok(matches!(
                    link.kind,
                    LinkKind::Passthrough { lower, .. } if lower == Some(wanted.index)
                )),
            },
            Uplink::Vxlan(wanted) => {
                let is_tunnel =
                    matches!(&link.kind, LinkKind::Vxlan { tunnel: t, .. } if *t == tunnel(wanted));
                Ok(is_tunnel && net.floods(link.index)? == wanted.remotes)
            }
            Uplink::OpenVswitch(_) => cable(None),
        }
    }

    fn existing(&self, name: &str) -> Result<Link, KernelError> {
        let there = self.net.link(name)?;
        there.ok_or_else(|| KernelError::Gone {
            task: format!("{}: '{name}' cannot be an uplink", self.namespace),
        })
    }

    /// Whether `uplink` can carry frames of `mtu`, and nobody is cut off by it.
    fn vet(&self, uplink: &Uplink, mtu: u16) -> Result<(), Error> {
        match uplink {
            Uplink::Interface(name) => self.vet_interface(name, mtu),
            Uplink::Vxlan(tunnel) => self.vet_tunnel(tunnel, mtu, uplink.overhead()),
            Uplink::OpenVswitch(name) => Database::of_this_host()?.vet_bridge(name),
        }
    }

    fn vet_interface(&self, name: &LinkName, mtu: u16) -> Result<(), Error> {
        let link = self.net.link(name.as_str()).map_err(failed)?;
        let link = link.ok_or_else(|| {
            Error::configuration(format!("this host has no interface '{name}'"))
                .remedy("one that ip link lists")
        })?;
        wide_enough(&link, mtu, 0)?;
        if link.kind == LinkKind::Bridge {
            return Ok(());
        }
        if link.index == LinkIndex::LOOPBACK {
            return Err(
                Error::configuration(format!("'{name}' is the loopback interface"))
                    .remedy("an interface that leads to other hosts"),
            );
        }
        if let Some(master) = link.master {
            let master = self.net.link_at(master).map_err(failed)?;
            let master = master.map_or_else(|| "another".into(), |link| link.name);
            return Err(Error::configuration(format!(
                "interface '{name}' is a port of '{master}'"
            ))
            .remedy(format!("that as the uplink: --uplink interface={master}")));
        }
        let addresses = self.net.addresses().map_err(failed)?.into_iter();
        let mut own = addresses.filter(|address| {
            let local =
                matches!(address.prefix.addr(), IpAddr::V6(v6) if v6.is_unicast_link_local());
            address.link == link.index && !local
        });
        match own.next() {
            None => Ok(()),
            Some(address) => Err(Error::configuration(format!(
                "interface '{name}' has the address {} of this host, which would be cut off",
                address.prefix
            ))
            .remedy(format!(
                "an interface without addresses, or a bridge of the host that has '{name}' as its \
                 port, and its addresses"
            ))),
        }
    }

    fn vet_tunnel(&self, tunnel: &uplink::Vxlan, mtu: u16, overhead: u16) -> Result<(), Error> {
        let addresses = self.net.addresses().map_err(failed)?;
        let mut own = addresses.iter();
        let own = own.find(|address| address.prefix.addr() == tunnel.local);
        let own = own.ok_or_else(|| {
            Error::configuration(format!(
                "no interface of this host has {}, the tunnel's own end",
                tunnel.local
            ))
            .remedy("local=ADDRESS with an address that ip address lists")
        })?;
        match self.net.link_at(own.link).map_err(failed)? {
            Some(link) => wide_enough(&link, mtu, overhead),
            None => Ok(()),
        }
    }
}

/// The tunnel in the kernel's terms: where it sends frames for everybody is told
/// for each end.
fn tunnel(wanted: &uplink::Vxlan) -> Vxlan {
    Vxlan {
        id: wanted.vni,
        local: wanted.local,
        remote: None,
        port: wanted.port,
        learning: true,
    }
}

/// Whether `link` carries packets of `mtu`, and `overhead` before each.
fn wide_enough(link: &Link, mtu: u16, overhead: u16) -> Result<(), Error> {
    let room = link.mtu.saturating_sub(overhead.into());
    if room >= u32::from(mtu) {
        return Ok(());
    }
    Err(Error::configuration(format!(
        "interface '{}' has an MTU of {}, too small for a bridge with one of {mtu}",
        link.name, link.mtu
    ))
    .remedy(format!("--mtu {room}, or a larger one of the interface")))
}
