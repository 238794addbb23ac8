//! `plinth snapshot delete`: snapshots, and what only they needed.

use std::path::Path;

use clap::Args;
use volume::id::SnapshotId;

use crate::error::Error;
use crate::exit::ExitStatus;
use crate::snapshot::collect::collect;
use crate::snapshot::delete::delete;
use crate::snapshot::lock::{Collecting, Deleting};
use crate::snapshot::needs::Needs;
use crate::snapshot::store::Name;
use crate::snapshot::under_way;
use crate::volume::directory::Volumes;
use crate::volume::root;

use super::super::Outcome;
use super::store_option::StoreOption;

/// Delete snapshots, and free what no other needs
///
/// Any snapshot can be deleted, whichever came before or after it. One that a
/// volume is still being loaded from, or that a snapshot under way builds on, is
/// in use and is not. One that is not stored yet is given up. While another
/// snapshot is being stored the space is not freed; 'plinth snapshot collect'
/// does that later.
///
/// Examples:
///   plinth snapshot delete snap-0123456789abcdef0
///   plinth snapshot delete --keep-chunks snap-0123456789abcdef0
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, visible_alias = "rm")]
pub(super) struct Delete {
    /// The snapshots' ids
    #[arg(value_name = "SNAPSHOT", required = true)]
    snapshots: Vec<SnapshotId>,

    /// Leave freeing the space to a later plinth snapshot collect
    #[arg(long)]
    keep_chunks: bool,

    #[command(flatten)]
    store: StoreOption,
}

impl Delete {
    pub(super) fn execute(self) -> Outcome {
        let data = root::locate()?;
        let store = self.store.open(&data)?;
        let volumes = Volumes::at(&data);
        let lock = Deleting::wait(&data)?;
        let needs = Needs::of(&volumes)?;
        for id in self.snapshots {
            let is_stored = store.exists(&Name::Record(id))?;
            let given_up = give_up(id, &volumes, &data)?;
            if is_stored || !given_up {
                delete(&*store, id, &|id| Ok(needs.user(id)), &lock)?;
            }
        }
        drop(lock);
        if self.keep_chunks {
            return Ok(ExitStatus::Success);
        }
        match Collecting::if_free(&data)? {
            Some(lock) => {
                let under_way = Needs::of(&volumes)?.chunks()?;
                collect(&*store, under_way, &lock, &mut |_| {})?;
            }
            None => eprintln!(
                "A snapshot is being stored: plinth snapshot collect will free the space."
            ),
        }
        Ok(ExitStatus::Success)
    }
}

/// Gives `id` up if it is not stored yet; says whether that was so.
fn give_up(id: SnapshotId, volumes: &Volumes, data: &Path) -> Result<bool, Error> {
    let under_way = under_way::all(volumes)?;
    match under_way.iter().find(|one| one.id() == id) {
        Some(under_way) => {
            under_way.give_up(&Collecting::now(data)?);
            Ok(true)
        }
        None => Ok(false),
    }
}
