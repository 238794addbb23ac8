//! Volumes as disks of a machine: opened, locked, held to their speed.

use std::path::PathBuf;

use devices::block::lock::Access;
use devices::block::mapped_disk::Mapping;
use vmm::config::BlockConfig;
use vmm::{DiskId, DiskKey};

use crate::error::Error;
use crate::option::volume::VolumeOption;
use crate::volume::directory::{Volume, Volumes};

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

/// The key of the volume's data, if they are encrypted.
fn key(volume: &Volume, option: &VolumeOption) -> Result<Option<DiskKey>, Error> {
    let whose = format!("volume '{}'", volume.name());
    match (&volume.record().encryption, &option.key) {
        (Some(encryption), given) => encryption.unlock(whose, given.as_ref()).map(Some),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::configuration(format!(
            "{whose} is not encrypted, and a key is given for it"
        ))
        .remedy("leaving out the key; a volume is encrypted when it is made, or never")),
    }
}

fn open_volume(mut volume: Volume, option: &VolumeOption) -> Result<OpenVolume, Error> {
    let options = option.options;
    let access = if options.read_only {
        Access::Shared
    } else {
        Access::Exclusive
    };
    let data = volume.open(access, options.direct)?;
    let mapping = match options.read_only {
        true => check_loaded(&volume).map(|()| None)?,
        false => Some(mapping(&volume)?),
    };
    let disk = BlockConfig {
        file: data,
        id: disk_id(&volume),
        options,
        key: key(&volume, option)?,
        limits: Some(volume.record().speed.limits()),
        volume: mapping,
    };
    Ok(OpenVolume {
        disk,
        path: volume.data(),
    })
}

/// What makes `data` a volume to who writes to it. The caller has locked it.
fn mapping(volume: &Volume) -> Result<Mapping, Error> {
    Ok(Mapping {
        map: volume.open_map()?,
        freezes: volume.open_freezes()?,
        loader: None,
    })
}

/// Readers cannot load what is missing: that changes the volume.
fn check_loaded(volume: &Volume) -> Result<(), Error> {
    match volume.is_loaded()? {
        true => Ok(()),
        false => {
            let name = volume.name();
            Err(Error::configuration(format!(
                "volume '{name}' cannot be read-only yet: some of it is still in its snapshot"
            ))
            .remedy(format!(
                "plinth volume load {name}, and then the same again"
            )))
        }
    }
}
