//! Checking a snapshot: every chunk that it names is read, and compared with
//! its name.

use std::collections::HashMap;
use std::sync::Arc;

use volume::id::SnapshotId;

use crate::error::Error;

use super::block_reader::BlockReader;
use super::chunk;
use super::digest::Digest;
use super::object::ChunkError;
use super::store::Store;

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its chunk is not there.
    Missing,
    /// Its chunk is damaged.
    Damaged(chunk::BadChunk),
}

/// A block that cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its place in the volume.
    pub index: u32,
    /// Its chunk.
    pub digest: Digest,
    /// What is wrong with that.
    pub fault: Fault,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Blocks that are not all zeroes.
    pub blocks: u64,
    /// Of these, those that have been checked.
    pub checked: u64,
    /// Those that cannot be had.
    pub findings: Vec<Finding>,
}

/// Checks snapshot `id`, and calls `progress` after each block.
///
/// # Errors
/// There is none, its record or manifest is missing or damaged, or the store
/// fails. Missing and damaged chunks are findings.
pub fn verify(
    store: Arc<dyn Store>,
    id: SnapshotId,
    progress: &mut dyn FnMut(&Report),
) -> Result<Report, Error> {
    let mut reader = BlockReader::open(store, id)?;
    let entries = reader.entries().to_vec();
    let mut report = Report {
        blocks: entries.len() as u64,
        ..Report::default()
    };
    let mut block = chunk::empty();
    // Blocks that are alike are read once.
    let mut seen: HashMap<Digest, Option<Fault>> = HashMap::new();
    for entry in entries {
        let fault = match seen.get(&entry.digest) {
            Some(fault) => *fault,
            None => {
                let fault = match reader.read(entry.index, &mut block) {
                    Ok(_) => None,
                    Err(ChunkError::Missing(_)) => Some(Fault::Missing),
                    Err(ChunkError::Damaged(_, why)) => Some(Fault::Damaged(why)),
                    Err(ChunkError::Store(error)) => return Err(error.into()),
                };
                seen.insert(entry.digest, fault);
                fault
            }
        };
        report.findings.extend(fault.map(|fault| Finding {
            index: entry.index,
            digest: entry.digest,
            fault,
        }));
        report.checked += 1;
        progress(&report);
    }
    Ok(report)
}
