//! What is done to switches: stored, and made in the kernel.
//!
//! A change is computed and vetted first, then stored, then made. If the kernel
//! refuses it, what was stored before is stored again and made anew; if this
//! process is killed in between, whoever comes next makes what is stored.

use std::collections::BTreeSet;
use std::mem;

use network::bridge::Bridge;
use network::bridge::uplink::Uplink;
use network::cidr::Cidr;
use network::id::{Id, OfPort};
use network::name::Name;
use network::refused::Refused;
use network::vpc::Vpc;

use crate::error::Error;

use super::directory::{Switch, Switches};
use super::record::{Kind, Record};
use super::{peering, side, uplink};

/// A new routed network.
///
/// # Errors
/// The name is taken, the addresses will not do, or the host cannot.
pub fn create_vpc(switches: &Switches, name: Name, cidr: Cidr) -> Result<Vpc, Error> {
    let vpc = Vpc::new(cidr).map_err(refused)?;
    create(switches, name, Kind::Vpc(vpc.clone()))?;
    Ok(vpc)
}

/// A new bridge; without `mtu` with the usual one.
///
/// # Errors
/// The name or the uplink is taken, the MTU or the uplink will not do, or the host
/// cannot.
pub fn create_bridge(
    switches: &Switches,
    name: Name,
    uplink: Option<Uplink>,
    mtu: Option<u16>,
) -> Result<Bridge, Error> {
    let bridge = Bridge::new(uplink, mtu).map_err(refused)?;
    if let Some(uplink) = &bridge.uplink {
        vet_uplink(switches, uplink)?;
    }
    create(switches, name, Kind::Bridge(bridge.clone()))?;
    Ok(bridge)
}

/// Whether no other switch has `uplink`. Of two that are made at the same moment,
/// the kernel refuses one.
fn vet_uplink(switches: &Switches, uplink: &Uplink) -> Result<(), Error> {
    if uplink::is_shared(uplink)? {
        return Ok(());
    }
    for name in switches.names()? {
        // One that is damaged is told of elsewhere.
        let Ok(record) = switches.read(&name) else {
            continue;
        };
        let Kind::Bridge(other) = record.kind else {
            continue;
        };
        if other.uplink.is_some_and(|other| uplink.excludes(&other)) {
            return Err(Error::configuration(format!(
                "the uplink {uplink} is that of switch '{name}'"
            ))
            .remedy(format!("another uplink, or plinth switch delete {name}")));
        }
    }
    Ok(())
}

fn create(switches: &Switches, name: Name, kind: Kind) -> Result<(), Error> {
    let switch = switches.create(name, Record { kind })?;
    let kind = &switch.record.kind;
    if let Err(error) = side::bring_up(kind) {
        // Half of it is of no use; why it could not be made is what counts.
        let _ = side::remove(kind);
        let _ = switch.forget();
        return Err(error);
    }
    switch.finish();
    Ok(())
}

/// Changes the network of the switch `name`.
///
/// # Errors
/// There is no such switch, it is no network, which refuses, or the host cannot;
/// everything is as it was.
pub fn change<T>(
    switches: &Switches,
    name: &Name,
    change: impl FnOnce(&mut Vpc) -> Result<T, Refused>,
) -> Result<T, Error> {
    let mut switch = switches.open(name)?;
    switch.record.vpc(name)?;
    let is_new = up_to_date(&mut switch)?;
    let value = commit(&mut switch, change)?;
    if is_new {
        peering::make_others(switches, switch);
    }
    Ok(value)
}

/// Changes the network of a switch that is held, and in the kernel.
///
/// # Errors
/// As for [`change`].
pub(super) fn commit<T>(
    switch: &mut Switch,
    change: impl FnOnce(&mut Vpc) -> Result<T, Refused>,
) -> Result<T, Error> {
    let mut new = switch.record.vpc(&switch.name)?.clone();
    let value = change(&mut new).map_err(refused)?;
    replace(switch, Kind::Vpc(new))?;
    Ok(value)
}

/// Changes the bridge of a switch that is held, and in the kernel.
///
/// # Errors
/// It is no bridge, which refuses, or the host cannot; everything is as it was.
pub(super) fn commit_bridge<T>(
    switch: &mut Switch,
    change: impl FnOnce(&mut Bridge) -> Result<T, Refused>,
) -> Result<T, Error> {
    let mut new = switch.record.bridge(&switch.name)?.clone();
    let value = change(&mut new).map_err(refused)?;
    replace(switch, Kind::Bridge(new))?;
    Ok(value)
}

/// Stores `new` in the place of what the switch is, and makes it.
fn replace(switch: &mut Switch, new: Kind) -> Result<(), Error> {
    switch.begin()?;
    let old = store(switch, new)?;
    if let Err(error) = side::change(&old, &switch.record.kind) {
        // Why it could not be made is what counts. What is not put right here is by
        // the next.
        let restored = side::abandon(&switch.record.kind, &old)
            .and_then(|()| store(switch, old))
            .and_then(|_| side::make(&switch.record.kind));
        if restored.is_ok() {
            switch.finish();
        }
        return Err(error);
    }
    switch.finish();
    Ok(())
}

