//! Removing what no snapshot needs: mark and sweep, with manifests as roots.
//!
//! It can be killed at any point: chunks are removed one by one, and each of
//! them was needed by nobody. Nobody stores chunks meanwhile ([`Collecting`]),
//! so what is not marked cannot come to be needed. If it does not know for sure
//! what is needed, it removes nothing.

use std::collections::{BTreeSet, HashSet};

use volume::id::SnapshotId;

use crate::error::Error;

use super::catalog;
use super::digest::Digest;
use super::lock::Collecting;
use super::object;
use super::store::{Freed, Kind, Name, Store};

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Snapshots that there are.
    pub snapshots: u64,
    /// Chunks that they need.
    pub kept: Freed,
    /// Chunks that nobody needed.
    pub chunks: Freed,
    /// Manifests whose snapshot was deleted, or never completed.
    pub manifests: Freed,
    /// What writers left behind that were killed.
    pub leftovers: Freed,
}

/// Removes what no snapshot in `store` needs. Kept is also what `under_way`
/// has: chunks that snapshots under way count on, since their volumes do not
/// keep those blocks any more. It takes some 40 bytes of memory for each chunk
/// that is needed.
///
/// # Errors
/// A manifest is missing or damaged: then nothing was removed. Or the store
/// fails.
pub fn collect(
    store: &dyn Store,
    under_way: HashSet<Digest>,
    _lock: &Collecting,
    progress: &mut dyn FnMut(&Collected),
) -> Result<Collected, Error> {
    let mut collected = Collected::default();
    let ids = catalog::ids(store)?;
    let mut needed = under_way;
    for id in &ids {
        mark(store, *id, &mut needed)?;
        collected.snapshots += 1;
        progress(&collected);
    }
    collected.manifests = remove_manifests(store, &ids)?;
    store.list(Kind::Chunk, &mut |name, bytes| {
        match name {
            Name::Chunk(digest) if !needed.contains(&digest) => {
                store.delete(&name)?;
                collected.chunks.add(bytes);
            }
            _ => collected.kept.add(bytes),
        }
        progress(&collected);
        Ok(())
    })?;
    collected.leftovers = store.sweep()?;
    store.settle()?;
    Ok(collected)
}

fn mark(store: &dyn Store, id: SnapshotId, needed: &mut HashSet<Digest>) -> Result<(), Error> {
    for entry in object::manifest(store, id)? {
        let entry = entry.map_err(|error| object::bad_manifest(id, error))?;
        needed.insert(entry.digest);
    }
    Ok(())
}

/// Removes the manifests of what are no snapshots.
fn remove_manifests(store: &dyn Store, snapshots: &[SnapshotId]) -> Result<Freed, Error> {
    let snapshots: BTreeSet<_> = snapshots.iter().collect();
    let mut freed = Freed::default();
    store.list(Kind::Manifest, &mut |name, bytes| {
        if let Name::Manifest(id) = name
            && !snapshots.contains(&id)
        {
            store.delete(&name)?;
            freed.add(bytes);
        }
        Ok(())
    })?;
    Ok(freed)
}
