//! Who needs which snapshots: volumes that are still being loaded, and
//! snapshots under way.

use std::collections::HashSet;

use ::volume::id::SnapshotId;

use crate::boot_id;
use crate::error::Error;
use crate::volume::directory::{Volume, Volumes};
use crate::volume::freezes::PendingSnapshot;

use super::digest::Digest;

/// What the volumes of this user need.
pub struct Needs {
    /// Snapshots, and by whom each is needed.
    users: Vec<(SnapshotId, String)>,
    under_way: Vec<PendingSnapshot>,
}

impl Needs {
    /// What `volumes` need at the moment. Nobody must begin to need more: that
    /// is what [`Deleting`](super::lock::Deleting) and
    /// [`Collecting`](super::lock::Collecting) are for.
    ///
    /// # Errors
    /// A volume cannot be looked at: then it is not known.
    pub fn of(volumes: &Volumes) -> Result<Self, Error> {
        let boot = boot_id::read().map_err(|error| {
            Error::host("it is not known which snapshots are under way").because(error)
        })?;
        let mut needs = Self {
            users: Vec::new(),
            under_way: Vec::new(),
        };
        for (name, volume) in volumes.all()? {
            let added = volume.and_then(|volume| needs.add(&volume, boot));
            added.map_err(|error| {
                let what = format!("it is not known which snapshots volume '{name}' needs");
                Error::host(what)
                    .because(error.report())
                    .remedy(format!("plinth volume check {name}, or deleting it"))
            })?;
        }
        Ok(needs)
    }

    /// Who needs snapshot `id`.
    pub fn user(&self, id: SnapshotId) -> Option<String> {
        let mut users = self.users.iter();
        let (_, user) = users.find(|(needed, _)| *needed == id)?;
        Some(user.clone())
    }

    /// The chunks that snapshots under way have stored: their volumes may not
    /// have these blocks any more.
    ///
    /// # Errors
    /// A snapshot under way cannot be read.
    pub fn chunks(&self) -> Result<HashSet<Digest>, Error> {
        let mut chunks = HashSet::new();
        for pending in &self.under_way {
            // Completed in the meantime: its manifest names them.
            if !pending.freeze().exists() {
                continue;
            }
            let view = pending.view()?;
            for block in 0..view.moment().size.blocks() {
                let taken = view.taken(block).map_err(|error| {
                    let what = format!("snapshot {} under way cannot be read", pending.id);
                    Error::host(what).because(error)
                })?;
                chunks.extend(taken.map(Digest::from_bytes));
            }
        }
        Ok(chunks)
    }

    fn add(&mut self, volume: &Volume, boot: [u8; 16]) -> Result<(), Error> {
        let name = volume.name();
        let origin = volume.record().origin;
        if let Some(origin) = origin
            && !volume.is_loaded()?
        {
            let user = format!("volume '{name}', which is being loaded from it");
            self.users.push((origin, user));
        }
        // One that is planned has no moment yet: whoever planned it was killed,
        // or would have the lock.
        let pending = volume.pending_snapshots()?.into_iter();
        for pending in pending.filter(|pending| pending.is_under_way(boot)) {
            let parent = pending
                .header
                .as_ref()
                .and_then(|header| header.plan.parent);
            for needed in parent.map(|(id, _)| id).into_iter().chain(origin) {
                let id = pending.id;
                let user = format!("snapshot {id} of volume '{name}', which is not stored yet");
                self.users.push((needed, user));
            }
            self.under_way.push(pending);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
