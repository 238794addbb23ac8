//! Another snapshot's manifest, from which blocks are taken over.

use std::io::Read;

use volume::id::SnapshotId;

use crate::error::Error;
use crate::snapshot::digest::Digest;
use crate::snapshot::manifest::ManifestCursor;
use crate::snapshot::object;
use crate::snapshot::store::Store;

/// A snapshot that may have what a block holds. Its manifest is not opened
/// before that is asked: a volume that is loaded outlives its origin.
pub(super) struct Other<'a> {
    store: &'a dyn Store,
    /// Which; `None` if there is none, and so nothing but zeroes.
    id: Option<SnapshotId>,
    cursor: Option<ManifestCursor<Box<dyn Read + 'a>>>,
}

impl<'a> Other<'a> {
    pub(super) fn new(store: &'a dyn Store, id: Option<SnapshotId>) -> Self {
        Self {
            store,
            id,
            cursor: None,
        }
    }

    /// What block `index` holds there; `None` for zeroes. To be asked in
    /// ascending order.
    pub(super) fn at(&mut self, index: u32) -> Result<Option<Digest>, Error> {
        let Some(id) = self.id else {
            return Ok(None);
        };
        let cursor = match &mut self.cursor {
            Some(cursor) => cursor,
            none => none.insert(object::cursor(self.store, id)?),
        };
        let found = cursor.at(index);
        found.map_err(|error| object::bad_manifest(id, error))
    }

    /// Makes sure that what was taken over is undamaged.
    pub(super) fn finish(self) -> Result<(), Error> {
        match (self.cursor, self.id) {
            (Some(cursor), Some(id)) => {
                let end = cursor.finish();
                end.map_err(|error| object::bad_manifest(id, error))
            }
            _ => Ok(()),
        }
    }
}
