//! The objects of snapshots, read from a store and checked.

use std::io::Read;

use volume::id::SnapshotId;

use crate::error::Error;

use super::chunk::{self, Block, Coder};
use super::digest::Digest;
use super::manifest::{BadManifest, ManifestCursor, ManifestReader};
use super::record::{self, Record};
use super::store::{Name, Store, StoreError, Trouble};

/// A manifest that is read from a store.
pub type StoredManifest<'a> = ManifestReader<Box<dyn Read + 'a>>;

/// Begins to read the manifest of `id`.
///
/// # Errors
/// It is not there, cannot be read, or is another's.
pub fn manifest(store: &dyn Store, id: SnapshotId) -> Result<StoredManifest<'_>, Error> {
    let input = store
        .open(&Name::Manifest(id))
        .map_err(|error| missing(id, "manifest", error))?;
    let reader = ManifestReader::new(input).map_err(|error| bad_manifest(id, error))?;
    match reader.header().snapshot == id {
        true => Ok(reader),
        false => Err(damaged(id, "manifest").because("it is of another snapshot")),
    }
}

/// The same, to look blocks up in.
///
/// # Errors
/// The same.
pub fn cursor(
    store: &dyn Store,
    id: SnapshotId,
) -> Result<ManifestCursor<Box<dyn Read + '_>>, Error> {
    ManifestCursor::new(manifest(store, id)?).map_err(|error| bad_manifest(id, error))
}

/// The manifest of `id` is none, and why.
pub fn bad_manifest(id: SnapshotId, error: BadManifest) -> Error {
    match error {
        BadManifest::Io(error) => {
            Error::host(format!("the manifest of {id} cannot be read")).because(error)
        }
        error => damaged(id, "manifest").because(error),
    }
}

/// Reads the record of `id`.
///
/// # Errors
/// There is none, it cannot be read, or is damaged.
pub fn record(store: &dyn Store, id: SnapshotId) -> Result<Record, Error> {
    let bytes = match store.read(&Name::Record(id), record::MOST) {
        Err(error) if error.trouble == Trouble::Missing => return Err(unknown(id).because(error)),
        bytes => bytes?,
    };
    let record = Record::decode(&bytes).map_err(|error| damaged(id, "record").because(error))?;
    match record.id == id {
        true => Ok(record),
        false => Err(damaged(id, "record").because("it is of another snapshot")),
    }
}

/// There is no snapshot `id`.
pub fn unknown(id: SnapshotId) -> Error {
    Error::configuration(format!("there is no snapshot {id}"))
        .remedy("plinth snapshot list, or another --store")
}

/// Why a chunk is not the block that it should be.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The store does not have it.
    #[error("chunk {0} is missing")]
    Missing(Digest),
    /// It is not what was stored.
    #[error("chunk {0} is damaged")]
    Damaged(Digest, #[source] chunk::BadChunk),
    /// The store does not give it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads the block named `digest` into `block`. If it fails, what `block` then
/// holds means nothing.
///
/// # Errors
/// It is missing or damaged, or the store fails.
pub fn chunk(
    store: &dyn Store,
    digest: &Digest,
    coder: &mut Coder,
    block: &mut Block,
) -> Result<(), ChunkError> {
    let bytes = match store.read(&Name::Chunk(*digest), chunk::MOST) {
        Err(error) if error.trouble == Trouble::Missing => {
            return Err(ChunkError::Missing(*digest));
        }
        bytes => bytes?,
    };
    let decoded = coder.decode(&bytes, digest, block);
    decoded.map_err(|error| ChunkError::Damaged(*digest, error))
}

impl From<ChunkError> for Error {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Store(error) => error.into(),
            error => Self::host("a block of a snapshot cannot be had")
                .because(error)
                .remedy("plinth snapshot verify, to know what else is affected"),
        }
    }
}

fn missing(id: SnapshotId, what: &str, error: StoreError) -> Error {
    match error.trouble {
        Trouble::Missing => Error::host(format!("the {what} of {id} is missing"))
            .because(error)
            .remedy(format!(
                "plinth snapshot delete {id}: nothing can be read from it"
            )),
        _ => error.into(),
    }
}

fn damaged(id: SnapshotId, what: &str) -> Error {
    Error::host(format!("the {what} of {id} is damaged")).remedy(format!(
        "the same object from a backup, or plinth snapshot delete {id}"
    ))
}
