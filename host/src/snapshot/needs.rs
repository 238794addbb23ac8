//! Who needs which snapshots: volumes that are still being loaded, and
//! snapshots under way.

use std::collections::HashSet;
use std::fs::File;
use std::io;

use ::volume::freeze::Header;
use ::volume::frozen::FrozenView;
use ::volume::id::SnapshotId;
use ::volume::map::BlockMap;

use crate::error::Error;
use crate::volume::directory::{Volume, Volumes};
use crate::volume::under_way::UnderWay;

use super::digest::Digest;

/// What the volumes of this user need.
pub struct Needs {
    /// Snapshots, and by whom each is needed.
    users: Vec<(SnapshotId, String)>,
    under_way: Vec<(Volume, UnderWay)>,
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
        for (volume, under_way) in &self.under_way {
            let taken = taken(volume, under_way, &mut chunks);
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
        let under_way = UnderWay::all(volume.directory()).map_err(unread)?;
        if let Some(origin) = volume.record().origin
            && is_loading(&volume)?
        {
            let user = format!("volume '{name}', which is being loaded from it");
            self.users.push((origin, user));
        }
        for one in under_way {
            let header = File::open(&one.freeze).map_err(unread)?;
            let header = Header::read(&header);
            let header =
                header.map_err(|error| Error::host("its files cannot be read").because(error))?;
            let parent = header.plan.parent.map(|(parent, _)| parent);
            for needed in [parent, volume.record().origin].into_iter().flatten() {
                let user = format!(
                    "snapshot {} of volume '{name}', which is being stored",
                    one.snapshot
                );
                self.users.push((needed, user));
            }
            self.under_way.push((volume.clone(), one));
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

fn taken(volume: &Volume, under_way: &UnderWay, chunks: &mut HashSet<Digest>) -> io::Result<()> {
    let freeze = match File::open(&under_way.freeze) {
        // Completed in the meantime.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        freeze => freeze?,
    };
    let (map, data) = (File::open(volume.map())?, File::open(volume.data())?);
    let view = FrozenView::open(map, data, freeze, File::open(&under_way.kept)?);
    let view = view.map_err(io::Error::other)?;
    for block in 0..view.moment().size.blocks() {
        chunks.extend(view.taken(block)?.map(Digest::from_bytes));
    }
    Ok(())
}
