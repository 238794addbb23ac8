//! `plinth store-snapshot`: what plinth runs behind `plinth snapshot create`. It
//! can be run again after an interruption: what was stored is not stored again.

use clap::Args;
use volume::id::SnapshotId;

use crate::error::Error;
use crate::exit::ExitStatus;
use crate::snapshot::create::store;
use crate::snapshot::lock::Adding;
use crate::snapshot::store::Location;
use crate::volume::directory::Volumes;
use crate::volume::root;
use crate::volume::selector::Selector;

use super::Outcome;

/// The niceness of who gets what processors have left (setpriority(2)).
const LEAST_URGENT: i32 = 19;

/// Store a snapshot whose moment has come
#[derive(Debug, Args)]
pub(super) struct StoreSnapshot {
    /// The snapshot's id
    #[arg(long, value_name = "SNAPSHOT")]
    snapshot: SnapshotId,

    /// The volume that it is of
    #[arg(long, value_name = "VOLUME")]
    volume: Selector,

    /// Where to store it
    #[arg(long, value_name = "URL|PATH")]
    store: Location,

    /// What to remember it by
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        allow_hyphen_values = true
    )]
    description: String,
}

impl StoreSnapshot {
    pub(super) fn execute(self) -> Outcome {
        // Guests come first: nobody waits for this. If it cannot be, it is not.
        let _ = rustix::process::nice(LEAST_URGENT);
        let data = root::locate()?;
        let mut volume = Volumes::of_this_user()?.find(&self.volume)?;
        let pending = volume.pending_snapshots()?;
        let pending = pending.into_iter().find(|one| one.id == self.snapshot);
        let pending = pending.ok_or_else(|| {
            Error::configuration(format!(
                "volume '{}' has no snapshot {} that is not stored yet",
                volume.name(),
                self.snapshot
            ))
        })?;
        let opened = self.store.open()?;
        let adding = Adding::wait(&data)?;
        store(
            &mut volume,
            &pending,
            &self.description,
            &*opened,
            &adding,
            &mut |_| {},
        )?;
        Ok(ExitStatus::Success)
    }
}
