//! Reading a snapshot: any block, checked against its name.

use std::sync::Arc;

use volume::id::SnapshotId;

use crate::error::Error;

use super::chunk::{Block, Coder};
use super::digest::Digest;
use super::manifest::{Entry, Header};
use super::object::{self, ChunkError};
use super::store::Store;

/// A snapshot's blocks. Its manifest is in memory, 36 bytes for each block that
/// is not all zeroes; readers that are [`another`](Self::another) of one share
/// it, and each serves a thread.
pub struct BlockReader {
    snapshot: Arc<Snapshot>,
    coder: Coder,
}

struct Snapshot {
    store: Arc<dyn Store>,
    header: Header,
    /// In ascending order.
    entries: Vec<Entry>,
}

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// What is in the buffer now.
    Data,
    /// Zeroes; the buffer's content means nothing.
    Zero,
}

impl BlockReader {
    /// Opens snapshot `id`, whose record and manifest are read and checked.
    ///
    /// # Errors
    /// There is none, or its manifest is missing or damaged, or the store fails.
    pub fn open(store: Arc<dyn Store>, id: SnapshotId) -> Result<Self, Error> {
        object::record(&*store, id)?;
        let manifest = object::manifest(&*store, id)?;
        let header = *manifest.header();
        let entries = manifest.collect::<Result<Vec<_>, _>>();
        let entries = entries.map_err(|error| object::bad_manifest(id, error))?;
        let snapshot = Arc::new(Snapshot {
            store,
            header,
            entries,
        });
        Self::of(snapshot)
    }

    /// One more reader of the same snapshot.
    ///
    /// # Errors
    /// There is no memory.
    pub fn another(&self) -> Result<Self, Error> {
        Self::of(Arc::clone(&self.snapshot))
    }

    fn of(snapshot: Arc<Snapshot>) -> Result<Self, Error> {
        let coder = Coder::new()
            .map_err(|error| Error::host("there is no memory to decompress with").because(error))?;
        Ok(Self { snapshot, coder })
    }

    /// What the snapshot is of.
    pub fn header(&self) -> &Header {
        &self.snapshot.header
    }

    /// Its blocks that are not all zeroes, in ascending order.
    pub fn entries(&self) -> &[Entry] {
        &self.snapshot.entries
    }

    /// The name of what block `index` holds; `None` for zeroes, which is also
    /// what is behind the end.
    pub fn digest(&self, index: u32) -> Option<Digest> {
        let entries = &self.snapshot.entries;
        let found = entries.binary_search_by_key(&index, |entry| entry.index);
        found.ok().map(|at| entries[at].digest)
    }

    /// Reads block `index` into `block`.
    ///
    /// # Errors
    /// Its chunk is missing or damaged, or the store fails.
    pub fn read(&mut self, index: u32, block: &mut Block) -> Result<Content, ChunkError> {
        let Some(digest) = self.digest(index) else {
            return Ok(Content::Zero);
        };
        object::chunk(&*self.snapshot.store, &digest, &mut self.coder, block)?;
        Ok(Content::Data)
    }
}
