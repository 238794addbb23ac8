//! Who needs which snapshots: volumes that are still being loaded, and
//! snapshots under way.

use std::collections::HashSet;
use std::fs::File;
use std::io;

use ::volume::id::SnapshotId;
use ::volume::map::BlockMap;

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
        let mut needs = Self {
            users: Vec::new(),
            under_way: Vec::new(),
        };
        for (name, volume) in volumes.all()? {
            let added = volume.and_then(|volume| needs.add(volume));
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
        for under_way in &self.under_way {
            let taken = taken(under_way, &mut chunks);
            taken.map_err(|error| {
                let what = format!("snapshot {} under way cannot be read", under_way.snapshot);
                Error::host(what).because(error)
            })?;
        }
        Ok(chunks)
    }

    fn add(&mut self, volume: Volume) -> Result<(), Error> {
        let unread = |error: io::Error| Error::host("its files cannot be read").because(error);
        let name = volume.name().clone();
        let boot = boot_id::read().map_err(unread)?;
        let mut under_way = volume.pending_snapshots()?;
        under_way.retain(|pending| pending.is_under_way(boot));
        if let Some(origin) = volume.record().origin
            && is_loading(&volume)?
        {
            let user = format!("volume '{name}', which is being loaded from it");
            self.users.push((origin, user));
        }
        for one in under_way {
            let header = one.header.as_ref();
            let parent = header.and_then(|header| header.plan.parent);
            let parent = parent.map(|(parent, _)| parent);
            for needed in [parent, volume.record().origin].into_iter().flatten() {
                let user = format!(
                    "snapshot {} of volume '{name}', which is being stored",
                    one.snapshot
                );
                self.users.push((needed, user));
            }
            self.under_way.push(one);
        }
        Ok(())
    }
}

/// May blocks of `volume` still be in its origin alone? A volume that is
/// attached says so until it is closed.
fn is_loading(volume: &Volume) -> Result<bool, Error> {
    let map = File::open(volume.map()).map(BlockMap::read);
    match map {
        Ok(Ok(map)) => Ok(!map.is_complete()),
        Ok(Err(error)) => Err(Error::host("its map cannot be read").because(error)),
        Err(error) => Err(Error::host("its map cannot be read").because(error)),
    }
}

fn taken(under_way: &PendingSnapshot, chunks: &mut HashSet<Digest>) -> Result<(), Error> {
    if !under_way.freeze().exists() {
        // Completed in the meantime.
        return Ok(());
    }
    let view = under_way.view()?;
    let unread = |error| Error::host("what was stored of it is not known").because(error);
    for block in 0..view.moment().size.blocks() {
        chunks.extend(view.taken(block).map_err(unread)?.map(Digest::from_bytes));
    }
    Ok(())
}
