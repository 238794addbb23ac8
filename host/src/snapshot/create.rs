//! Taking snapshots of volumes: the moment, and what becomes of it.
//!
//! At the moment each volume is frozen: those of one machine together, by the
//! machine, while its guest goes on; one that nobody uses, here. Nothing is
//! stored yet: [`store`] does that afterwards, in as long as it takes, and may
//! be done again if it was interrupted.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::volume::entry::Generation;
use ::volume::freeze::Plan;
use ::volume::id::SnapshotId;
use devices::block::lock::Access;

use crate::boot_id;
use crate::error::Error;
use crate::registry::name::VmName;
use crate::volume::directory::Volume;
use crate::volume::freezes::PendingSnapshot;
use crate::volume::freezing::{freeze_at_rest, freeze_live, machine_of};
use crate::volume::record::Taken;

use super::lock::{Adding, Referring};
use super::manifest::Header;
use super::record::About;
use super::store::{Name, Store};
use super::upload::{Figures, Upload, upload};

/// Snapshots that were begun.
#[derive(Debug)]
pub struct Begun {
    /// Each with its volume, in the order in which these were named.
    pub pending: Vec<(Volume, PendingSnapshot)>,
    /// How long the requests of guests were held back, for each machine.
    pub pauses: BTreeMap<VmName, Duration>,
}

/// Freezes `volumes`, for snapshots in `store`. Those of one machine are frozen
/// at one moment.
///
/// # Errors
/// One cannot be frozen; then none is.
pub fn begin(volumes: Vec<Volume>, store: &dyn Store, _lock: &Referring) -> Result<Begun, Error> {
    let mut begun = Begun {
        pending: Vec::with_capacity(volumes.len()),
        pauses: BTreeMap::new(),
    };
    let frozen = freeze_all(volumes, store, &mut begun);
    if let Err(error) = frozen {
        for (_, pending) in &begun.pending {
            pending.remove();
        }
        return Err(error);
    }
    Ok(begun)
}

fn freeze_all(volumes: Vec<Volume>, store: &dyn Store, begun: &mut Begun) -> Result<(), Error> {
    let mut machines: BTreeMap<VmName, Vec<usize>> = BTreeMap::new();
    let mut free = Vec::new();
    for volume in volumes {
        // Its first snapshot would need blocks that another volume keeps.
        volume.expect_filled()?;
        let id = new_id()?;
        let plan = plan(&volume, id, store)?;
        let at = begun.pending.len();
        match machine_of(&volume)? {
            Some(machine) => machines.entry(machine).or_default().push(at),
            None => free.push(at),
        }
        let pending = volume.plan_freeze(id, &plan)?;
        begun.pending.push((volume, pending));
    }
    for at in free {
        let (volume, pending) = &mut begun.pending[at];
        let _data = volume.open(Access::Exclusive, false)?;
        freeze_at_rest(volume, pending)?;
    }
    for (machine, volumes) in machines {
        let volumes = volumes.into_iter().map(|at| &begun.pending[at]);
        let volumes = volumes.map(|(volume, pending)| (volume, pending));
        let pause = freeze_live(&machine, volumes)?;
        begun.pauses.insert(machine, pause);
    }
    Ok(())
}

fn cannot_begin(error: io::Error) -> Error {
    Error::host("a snapshot cannot be begun").because(error)
}

fn new_id() -> Result<SnapshotId, Error> {
    SnapshotId::random().map_err(cannot_begin)
}

fn plan(volume: &Volume, id: SnapshotId, store: &dyn Store) -> Result<Plan, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(Plan {
        purpose: id.into(),
        volume: volume.record().id,
        created: now.map_or(0, |now| now.as_secs()),
        boot: boot_id::read().map_err(cannot_begin)?,
        parent: parent(volume, store)?,
    })
}

/// The newest snapshot of the volume that is still there; else that which it was
/// made from, unless it is a copy: its source had changed since.
fn parent(volume: &Volume, store: &dyn Store) -> Result<Option<(SnapshotId, Generation)>, Error> {
    let record = volume.record();
    let origin = record.origin.filter(|_| record.copy_of.is_none());
    let origin = origin.map(|origin| (origin, Generation::ORIGIN));
    let taken = record.snapshots.iter().rev();
    let candidates = taken.map(|taken| (taken.snapshot, taken.generation));
    for candidate in candidates.chain(origin) {
        if store.exists(&Name::Record(candidate.0))? {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

/// Stores what a freeze keeps, and ends it: the snapshot is there then. What was
/// stored before an interruption is not stored again.
///
/// # Errors
/// The volume cannot be read, or the store fails; it can be tried again.
pub fn store(
    volume: &mut Volume,
    pending: &PendingSnapshot,
    description: &str,
    store: &dyn Store,
    lock: &Adding,
    progress: &mut dyn FnMut(&Figures),
) -> Result<Figures, Error> {
    // Two who store one snapshot would take each other's manifest away.
    let _exclusive = pending.lock()?;
    let mut view = pending.view()?;
    let (plan, moment) = (view.plan().clone(), *view.moment());
    let record = volume.record();
    let encryption = record.encryption.as_ref().map(serde_json::to_value);
    let upload_of = Upload {
        header: Header {
            snapshot: pending.id,
            volume: plan.volume,
            size: moment.size,
            created: plan.created,
            generation: moment.generation,
            parent: plan.parent,
        },
        about: About {
            volume_name: record.name.to_string(),
            description: description.to_owned(),
            encryption: encryption
                .transpose()
                .map_err(|error| Error::unexpected("a volume's key").because(error))?,
        },
        origin: record.origin,
        source: &mut view,
    };
    let figures = upload(upload_of, store, lock, progress)?;
    let taken = Taken {
        snapshot: pending.id,
        generation: moment.generation,
    };
    volume.change(|record| {
        let later = |other: &Taken| other.generation < taken.generation;
        let at = record.snapshots.partition_point(later);
        if record.snapshots.get(at) != Some(&taken) {
            record.snapshots.insert(at, taken);
        }
        Ok(())
    })?;
    pending.remove();
    Ok(figures)
}
