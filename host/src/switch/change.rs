//! What is done to switches: stored, and made in the kernel.
//!
//! A change is computed and vetted first, then stored, then made. If the kernel
//! refuses it, what was stored before is stored again and made anew; if this
//! process is killed in between, whoever comes next makes what is stored.

use network::cidr::Cidr;
use network::name::Name;
use network::refused::Refused;
use network::vpc::Vpc;

use crate::error::Error;

use super::directory::{Switch, Switches};
use super::live::Live;
use super::record::{Kind, Record};

/// A new routed network.
///
/// # Errors
/// The name is taken, the addresses will not do, or the host cannot.
pub fn create_vpc(switches: &Switches, name: Name, cidr: Cidr) -> Result<Vpc, Error> {
    let vpc = Vpc::new(cidr).map_err(refused)?;
    let kind = Kind::Vpc(vpc.clone());
    let switch = switches.create(name, Record { kind })?;
    if let Err(error) = Live::bring_up(&vpc) {
        // Half of it is of no use; why it could not be made is what counts.
        let _ = Live::remove(&vpc);
        let _ = switch.forget();
        return Err(error);
    }
    switch.finish();
    Ok(vpc)
}

/// Changes the network of the switch `name`.
///
/// # Errors
/// There is no such switch, the network refuses, or the host cannot; everything is
/// as it was.
pub fn change<T>(
    switches: &Switches,
    name: &Name,
    change: impl FnOnce(&mut Vpc) -> Result<T, Refused>,
) -> Result<T, Error> {
    let mut switch = switches.open(name)?;
    let live = up_to_date(&mut switch)?;
    commit(&mut switch, &live, change)
}

/// Changes the network of a switch that is held, and whose kernel side is `live`.
///
/// # Errors
/// As for [`change`].
pub(super) fn commit<T>(
    switch: &mut Switch,
    live: &Live,
    change: impl FnOnce(&mut Vpc) -> Result<T, Refused>,
) -> Result<T, Error> {
    let old = switch.record.vpc().clone();
    let mut new = old.clone();
    let value = change(&mut new).map_err(refused)?;
    switch.begin()?;
    store(switch, new)?;
    if let Err(error) = live.change(&old, switch.record.vpc()) {
        // Why it could not be made is what counts. What is not put right here is by
        // the next.
        let restored = live
            .abandon(switch.record.vpc(), &old)
            .and_then(|()| store(switch, old.clone()))
            .and_then(|()| live.make(&old));
        if restored.is_ok() {
            switch.finish();
        }
        return Err(error);
    }
    switch.finish();
    Ok(value)
}

/// The kernel side of a switch, made if it is not there, and the ports whose
/// machines are gone taken away.
///
/// # Errors
/// The host cannot.
pub(super) fn up_to_date(switch: &mut Switch) -> Result<Live, Error> {
    let live = Live::bring_up(switch.record.vpc())?;
    if switch.is_pending() {
        live.make(switch.record.vpc())?;
        switch.finish();
    }
    clear(switch, &live)?;
    Ok(live)
}

/// Takes away the ports whose machines are gone.
fn clear(switch: &mut Switch, live: &Live) -> Result<(), Error> {
    let plugged = live.plugged()?;
    let ports = switch.record.vpc().ports().values();
    let gone = ports.filter(|port| !plugged.contains(&port.tap()));
    let gone: Vec<_> = gone.map(|port| port.id).collect();
    if gone.is_empty() {
        return Ok(());
    }
    commit(switch, live, |vpc| {
        gone.iter()
            .try_for_each(|id| vpc.remove_port(*id).map(drop))
    })
}

/// What the switch `name` is, without machines that are gone. Who may not look into
/// the kernel is told what is stored.
///
/// # Errors
/// There is no such switch, or it is damaged.
pub fn current(switches: &Switches, name: &Name) -> Result<Record, Error> {
    let mut switch = switches.open(name)?;
    match Live::find(switch.record.vpc()) {
        Ok(Some(live)) => clear(&mut switch, &live)?,
        // Nobody has been plugged in since the host booted.
        Ok(None) => {
            let Kind::Vpc(vpc) = &mut switch.record.kind;
            let ports: Vec<_> = vpc.ports().keys().copied().collect();
            let gone = ports
                .into_iter()
                .try_for_each(|id| vpc.remove_port(id).map(drop));
            gone.map_err(refused)?;
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
    let live = up_to_date(&mut switch)?;
    live.make(switch.record.vpc())
}

/// What in the kernel is not as it is stored, a line each.
///
/// # Errors
/// There is no such switch, or the host cannot say.
pub fn check(switches: &Switches, name: &Name) -> Result<Vec<String>, Error> {
    let switch = switches.open(name)?;
    Live::differences(switch.record.vpc())
}

/// Removes a switch that nobody is plugged into.
///
/// # Errors
/// There is none, it is in use, or the host cannot.
pub fn delete(switches: &Switches, name: &Name) -> Result<(), Error> {
    let switch = switches.open(name)?;
    if let Some(live) = Live::find(switch.record.vpc())? {
        let plugged = live.plugged()?;
        let mut ports = switch.record.vpc().ports().values();
        if let Some(port) = ports.find(|port| plugged.contains(&port.tap())) {
            return Err(Error::configuration(format!(
                "switch '{name}' is in use by machine '{}', at {}",
                port.owner, port.address
            ))
            .remedy(format!("ending it first: plinth vm stop {}", port.owner)));
        }
    }
    Live::remove(switch.record.vpc())?;
    switch.forget()
}

fn store(switch: &mut Switch, vpc: Vpc) -> Result<(), Error> {
    let kind = Kind::Vpc(vpc);
    let record = Record { kind };
    switch.store(&record)?;
    switch.record = record;
    Ok(())
}

pub(super) fn refused(error: Refused) -> Error {
    Error::configuration(error.to_string())
}
