//! Deleting a snapshot: first its record, then its manifest. Its chunks are the
//! collector's.

use volume::id::SnapshotId;

use crate::error::Error;

use super::lock::Deleting;
use super::object;
use super::store::{Name, Store};

/// Who needs a snapshot, for a person: `None` if nobody does.
pub type Users<'a> = dyn Fn(SnapshotId) -> Result<Option<String>, Error> + 'a;

/// Deletes `id`, unless `users` names somebody who needs it: a volume that is
/// still being loaded from it, or a snapshot under way whose parent it is.
/// Other snapshots never do, even with the same blocks.
///
/// # Errors
/// There is no such snapshot, it is in use, or the store fails. If that was
/// between the two steps, the snapshot is gone all the same, and the collector
/// removes the rest.
pub fn delete(
    store: &dyn Store,
    id: SnapshotId,
    users: &Users<'_>,
    _lock: &Deleting,
) -> Result<(), Error> {
    if !store.exists(&Name::Record(id))? && !store.exists(&Name::Manifest(id))? {
        return Err(object::unknown(id));
    }
    if let Some(user) = users(id)? {
        return Err(
            Error::configuration(format!("snapshot {id} is in use by {user}"))
                .remedy("the same once that is done, or deleting that first"),
        );
    }
    // Each step durable before the next: a record never outlives its manifest.
    store.delete(&Name::Record(id))?;
    store.settle()?;
    store.delete(&Name::Manifest(id))?;
    Ok(store.settle()?)
}
