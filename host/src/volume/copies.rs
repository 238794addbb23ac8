//! Copies of a volume that are not filled yet: what they hold at first is what
//! the volume held at their moment, which it keeps for them (a freeze, named by
//! the copy's id).
//!
//! A freeze is needed for as long as its copy is there and lacks blocks; that is
//! looked at by whoever opens, lists or deletes the volume, and by whoever filled
//! or deleted the copy. The freeze itself does not say: what is durable of it may
//! be older.

use std::fs::File;
use std::io;

use ::volume::freeze::Stage;
use rustix::fs::fdatasync;

use crate::error::Error;

use super::directory::{Listed, Volume, Volumes};
use super::freezes::{PendingCopy, pending};
use super::name::VolumeName;
use super::new_volume::is_being_made;

/// Copies of a volume that are not filled yet, at a time.
const MOST: usize = 5;

/// A copy that needs what its source keeps for it.
#[derive(Debug)]
pub struct NeededCopy {
    /// What is kept.
    pub pending: PendingCopy,
    /// The copy, unless it is being made, or its record is damaged.
    pub volume: Option<Volume>,
}

impl Volume {
    /// The copies of this volume that are not filled yet. What was kept for
    /// others is removed.
    ///
    /// # Errors
    /// They cannot be looked at.
    pub fn needed_copies(&self) -> Result<Vec<NeededCopy>, Error> {
        needed_copies(&self.volumes(), self.name())
    }

    /// Refuses a volume that has as many copies to be filled as it can have.
    ///
    /// # Errors
    /// It has.
    pub(super) fn expect_room_for_copy(&self) -> Result<(), Error> {
        let copies = self.needed_copies()?;
        if copies.len() < MOST {
            return Ok(());
        }
        Err(self
            .refused(&format!(
                "has {MOST} copies already that are not filled yet"
            ))
            .remedy(remedy(&copies)))
    }

    /// Has the volume that this one is a copy of keep nothing for it that is not
    /// needed any more.
    ///
    /// # Errors
    /// It cannot be looked at; whoever looks at that volume next does it.
    pub fn let_source_go(&self) -> Result<(), Error> {
        match self.source()? {
            Some(source) => source.needed_copies().map(drop),
            None => Ok(()),
        }
    }

    /// The volume that this one is a copy of, if it is still there.
    ///
    /// # Errors
    /// The volumes cannot be looked at.
    pub fn source(&self) -> Result<Option<Self>, Error> {
        match self.record().copy_of {
            Some(id) => self.volumes().with_id(id),
            None => Ok(None),
        }
    }

    /// Refuses a copy that is not filled yet, for what needs all of it.
    ///
    /// # Errors
    /// It lacks blocks.
    pub fn expect_filled(&self) -> Result<(), Error> {
        let Some(source) = self.record().copy_of else {
            return Ok(());
        };
        if self.is_loaded()? {
            return Ok(());
        }
        let source = self.source()?.map_or_else(
            || source.to_string(),
            |source| format!("'{}'", source.name()),
        );
        let percent = self.loaded()?.percent();
        Err(self
            .refused(&format!(
                "is a copy of {source} that is not filled yet: {percent} % of it is there"
            ))
            .remedy(format!(
                "plinth volume load {}, and then the same again",
                self.name()
            )))
    }

    /// Whether no power loss brings back that it lacks blocks.
    fn is_filled_durably(&self) -> Result<bool, Error> {
        if !self.is_loaded()? {
            return Ok(false);
        }
        let synced = File::open(self.map()).and_then(|map| Ok(fdatasync(map)?));
        Ok(synced.is_ok())
    }
}

/// As [`Volume::needed_copies`], also of a volume that is damaged.
fn needed_copies(volumes: &Volumes, name: &VolumeName) -> Result<Vec<NeededCopy>, Error> {
    let unread = |error: io::Error| refused(name, "cannot be looked at").because(error);
    let pending: Vec<PendingCopy> = pending(&volumes.directory(name)).map_err(unread)?;
    if pending.is_empty() {
        return Ok(Vec::new());
    }
    // Nobody gives or takes a name meanwhile.
    let _names = volumes.lock().map_err(unread)?;
    let all = volumes.all()?;
    let mut needed = Vec::new();
    for pending in pending {
        let is_it = |volume: &&Volume| volume.record().id == pending.id;
        let found = all.iter().filter_map(|(_, volume)| volume.as_ref().ok());
        let volume = found.into_iter().find(is_it).cloned();
        let may_be_it = |(other, volume): &Listed| volume.is_err() && other != name;
        let is_needed = match &volume {
            // One that cannot be looked at may need it.
            Some(copy) => !copy.is_filled_durably().unwrap_or(false),
            None => is_being_made(volumes.root(), pending.id) || all.iter().any(may_be_it),
        };
        match is_needed {
            true => needed.push(NeededCopy { pending, volume }),
            false => pending.remove(),
        }
    }
    Ok(needed)
}

/// Refuses to lose what copies of the volume called `name`, which may be damaged,
/// need.
///
/// # Errors
/// They need it.
pub(super) fn expect_no_copies(volumes: &Volumes, name: &VolumeName) -> Result<(), Error> {
    let copies = needed_copies(volumes, name)?;
    if copies.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = copies.iter().map(NeededCopy::name).collect();
    let why = format!(
        "is needed until its copies are filled: {}",
        names.join(", ")
    );
    Err(refused(name, &why).remedy(remedy(&copies)))
}

fn refused(name: &VolumeName, why: &str) -> Error {
    Error::configuration(format!("volume '{name}' {why}"))
}

impl NeededCopy {
    /// Whether its moment has come. One that is being made may not have had it
    /// yet; whoever makes it has `source`, or is told by the machine.
    ///
    /// # Errors
    /// What `source` kept for it is damaged.
    pub(super) fn has_begun(&self, source: &Volume) -> Result<bool, Error> {
        let stage = self.pending.header.as_ref().map(|header| header.stage);
        match (stage, &self.volume) {
            (Some(Stage::Begun), _) => Ok(true),
            (_, None) => Ok(false),
            (_, Some(copy)) => Err(source
                .refused(&format!(
                    "is damaged: what it keeps for its copy '{}' is not whole",
                    copy.name()
                ))
                .remedy(format!("plinth volume delete {}", copy.name()))),
        }
    }

    /// What people call it.
    fn name(&self) -> String {
        match &self.volume {
            Some(copy) => format!("'{}'", copy.name()),
            None => self.pending.id.to_string(),
        }
    }
}

/// How the copies cease to need their source.
fn remedy(copies: &[NeededCopy]) -> String {
    let named = copies.iter().find_map(|copy| copy.volume.as_ref());
    match named.map(Volume::name) {
        Some(name) => format!("plinth volume load {name}; or plinth volume delete {name}"),
        None => {
            "waiting until it is made; or plinth volume list, which says what is damaged".into()
        }
    }
}

/// What `copies` are called, as far as that is known.
pub fn names(copies: &[NeededCopy]) -> Vec<&VolumeName> {
    let volumes = copies.iter().filter_map(|copy| copy.volume.as_ref());
    volumes.map(Volume::name).collect()
}

#[cfg(test)]
mod tests;