/// Makes the kernel's side of a switch if it is not there, and takes the ports
/// away whose machines are gone. Returns whether it was not there.
///
/// # Errors
/// The host cannot.
pub(super) fn up_to_date(switch: &mut Switch) -> Result<bool, Error> {
    let is_new = side::bring_up(&switch.record.kind)?;
    if switch.is_pending() {
        peering::remove_halves(switch)?;
        side::make(&switch.record.kind)?;
        switch.finish();
    }
    let plugged = side::plugged(&switch.record.kind)?;
    clear(switch, &plugged.unwrap_or_default())?;
    Ok(is_new)
}

/// Takes away the ports whose machines are gone: those without a tap.
fn clear(switch: &mut Switch, plugged: &BTreeSet<String>) -> Result<(), Error> {
    let gone = unplugged(&switch.record.kind, plugged);
    if gone.is_empty() {
        return Ok(());
    }
    let mut new = switch.record.kind.clone();
    new.remove_ports(&gone).map_err(refused)?;
    replace(switch, new)
}

fn unplugged(kind: &Kind, plugged: &BTreeSet<String>) -> Vec<Id<OfPort>> {
    let ports = kind.ports().into_iter();
    let gone = ports.filter(|port| !plugged.contains(&port.tap));
    gone.map(|port| port.id).collect()
}

/// What the switch `name` is, without machines that are gone. Who may not look into
/// the kernel is told what is stored.
///
/// # Errors
/// There is no such switch, or it is damaged.
pub fn current(switches: &Switches, name: &Name) -> Result<Record, Error> {
    let mut switch = switches.open(name)?;
    match side::plugged(&switch.record.kind) {
        Ok(Some(plugged)) => clear(&mut switch, &plugged)?,
        // Nobody has been plugged in since the host booted.
        Ok(None) => {
            let kind = &mut switch.record.kind;
            let gone = unplugged(kind, &BTreeSet::new());
            kind.remove_ports(&gone).map_err(refused)?;
        }
        Err(_) => {}
    }
    Ok(switch.record)
}

/// What has a switch's name: what it is, or why it is damaged.
pub type Listed = (Name, Result<Record, Error>);

/// Every switch by its name, in the order of the names: as [`current`] has it, or
/// why it is damaged, which does not hide the others.
///
/// # Errors
/// The directory cannot be read, or is open to other users.
pub fn all(switches: &Switches) -> Result<Vec<Listed>, Error> {
    let names = switches.names()?.into_iter();
    let all = names.map(|name| {
        let record = current(switches, &name);
        (name, record)
    });
    Ok(all.collect())
}

/// Makes the switch `name` in the kernel as it is stored.
///
/// # Errors
/// There is none, or the host cannot.
pub fn up(switches: &Switches, name: &Name) -> Result<(), Error> {
    let mut switch = switches.open(name)?;
    up_to_date(&mut switch)?;
    side::make(&switch.record.kind)?;
    peering::make_others(switches, switch);
    Ok(())
}

/// What in the kernel is not as it is stored, a line each.
///
/// # Errors
/// There is no such switch, or the host cannot say.
pub fn check(switches: &Switches, name: &Name) -> Result<Vec<String>, Error> {
    let switch = switches.open(name)?;
    side::differences(&switch.record.kind)
}

/// Removes a switch that nobody is plugged into.
///
/// # Errors
/// There is none, it is in use, or the host cannot.
pub fn delete(switches: &Switches, name: &Name) -> Result<(), Error> {
    let switch = switches.open(name)?;
    let kind = &switch.record.kind;
    let plugged = side::plugged(kind)?.unwrap_or_default();
    let ports = kind.ports();
    if let Some(port) = ports.iter().find(|port| plugged.contains(&port.tap)) {
        return Err(Error::configuration(format!(
            "switch '{name}' is in use by machine '{}', at {}",
            port.owner, port.address
        ))
        .remedy(format!("ending it first: plinth vm stop {}", port.owner)));
    }
    if let Some((peering, other)) = peering::first_whole(&switch) {
        let other = &other.peer_name;
        return Err(Error::configuration(format!(
            "switch '{name}' is in use by peering '{peering}' with network '{other}'"
        ))
        .remedy(format!("plinth peering delete {name}/{peering}")));
    }
    side::remove(kind)?;
    switch.forget()
}

/// Stores what the switch is from now on; returns what it was.
pub(super) fn store(switch: &mut Switch, kind: Kind) -> Result<Kind, Error> {
    let record = Record { kind };
    switch.store(&record)?;
    Ok(mem::replace(&mut switch.record, record).kind)
}

pub(super) fn refused(error: Refused) -> Error {
    Error::configuration(error.to_string())
}
