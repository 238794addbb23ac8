//! Snapshots that are not in a store yet: their moment has come, and what the
//! volumes held is still with these.

use std::fs::File;
use std::io::Read;

use ::volume::freeze::{Share, Stage};
use ::volume::id::SnapshotId;

use crate::boot_id;
use crate::error::Error;
use crate::volume::directory::{Volume, Volumes};
use crate::volume::freezes::PendingSnapshot;

use super::lock::Collecting;

/// Most bytes that are told of what went wrong.
const TOLD: u64 = 4096;

/// A snapshot that is not stored yet.
#[derive(Debug)]
pub struct UnderWay {
    /// Of which volume.
    pub volume: Volume,
    /// Its files.
    pub pending: PendingSnapshot,
    /// Whether it can still be stored: a block may have been lost for want of
    /// space, or the host have been started anew.
    pub is_whole: bool,
}

/// Blocks on their way into a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Those that are to be read from the volume.
    pub blocks: u32,
    /// Of these, those that are stored.
    pub stored: u32,
}

/// Those of `volumes`. A volume that is damaged has none.
///
/// # Errors
/// The volumes cannot be listed.
pub fn all(volumes: &Volumes) -> Result<Vec<UnderWay>, Error> {
    let boot = boot_id::read().map_err(|error| {
        Error::host("it is not known which snapshots are under way").because(error)
    })?;
    let mut all = Vec::new();
    for volume in volumes
        .all()?
        .into_iter()
        .filter_map(|(_, volume)| volume.ok())
    {
        for pending in volume.pending_snapshots()? {
            let stage = pending.header.as_ref().map(|header| header.stage);
            if let Some(Stage::Begun | Stage::Broken) = stage {
                all.push(UnderWay {
                    volume: volume.clone(),
                    is_whole: pending.is_under_way(boot),
                    pending,
                });
            }
        }
    }
    Ok(all)
}

impl UnderWay {
    /// Which.
    pub fn id(&self) -> SnapshotId {
        self.pending.id
    }

    /// How far it is.
    ///
    /// # Errors
    /// Its files cannot be read, perhaps since it has been stored meanwhile.
    pub fn progress(&self) -> Result<Progress, Error> {
        let unread = |error| {
            let what = format!("snapshot {} under way cannot be read", self.id());
            Error::host(what).because(error)
        };
        let mut view = self.pending.view()?;
        let mut progress = Progress::default();
        for block in 0..view.moment().size.blocks() {
            if view.share(block).map_err(unread)? == Share::Data {
                progress.blocks += 1;
                let taken = view.taken(block).map_err(unread)?;
                progress.stored += u32::from(taken.is_some());
            }
        }
        Ok(progress)
    }

    /// What went wrong when it was to be stored; nothing so far if it is empty.
    pub fn trouble(&self) -> String {
        let mut said = Vec::new();
        // Without a log, nobody said anything.
        let _ = File::open(self.pending.log()).map(|log| log.take(TOLD).read_to_end(&mut said));
        String::from_utf8_lossy(&said).trim().to_owned()
    }

    /// Gives it up. Nobody stores snapshots meanwhile: who stored this one could
    /// complete it all the same.
    pub fn give_up(&self, _lock: &Collecting) {
        self.pending.remove();
    }
}
