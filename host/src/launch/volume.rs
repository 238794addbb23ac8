//! Volumes as disks of a machine: opened, locked, held to their speed.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use devices::block::lock::Access;
use devices::block::mapped_disk::Mapping;
use vmm::DiskId;
use vmm::config::BlockConfig;

use crate::error::Error;
use crate::option::volume::VolumeOption;
use crate::snapshot::store::Location;
use crate::volume::directory::{Volume, Volumes};
use crate::volume::encryption::unlock;

use super::loader;

/// A volume that a machine is to have.
#[derive(Debug)]
pub struct OpenVolume {
    /// The disk that it is.
    pub disk: BlockConfig,
    /// The file that the disk is in.
    pub path: PathBuf,
}

/// Opens volumes in order, for a machine that has `disks` already.
///
/// # Errors
/// One is not there, is in use, or is damaged; or is given twice.
pub fn open_all(
    options: Vec<VolumeOption>,
    disks: &[BlockConfig],
) -> Result<Vec<OpenVolume>, Error> {
    if options.is_empty() {
        return Ok(Vec::new());
    }
    let volumes = Volumes::of_this_user()?;
    let mut open: Vec<OpenVolume> = Vec::with_capacity(options.len());
    for option in options {
        let volume = volumes.find(&option.volume)?;
        let taken = open.iter().map(|open| open.disk.id);
        let mut taken = taken.chain(disks.iter().map(|disk| disk.id));
        check_twice(&volume, |id| taken.any(|taken| taken == id))?;
        open.push(open_volume(volume, &option)?);
    }
    Ok(open)
}

/// Opens one volume, for a machine whose devices are called `names`.
///
/// # Errors
/// As for [`open_all`].
pub fn open_one(option: &VolumeOption, names: &[String]) -> Result<OpenVolume, Error> {
    let volume = Volumes::of_this_user()?.find(&option.volume)?;
    check_twice(&volume, |id| names.contains(&id.to_string()))?;
    open_volume(volume, option)
}

/// The volume's name in its machine, which its guest reads as the serial
/// number.
fn disk_id(volume: &Volume) -> DiskId {
    let serial = volume.record().id.serial();
    serial.parse().expect("a serial number has 20 characters")
}

fn check_twice(volume: &Volume, mut is_taken: impl FnMut(DiskId) -> bool) -> Result<(), Error> {
    let id = disk_id(volume);
    if !is_taken(id) {
        return Ok(());
    }
    let name = volume.name();
    Err(Error::configuration(format!(
        "the machine has volume '{name}' already, as '{id}'"
    ))
    .remedy("naming each volume once"))
}

fn open_volume(mut volume: Volume, option: &VolumeOption) -> Result<OpenVolume, Error> {
    let options = option.options;
    let access = if options.read_only {
        Access::Shared
    } else {
        Access::Exclusive
    };
    if access == Access::Shared {
        // Before who loads it is asked to make way.
        volume.expect_loaded()?;
    }
    let data = volume.open(access, options.direct)?;
    let mapping = match access {
        Access::Exclusive => Some(mapping(&volume, option.load_rate)?),
        // What nobody writes to is its data, and no more.
        Access::Shared => None,
    };
    let disk = BlockConfig {
        file: data,
        id: disk_id(&volume),
        options,
        key: unlock(volume.record(), option.key.as_ref())?,
        limits: Some(volume.record().speed.limits()),
        volume: mapping,
    };
    Ok(OpenVolume {
        disk,
        path: volume.data(),
    })
}

/// The files that its writer needs beside `data`, which the caller has locked.
fn mapping(volume: &Volume, load_rate: Option<u64>) -> Result<Mapping, Error> {
    Ok(Mapping {
        map: volume.open_map()?,
        freezes: volume.open_freezes()?,
        loader: loader(volume, load_rate)?,
    })
}

/// A connection to who loads what the volume lacks; none if that is nothing.
fn loader(volume: &Volume, rate: Option<u64>) -> Result<Option<OwnedFd>, Error> {
    let store = Location::of_volume(volume, None)?;
    loader::start(volume, &store, rate.unwrap_or(loader::RATE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::fixture::{Fixture, MIB, report};
    use devices::block::open::open_volume as open_disk;

    fn open(volume: &Volume, text: &str) -> Result<OpenVolume, Error> {
        open_volume(volume.clone(), &text.parse().unwrap())
    }

    #[test]
    fn a_volume_is_a_disk_with_a_map_and_a_speed() {
        let f = Fixture::new();
        let volume = f.make("root");
        let disk = open(&volume, "root").unwrap().disk;
        assert_eq!(disk.id.to_string(), volume.record().id.serial());
        assert_eq!(disk.limits, Some(volume.record().speed.limits()));
        let mapping = disk.volume.unwrap();
        let (disks, _) = open_disk(disk.file, mapping, disk.options).unwrap();
        assert_eq!(disks[0].info().capacity, 2 * MIB);
    }

    #[test]
    fn what_is_only_read_has_no_map_and_is_shared() {
        let f = Fixture::new();
        let volume = f.make("root");
        let one = open(&volume, "root,readonly").unwrap();
        let other = open(&volume, "root,readonly").unwrap();
        assert!(one.disk.volume.is_none() && other.disk.volume.is_none());
        assert!(report(open(&volume, "root")).contains("is in use by process"));
    }

    #[test]
    fn a_volume_that_the_machine_has_is_not_given_to_it_again() {
        let f = Fixture::new();
        let volume = f.make("root");
        let refused = report(check_twice(&volume, |id| id == disk_id(&volume)));
        assert!(
            refused.contains("the machine has volume 'root' already"),
            "{refused}"
        );
        check_twice(&volume, |_| false).unwrap();
    }
}
