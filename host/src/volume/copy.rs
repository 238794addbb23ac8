//! A volume made from another, as that is at one moment.
//!
//! Where the file system shares extents and nobody writes to the source, the
//! copy is whole at once. Else it is there at once and lacks every block: the
//! source keeps for it what it held at the moment ([`copies`](super::copies)),
//! and blocks come when they are first touched, and meanwhile. Only a volume that
//! others are reading is copied here and now, since nobody may note in it what it
//! is to keep.

use std::fs::File;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::volume::entry::State;
use ::volume::freeze::Plan;
use ::volume::map::BlockMap;
use devices::block::lock::Access;

use crate::error::Error;
use crate::progress::Progress;
use crate::registry::name::VmName;

use super::directory::{Volume, Volumes};
use super::freezes::PendingCopy;
use super::freezing::{freeze_at_rest, freeze_live, machine_of};
use super::name::VolumeName;
use super::new_volume::NewVolume;
use super::record::Record;
use super::transfer;

/// As many blocks are settled at a time: their numbers are in memory until
/// then.
const BATCH: usize = 1 << 16;

/// A volume that was made.
#[derive(Debug)]
pub struct Copied {
    /// The copy.
    pub volume: Volume,
    /// The machine that has the source, and how long its requests were held back.
    pub pause: Option<(VmName, Duration)>,
}

/// Makes a volume called `name` that holds what `source` holds at a moment before
/// this returns, with its speed. At once, but for a source that others read and a
/// file system that does not share extents.
///
/// The caller sees to it that no snapshot is deleted meanwhile that the source is
/// loaded from.
///
/// # Errors
/// The source is in use otherwise than by a machine, damaged, or itself a copy
/// that is not filled yet; the name is taken, or the file system refuses. There is
/// no new volume then.
pub fn copy(volumes: &Volumes, source: &mut Volume, name: VolumeName) -> Result<Copied, Error> {
    source.refresh()?;
    // Its blocks are not all its own, and are kept for it alone.
    source.expect_filled()?;
    match source.open(Access::Shared, false) {
        Ok(data) => {
            let volume = copy_at_rest(volumes, source, name, data)?;
            let pause = None;
            Ok(Copied { volume, pause })
        }
        Err(in_use) => {
            let machine = machine_of(source)?.ok_or(in_use)?;
            let mut pause = Duration::ZERO;
            let volume = copy_later(volumes, source, name, |source, pending| {
                pause = freeze_live(&machine, std::iter::once((source, pending)))?;
                Ok(())
            })?;
            let pause = Some((machine, pause));
            Ok(Copied { volume, pause })
        }
    }
}

/// Copies a source that nobody writes to, and which is open as `data`.
fn copy_at_rest(
    volumes: &Volumes,
    source: &mut Volume,
    name: VolumeName,
    data: File,
) -> Result<Volume, Error> {
    let shares = |from: &File, to: &File| Ok(transfer::share(from, to));
    if let Some(copy) = copy_now(volumes, source, name.clone(), &data, shares)? {
        return Ok(copy);
    }
    drop(data);
    let Ok(alone) = source.open(Access::Exclusive, false) else {
        let data = source.open(Access::Shared, false)?;
        let size = source.record().size.bytes();
        let all = |from: &File, to: &File| {
            let progress = Progress::new("copying", size);
            transfer::copy(from, to, size, &progress).map(|()| true)
        };
        let copy = copy_now(volumes, source, name, &data, all)?;
        return Ok(copy.expect("all of it was copied"));
    };
    let copy = copy_later(volumes, source, name, freeze_at_rest);
    drop(alone);
    copy
}

/// Makes a copy that lacks nothing that the source has, if `transfer` can copy
/// its `data`.
fn copy_now(
    volumes: &Volumes,
    source: &Volume,
    name: VolumeName,
    data: &File,
    transfer: impl FnOnce(&File, &File) -> io::Result<bool>,
) -> Result<Option<Volume>, Error> {
    let failed = |error: io::Error| {
        Error::host(format!(
            "volume '{}' cannot be copied to '{name}'",
            source.name()
        ))
        .because(error)
    };
    let mut map = source.read_map()?;
    let fresh = match map.is_complete() {
        true => State::Present,
        false => State::Absent,
    };
    let record = like(source, name.clone(), !map.is_complete())?;
    let new = NewVolume::begin(volumes, record, fresh)?;
    if !transfer(data, new.data()).map_err(failed)? {
        return Ok(None);
    }
    if fresh == State::Absent {
        new.data().sync_all().map_err(failed)?;
        let copy = new.map().try_clone().map_err(failed)?;
        let copy = BlockMap::open(copy).map_err(|error| failed(io::Error::other(error)))?;
        copy_states(&mut map, copy).map_err(failed)?;
    }
    new.finish().map(Some)
}

/// Makes a copy that lacks everything, for which `freeze` has the source keep
/// what it holds.
pub(super) fn copy_later(
    volumes: &Volumes,
    source: &Volume,
    name: VolumeName,
    freeze: impl FnOnce(&Volume, &PendingCopy) -> Result<(), Error>,
) -> Result<Volume, Error> {
    source.expect_room_for_copy()?;
    let record = Record {
        copy_of: Some(source.record().id),
        ..like(source, name, !source.is_loaded()?)?
    };
    let new = NewVolume::begin(volumes, record, State::Absent)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let plan = Plan {
        purpose: new.record().id.into(),
        volume: source.record().id,
        created: now.map_or(0, |now| now.as_secs()),
        // It outlives this one.
        boot: [0; 16],
        parent: None,
    };
    let made = source
        .plan_freeze(new.record().id, &plan)
        .and_then(|pending| {
            let ground = pending.open_ground(source)?;
            freeze(source, &pending)?;
            // Before anybody can write to the copy, and rely on it.
            pending.make_durable(source, &ground)?;
            expect_size(source, &pending)
        })
        .and_then(|()| new.finish());
    if made.is_err() {
        // What is kept for a copy that there is not.
        let _ = source.needed_copies();
    }
    made
}

/// Refuses a source that had another size at the moment than is recorded.
fn expect_size(source: &Volume, pending: &PendingCopy) -> Result<(), Error> {
    let moment = pending.view()?.moment().size;
    let recorded = source.record().size;
    if moment == recorded {
        return Ok(());
    }
    let why = format!("is being resized: it has {moment}, and {recorded} are recorded");
    let name = source.name();
    let again = format!(
        "the same once that is done; or plinth volume resize {name} {}",
        moment.bytes()
    );
    Err(source.refused(&why).remedy(again))
}

/// What is recorded of a copy of `source`, which may be `partial`: have blocks
/// still in its snapshot.
fn like(source: &Volume, name: VolumeName, partial: bool) -> Result<Record, Error> {
    let source = source.record();
    let new = Record::new(name, source.size, source.speed)?;
    Ok(Record {
        // What was loaded needs it no more; and it may have changed since.
        origin: source.origin.filter(|_| partial),
        store: source.store.clone().filter(|_| partial),
        encryption: source.encryption.clone(),
        ..new
    })
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
