//! The lock on a volume's `data`: who holds it has the volume.
//!
//! It goes with the open file: whoever is given the descriptor holds the
//! volume, and lets go of it by closing it or by dying.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ::volume::id::VolumeId;
use devices::block::lock::{Access, LockError, lock};
use rustix::io::Errno;

use crate::error::Error;

use super::lock::is_named;
use super::name::VolumeName;
use super::usage::{self, Usage, User};

/// Why a volume is not to be had.
#[derive(Debug)]
pub(super) enum Unclaimed {
    /// Its data cannot be opened.
    Unopened(io::Error),
    /// Its data is something else than a file.
    NoFile,
    /// Others have it.
    InUse(Usage),
    /// Its data cannot be locked.
    Unlocked(LockError),
    /// It was deleted before it was locked.
    Deleted,
}

/// Opens and locks the `data` of the volume in `directory`: for writing, alone,
/// or for reading beside other readers. `direct` bypasses the page cache.
///
/// # Errors
/// It is in use, was deleted meanwhile, or cannot be opened.
pub(super) fn claim(directory: &Path, access: Access, direct: bool) -> Result<File, Unclaimed> {
    let path = directory.join("data");
    let data = open(&path, access, direct).map_err(|why| {
        if directory.exists() {
            why
        } else {
            Unclaimed::Deleted
        }
    })?;
    lock(&data, access).map_err(|error| match error {
        LockError::InUse => Unclaimed::InUse(usage_of(&data)),
        error => Unclaimed::Unlocked(error),
    })?;
    match is_named(&data, &path) {
        Ok(true) => Ok(data),
        Ok(false) => Err(Unclaimed::Deleted),
        Err(error) => Err(Unclaimed::Unopened(error)),
    }
}

fn open(path: &Path, access: Access, direct: bool) -> Result<File, Unclaimed> {
    let kind = fs::symlink_metadata(path).map_err(Unclaimed::Unopened)?;
    if !kind.is_file() {
        return Err(Unclaimed::NoFile);
    }
    let mut flags = libc::O_NOFOLLOW;
    if direct {
        flags |= libc::O_DIRECT;
    }
    OpenOptions::new()
        .read(true)
        .write(access == Access::Exclusive)
        .custom_flags(flags)
        .open(path)
        .map_err(Unclaimed::Unopened)
}

fn usage_of(data: &File) -> Usage {
    let metadata = data.metadata();
    let users = metadata.map(|metadata| usage::users(&metadata));
    Usage::InUse(users.unwrap_or_default())
}

impl Unclaimed {
    /// What that means to who asked for the volume called `name`; with its
    /// `id`, where it is known, it is told how to free it.
    pub(super) fn explain(self, name: &VolumeName, id: Option<VolumeId>) -> Error {
        let refused = |why: &str| Error::configuration(format!("volume '{name}' {why}"));
        match self {
            Self::Unopened(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT) => refused("is damaged: its data is missing"),
                Some(Errno::INVAL) => refused("cannot be used past the page cache")
                    .because(error)
                    .remedy("leaving out ,direct: this file system may not support it"),
                _ => refused("cannot be opened").because(error),
            },
            Self::NoFile => refused("is damaged: its data is not a regular file"),
            Self::InUse(usage) => in_use(name, id, &usage),
            Self::Unlocked(error) => refused("cannot be locked").because(error),
            Self::Deleted => refused("was deleted meanwhile"),
        }
    }
}

fn in_use(name: &VolumeName, id: Option<VolumeId>, usage: &Usage) -> Error {
    let what = match usage {
        Usage::InUse(users) if matches!(users.as_slice(), [User::Machine(_)]) => {
            format!("volume '{name}' is attached to {}", users[0])
        }
        usage => format!("volume '{name}' is {usage}"),
    };
    let refused = Error::configuration(what);
    match (usage.machines().next(), id) {
        (Some(machine), Some(id)) => {
            refused.remedy(format!("plinth vm detach {machine} {}", id.serial()))
        }
        _ => refused.remedy("ending that process, or waiting until it has ended"),
    }
}
