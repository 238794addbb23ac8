//! Removing a volume, with all its data.

use std::fs;
use std::io;
use std::path::PathBuf;

use ::volume::id::VolumeId;
use devices::block::lock::Access;

use crate::boot_id;
use crate::durable;
use crate::error::Error;

use super::claim::{Unclaimed, claim};
use super::copies::expect_no_copies;
use super::directory::{GONE, Volumes};
use super::freezes::{PendingSnapshot, pending};
use super::name::VolumeName;
use super::new_volume::sweep;
use super::selector::Selector;

/// Removes the volume that `selector` means, also one that is damaged: whoever
/// deletes it wants it no more. When this returns its name is free, whatever
/// happens then.
///
/// # Errors
/// There is none, it is in use, a snapshot of it is not stored yet, a copy of it
/// is not filled yet, or the file system refuses; it is as it was then.
pub fn delete(volumes: &Volumes, selector: &Selector) -> Result<(), Error> {
    let known = volumes.find(selector);
    let name = match (&known, selector) {
        (Ok(volume), _) => volume.name().clone(),
        (Err(_), Selector::Name(name)) if volumes.directory(name).exists() => name.clone(),
        (Err(_), _) => return known.map(drop),
    };
    let id = known.as_ref().ok().map(|volume| volume.record().id);
    let directory = volumes.directory(&name);
    let _claimed = match claim(&directory, Access::Exclusive, false) {
        Ok(data) => Some(data),
        // Nobody uses what is not there.
        Err(Unclaimed::NoFile) => None,
        Err(Unclaimed::Unopened(error)) if error.kind() == io::ErrorKind::NotFound => None,
        Err(why) => return Err(why.explain(&name, id)),
    };
    let failed = |error| failed(&name, error);
    let boot = boot_id::read().map_err(failed)?;
    let pending: Vec<PendingSnapshot> = pending(&directory).map_err(failed)?;
    if let Some(PendingSnapshot { id: snapshot, .. }) =
        pending.iter().find(|one| one.is_under_way(boot))
    {
        return Err(Error::configuration(format!(
            "volume '{name}' has a snapshot that is not stored yet, {snapshot}"
        ))
        .remedy(format!(
            "waiting until it is, or plinth snapshot delete {snapshot}"
        )));
    }
    // A copy outlives a source whose record is damaged: what it kept is not.
    expect_no_copies(volumes, &name)?;
    let gone = remove_name(volumes, &name).map_err(failed)?;
    if let Ok(volume) = &known {
        // Who looks at it next does it else.
        let _ = volume.let_source_go();
    }
    // What is left is swept by the next command.
    let _ = fs::remove_dir_all(gone);
    Ok(())
}

/// Takes its name from the volume, durably; says where it is now.
fn remove_name(volumes: &Volumes, name: &VolumeName) -> io::Result<PathBuf> {
    let root = volumes.root();
    let _exclusive = volumes.lock()?;
    sweep(root);
    let gone = root.join(format!("{GONE}{}", VolumeId::random()?));
    fs::rename(volumes.directory(name), &gone)?;
    durable::synchronize(root)?;
    Ok(gone)
}

fn failed(name: &VolumeName, error: io::Error) -> Error {
    Error::host(format!("volume '{name}' cannot be deleted")).because(error)
}

#[cfg(test)]
mod tests;
