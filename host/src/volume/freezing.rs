//! The moment: volumes are frozen as they are, by the machine that has them
//! while its guest goes on, or here if nobody has.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use ::volume::freeze::Freeze;
use ::volume::map::BlockMap;
use devices::block::mapped_disk::FreezeFiles;
use devices::virtio::device::STOP_PATIENCE;
use rustix::fs::fdatasync;
use serde_json::json;

use crate::client::PATIENCE;
use crate::client::connection::Connection;
use crate::client::request::Request;
use crate::error::Error;
use crate::registry::name::VmName;

use super::directory::Volume;
use super::freezes::{FreezeId, Pending};
use super::usage::Usage;

/// The machine that has `volume`, if one has.
///
/// # Errors
/// It cannot be looked at.
pub fn machine_of(volume: &Volume) -> Result<Option<VmName>, Error> {
    let usage = Usage::of(volume).map_err(|error| {
        let name = volume.name();
        Error::host(format!("volume '{name}' cannot be looked at")).because(error)
    })?;
    // Who else has it is told when it cannot be opened.
    Ok(usage.machines().next().cloned())
}

/// Has `machine` freeze volumes at one moment. Returns how long their requests
/// were held back.
///
/// # Errors
/// It cannot; then none is frozen that counts.
pub fn freeze_live<'a, I: FreezeId + 'a>(
    machine: &VmName,
    volumes: impl Iterator<Item = (&'a Volume, &'a Pending<I>)> + Clone,
) -> Result<Duration, Error> {
    let devices = volumes
        .clone()
        .map(|(volume, _)| volume.record().id.serial());
    let devices: Vec<String> = devices.collect();
    let files = volumes.clone().map(|(_, pending)| pending.open());
    let files: Vec<FreezeFiles> = files
        .collect::<Result<_, _>>()
        .map_err(|error| Error::host("a volume cannot be frozen").because(error))?;
    let descriptors = files
        .iter()
        .flat_map(|f| [f.freeze.as_fd(), f.kept.as_fd()]);
    let request = Request::post("/v1/freeze")
        .body(json!({ "devices": devices }))
        .descriptors(descriptors);
    // Each disk may take as long to come to rest.
    let count = u32::try_from(devices.len()).unwrap_or(u32::MAX);
    let patience = PATIENCE.saturating_add(STOP_PATIENCE.saturating_mul(count));
    let answer = Connection::open(machine)?.document_with_patience(&request, patience)?;
    for (volume, _) in volumes {
        // The machine writes there, and does not wait for the disk.
        let synced = File::open(volume.map()).and_then(|map| Ok(fdatasync(map)?));
        synced.map_err(|error| Error::host("a freeze is not durable").because(error))?;
    }
    Ok(Duration::from_micros(
        answer["pause_us"].as_u64().unwrap_or_default(),
    ))
}

/// Freezes a volume that the caller has locked for writing.
///
/// # Errors
/// The files are damaged, or cannot be written.
pub fn freeze_at_rest<I: FreezeId>(volume: &Volume, pending: &Pending<I>) -> Result<(), Error> {
    let cannot = || Error::host(format!("volume '{}' cannot be frozen", volume.name()));
    let files = pending.open().map_err(|error| cannot().because(error))?;
    let mut map = BlockMap::open(volume.open_map()?).map_err(|error| cannot().because(error))?;
    let begun = Freeze::begin(files.freeze, files.kept, &mut map);
    let saved = begun.and_then(|(_, unsaved)| unsaved.save());
    saved.map_err(|error| cannot().because(error))?;
    map.close().map_err(|error| cannot().because(error))
}
