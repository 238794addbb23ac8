//! A volume made from another that nobody writes to.

use std::io;

use ::volume::entry::State;
use ::volume::map::BlockMap;
use devices::block::lock::Access;

use crate::error::Error;
use crate::progress::Progress;

use super::directory::{Volume, Volumes};
use super::name::VolumeName;
use super::new_volume::NewVolume;
use super::record::Record;
use super::transfer;

/// As many blocks are settled at a time: their numbers are in memory until
/// then.
const BATCH: usize = 1 << 16;

/// Makes a volume called `name` that holds what `source` holds, with its speed.
/// At once where the file system shares extents. Nobody writes to the source
/// meanwhile.
///
/// # Errors
/// The source is in use or damaged, the name is taken, or the file system
/// refuses; there is no new volume then.
pub fn copy(volumes: &Volumes, source: &mut Volume, name: VolumeName) -> Result<Volume, Error> {
    let data = source.open(Access::Shared, false)?;
    let mut map = source.read_map()?;
    let failed = |error: io::Error| {
        Error::host(format!(
            "volume '{}' cannot be copied to '{name}'",
            source.name()
        ))
        .because(error)
    };
    let (size, speed) = (source.record().size, source.record().speed);
    let record = Record {
        // What was loaded needs it no more; and it may have changed since.
        origin: source.record().origin.filter(|_| !map.is_complete()),
        encryption: source.record().encryption.clone(),
        ..Record::new(name.clone(), size, speed)?
    };
    let fresh = match map.is_complete() {
        true => State::Present,
        false => State::Absent,
    };
    let new = NewVolume::begin(volumes, record, fresh)?;
    let progress = Progress::new("copying", size.bytes());
    transfer::copy(&data, new.data(), size.bytes(), &progress).map_err(failed)?;
    if fresh == State::Absent {
        new.data().sync_all().map_err(failed)?;
        let copy = new.map().try_clone().map_err(failed)?;
        let copy = BlockMap::open(copy).map_err(|error| failed(io::Error::other(error)))?;
        copy_states(&mut map, copy).map_err(failed)?;
    }
    new.finish()
}

/// Blocks that are not absent in `from` are not in `to` either, whose data are
/// durable.
fn copy_states(from: &mut BlockMap, mut to: BlockMap) -> io::Result<()> {
    let floor = from.header().floor;
    for block in 0..from.header().size.blocks() {
        let entry = from.get(block)?;
        match entry.state {
            State::Absent => continue,
            // The hint is good if it was written after the last doubt.
            State::Zero if entry.generation >= floor => to.cleared(block)?,
            State::Zero | State::Present => {
                to.loaded(block)?;
                // It may be other than in the snapshot.
                to.touch(block)?;
            }
        }
        if to.unsettled() >= BATCH {
            let batch = to.begin_settling();
            to.settle(&batch)?;
        }
    }
    to.close()
}

#[cfg(test)]
mod tests;
