//! The peerings of a network.

use std::collections::BTreeMap;

use super::{Vpc, known, untaken};
use crate::id::{Id, OfPeering};
use crate::name::Name;
use crate::peering::{Cable, End, Peering};
use crate::refused::Refused;

const WHAT: &str = "peering";

impl Vpc {
    /// All peerings, by name.
    pub fn peerings(&self) -> &BTreeMap<Name, Peering> {
        &self.peerings
    }

    /// The peering `id` and its name, if there is one.
    pub fn peering(&self, id: Id<OfPeering>) -> Option<(&Name, &Peering)> {
        let mut peerings = self.peerings.iter();
        peerings.find(|(_, peering)| peering.id == id)
    }

    /// The id of the peering `name`.
    ///
    /// # Errors
    /// There is none.
    pub fn peering_named(&self, name: &Name) -> Result<Id<OfPeering>, Refused> {
        known(WHAT, &self.peerings, name)?;
        Ok(self.peerings[name].id)
    }

    /// Takes a peering away. Routes to it then lead nowhere.
    ///
    /// # Errors
    /// There is none.
    pub fn remove_peering(&mut self, name: &Name) -> Result<Peering, Refused> {
        known(WHAT, &self.peerings, name)?;
        let unknown = || Refused::Unknown {
            what: WHAT,
            name: name.clone(),
            there: Vec::new(),
        };
        self.peerings.remove(name).ok_or_else(unknown)
    }

    /// Whether a peering with `other`, which is called `other_name`, can be.
    fn check_peering(&self, name: &Name, other: &Self, other_name: &Name) -> Result<(), Refused> {
        untaken(WHAT, &self.peerings, name)?;
        let mut peerings = self.peerings.iter();
        if let Some((there, _)) = peerings.find(|(_, there)| there.peer == other.id) {
            return Err(Refused::Peered {
                peer: other_name.clone(),
                by: there.clone(),
            });
        }
        if self.cidr.overlaps(other.cidr) {
            return Err(Refused::PeersOverlap {
                own: self.cidr,
                peer: other_name.clone(),
                theirs: other.cidr,
            });
        }
        Ok(())
    }
}

/// A peering `name` of two networks, which are called by their names.
///
/// # Errors
/// They are the same, or have one; one of them has another of the name; or an address
/// is in both.
pub fn peer(
    name: &Name,
    (first, first_name): (&mut Vpc, &Name),
    (second, second_name): (&mut Vpc, &Name),
) -> Result<Id<OfPeering>, Refused> {
    first.check_peering(name, second, second_name)?;
    second.check_peering(name, first, first_name)?;
    let peerings = first.peerings.values().chain(second.peerings.values());
    let taken: Vec<Cable> = peerings.map(|peering| peering.cable).collect();
    let cable = Cable::free(&taken).ok_or_else(|| Refused::Full(name.to_string()))?;
    let id = Id::random()?;
    let seen_from = |end: End, peer: &Vpc, peer_name: &Name| Peering {
        id,
        peer: peer.id,
        peer_name: peer_name.clone(),
        cidr: peer.cidr,
        cable,
        end,
    };
    let ends = [
        seen_from(End::Lower, second, second_name),
        seen_from(End::Upper, first, first_name),
    ];
    for (vpc, end) in [first, second].into_iter().zip(ends) {
        vpc.peerings.insert(name.clone(), end);
    }
    Ok(id)
}
