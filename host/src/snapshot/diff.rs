//! What differs between two snapshots: their manifests side by side. Which was
//! taken first, and whether one came from the other, does not matter.

use volume::id::SnapshotId;

use crate::error::Error;

use super::manifest::Entry;
use super::object;
use super::store::Store;

/// How a block differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Both have data, and not the same.
    Changed,
    /// Zeroes in the first, data in the second.
    Added,
    /// Data in the first, zeroes in the second.
    Zeroed,
}

/// Blocks that follow each other and differ in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// How they differ.
    pub change: Change,
}

/// The ranges of blocks that differ between `first` and `second`, in ascending
/// order. Blocks behind the end of the shorter are zeroes.
///
/// # Errors
/// A snapshot is unknown, or its manifest missing or damaged, or the store
/// fails.
pub fn diff(store: &dyn Store, first: SnapshotId, second: SnapshotId) -> Result<Vec<Range>, Error> {
    object::record(store, first)?;
    object::record(store, second)?;
    let mut before = object::cursor(store, first)?;
    let mut after = object::cursor(store, second)?;
    let mut ranges = Vec::new();
    while let Some((index, old, new)) = next_of(before.peek(), after.peek()) {
        if old.is_some() {
            before
                .take()
                .map_err(|error| object::bad_manifest(first, error))?;
        }
        if new.is_some() {
            after
                .take()
                .map_err(|error| object::bad_manifest(second, error))?;
        }
        let change = match (old, new) {
            (Some(old), Some(new)) if old.digest == new.digest => continue,
            (Some(_), Some(_)) => Change::Changed,
            (None, _) => Change::Added,
            (Some(_), None) => Change::Zeroed,
        };
        add(&mut ranges, index, change);
    }
    Ok(ranges)
}

/// The lower of two blocks, or both if they are the same.
fn next_of(
    before: Option<Entry>,
    after: Option<Entry>,
) -> Option<(u32, Option<Entry>, Option<Entry>)> {
    let index = before
        .into_iter()
        .chain(after)
        .map(|entry| entry.index)
        .min()?;
    let is_it = |entry: &Entry| entry.index == index;
    Some((index, before.filter(is_it), after.filter(is_it)))
}

fn add(ranges: &mut Vec<Range>, index: u32, change: Change) {
    match ranges.last_mut() {
        Some(last) if last.change == change && last.first + last.count == index => last.count += 1,
        _ => ranges.push(Range {
            first: index,
            count: 1,
            change,
        }),
    }
}
