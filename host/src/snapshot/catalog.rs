//! The snapshots that there are.

use volume::id::SnapshotId;

use crate::error::Error;

use super::object;
use super::record::Record;
use super::store::{Kind, Name, Store};

/// A snapshot in a list: what its record says, or why that cannot be said.
#[derive(Debug)]
pub struct Listed {
    /// Which.
    pub id: SnapshotId,
    /// Its record.
    pub record: Result<Record, Error>,
}

/// The ids of all snapshots, in ascending order.
///
/// # Errors
/// The store cannot be listed.
pub fn ids(store: &dyn Store) -> Result<Vec<SnapshotId>, Error> {
    let mut ids = Vec::new();
    store.list(Kind::Record, &mut |name, _| {
        if let Name::Record(id) = name {
            ids.push(id);
        }
        Ok(())
    })?;
    ids.sort();
    Ok(ids)
}

/// All snapshots, the oldest first, and those whose record cannot be read last.
/// One that is deleted meanwhile is not among them.
///
/// # Errors
/// The store cannot be listed.
pub fn list(store: &dyn Store) -> Result<Vec<Listed>, Error> {
    let mut listed = Vec::new();
    for id in ids(store)? {
        let record = object::record(store, id);
        if record.is_err() && !store.exists(&Name::Record(id))? {
            continue;
        }
        listed.push(Listed { id, record });
    }
    let age = |listed: &Listed| match &listed.record {
        Ok(record) => record.created,
        Err(_) => u64::MAX,
    };
    listed.sort_by_key(|listed| (age(listed), listed.id));
    Ok(listed)
}
