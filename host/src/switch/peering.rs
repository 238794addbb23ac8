//! Peerings are of two networks, and so in two records: who makes or deletes one holds
//! both switches, locked in the order of their names. A process that is killed in
//! between leaves both to be completed; a peering that is in one record only is half
//! of one, and goes with the next command for that network.

use network::id::{Id, OfPeering};
use network::name::Name;
use network::peering::Peering;
use network::vpc::{Vpc, peer};

use crate::error::Error;

use super::change::{self, refused, store, up_to_date};
use super::directory::{Switch, Switches};
use super::record::Kind;
use super::side;

/// Peers the networks `first` and `second`.
///
/// # Errors
/// There are no such networks, they are the same or have an address in common or are
/// peered, the name is taken, or the host cannot; everything is as it was.
pub fn create(
    switches: &Switches,
    name: &Name,
    first: &Name,
    second: &Name,
) -> Result<Id<OfPeering>, Error> {
    if first == second {
        return Err(
            Error::configuration(format!("'{first}' cannot be peered with itself"))
                .remedy("two networks that plinth vpc list lists"),
        );
    }
    let mut both = open(switches, first, second)?;
    let (mut one, mut other) = (vpc(&both[0])?, vpc(&both[1])?);
    let id = peer(name, (&mut one, first), (&mut other, second)).map_err(refused)?;
    replace(&mut both, [one, other])?;
    Ok(id)
}

/// Deletes the peering `name` of the network `network`, at both ends.
///
/// # Errors
/// There is none, or the host cannot; everything is as it was.
pub fn delete(switches: &Switches, network: &Name, name: &Name) -> Result<(), Error> {
    let record = switches.read(network)?;
    let peering = record.vpc(network)?.peerings().get(name);
    let Some(peering) = peering.filter(|peering| switches.read(&peering.peer_name).is_ok()) else {
        // There is none, or nobody at its other end.
        return change::change(switches, network, |vpc| vpc.remove_peering(name).map(drop));
    };
    let (id, peer_name) = (peering.id, peering.peer_name.clone());
    let mut both = open(switches, network, &peer_name)?;
    let (mut one, mut other) = (vpc(&both[0])?, vpc(&both[1])?);
    one.remove_peering(name).map_err(refused)?;
    let theirs = other.peering(id).map(|(name, _)| name.clone());
    if let Some(name) = theirs {
        other.remove_peering(&name).map_err(refused)?;
    }
    replace(&mut both, [one, other])
}

/// Both switches, locked and in the kernel, in the order in which they are named.
fn open(switches: &Switches, first: &Name, second: &Name) -> Result<[Switch; 2], Error> {
    let mut both = if first < second {
        let one = switches.open(first)?;
        [one, switches.open(second)?]
    } else {
        let other = switches.open(second)?;
        [switches.open(first)?, other]
    };
    for switch in &mut both {
        switch.record.vpc(&switch.name)?;
        up_to_date(switch)?;
    }
    Ok(both)
}

fn vpc(switch: &Switch) -> Result<Vpc, Error> {
    switch.record.vpc(&switch.name).cloned()
}

/// Stores `new` in the place of what both are, and makes it.
fn replace(both: &mut [Switch; 2], new: [Vpc; 2]) -> Result<(), Error> {
    let old = both.each_ref().map(|switch| switch.record.kind.clone());
    both.iter().try_for_each(Switch::begin)?;
    if let Err(error) = make(both, &old, new.map(Kind::Vpc)) {
        // Why it could not be made is what counts. What is not put right here is by
        // the next.
        for (switch, old) in both.iter_mut().zip(old) {
            let restored = store(switch, old).and_then(|_| side::make(&switch.record.kind));
            if restored.is_ok() {
                switch.finish();
            }
        }
        return Err(error);
    }
    both.iter().for_each(Switch::finish);
    Ok(())
}

fn make(both: &mut [Switch; 2], old: &[Kind; 2], new: [Kind; 2]) -> Result<(), Error> {
    for (switch, new) in both.iter_mut().zip(new) {
        store(switch, new)?;
    }
    for (switch, old) in both.iter().zip(old) {
        side::change(old, &switch.record.kind)?;
    }
    Ok(())
}

/// Takes the peerings out of the record of `switch`, which is held, that its peers do
/// not know of.
///
/// # Errors
/// The file system refuses.
pub(super) fn remove_halves(switch: &mut Switch) -> Result<(), Error> {
    let Kind::Vpc(vpc) = &switch.record.kind else {
        return Ok(());
    };
    let mut whole = vpc.clone();
    for (name, peering) in vpc.peerings() {
        if !is_whole(switch, peering) {
            whole.remove_peering(name).map_err(refused)?;
        }
    }
    match whole == *vpc {
        true => Ok(()),
        false => store(switch, Kind::Vpc(whole)).map(drop),
    }
}

/// The first of the peerings of `switch` that is not just half of one.
pub(super) fn first_whole(switch: &Switch) -> Option<(&Name, &Peering)> {
    let Kind::Vpc(vpc) = &switch.record.kind else {
        return None;
    };
    let mut peerings = vpc.peerings().iter();
    peerings.find(|(_, peering)| is_whole(switch, peering))
}

/// Whether the other network knows of it. It does not change that meanwhile: who does
/// holds both. One that is damaged may know of it.
fn is_whole(switch: &Switch, peering: &Peering) -> bool {
    match switch.other(&peering.peer_name) {
        None => false,
        Some(Err(_)) => true,
        Some(Ok(record)) => match &record.kind {
            Kind::Vpc(vpc) => vpc.id == peering.peer && vpc.peering(peering.id).is_some(),
            Kind::Bridge(_) => false,
        },
    }
}

/// Lets go of `switch`, which was made, and has the networks that it is peered with
/// make their ends of the cables. What cannot be made, `plinth switch check` tells.
pub(super) fn make_others(switches: &Switches, switch: Switch) {
    let kind = switch.record.kind.clone();
    // Nobody waits for one switch and holds another.
    drop(switch);
    let Kind::Vpc(vpc) = kind else { return };
    for peering in vpc.peerings().values() {
        let _ = make_other(switches, &peering.peer_name);
    }
}

fn make_other(switches: &Switches, name: &Name) -> Result<(), Error> {
    let mut other = switches.open(name)?;
    if side::plugged(&other.record.kind)?.is_none() {
        return Ok(());
    }
    up_to_date(&mut other)?;
    side::make(&other.record.kind)
}

#[cfg(test)]
mod tests;
