//! A volume that is being made: a directory of its own, which gets the
//! volume's name when everything in it is durable.
//!
//! Dropped before that, it takes the directory with it; what a crash leaves is
//! swept by the next command that makes or removes a volume. The lock on the
//! directory tells it from one that somebody is still filling.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ::volume::entry::State;
use ::volume::id::VolumeId;
use ::volume::map;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat, renameat_with};
use rustix::io::Errno;

use crate::amount::Amount;
use crate::durable;
use crate::error::Error;

use super::directory::{GONE, NEW, Volume, Volumes};
use super::lock::lock;
use super::name::VolumeName;
use super::record::Record;
use super::root;

/// A volume without a name yet.
#[derive(Debug)]
pub struct NewVolume {
    volumes: Volumes,
    record: Record,
    directory: PathBuf,
    data: File,
    map: File,
    /// Held for as long as it is being filled.
    _lock: File,
    finished: bool,
}

impl NewVolume {
    /// Begins the volume that `record` describes. Its `data` are a hole, and its
    /// blocks all `fresh`.
    ///
    /// # Errors
    /// The name is taken, or the file system refuses, for instance a file of
    /// that size.
    pub fn begin(volumes: &Volumes, record: Record, fresh: State) -> Result<Self, Error> {
        root::prepare(volumes.root())?;
        let name = record.name.clone();
        let failed = |error| failed(&name, error);
        let directory = volumes.root().join(format!("{NEW}{}", record.id));
        let exclusive = volumes.lock().map_err(failed)?;
        sweep(volumes.root());
        if volumes.directory(&name).exists() {
            return Err(taken(&name));
        }
        DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(failed)?;
        let lock = lock(&directory).map_err(failed)?;
        drop(exclusive);
        let data = new_file(&directory.join("data")).map_err(failed)?;
        let map = new_file(&directory.join("map")).map_err(failed)?;
        let new = Self {
            volumes: volumes.clone(),
            record,
            directory,
            data,
            map,
            _lock: lock,
            finished: false,
        };
        new.resize()?;
        let record = new.record();
        map::create(new.map(), record.id, record.size, fresh)
            .map_err(|error| unmade(&record.name).because(error))?;
        Ok(new)
    }

    /// The file that the guest is to see, open for writing, as long as the
    /// volume is large, and empty.
    pub fn data(&self) -> &File {
        &self.data
    }

    /// What the volume is to be.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The file with the state of each block, open for writing.
    pub fn map(&self) -> &File {
        &self.map
    }

    /// Gives the volume its name, once it is durable.
    ///
    /// # Errors
    /// The name has been taken meanwhile, or the file system refuses.
    pub fn finish(mut self) -> Result<Volume, Error> {
        let name = self.record.name.clone();
        let failed = |error| failed(&name, error);
        self.data.sync_all().map_err(failed)?;
        self.map.sync_all().map_err(failed)?;
        self.record.write(&self.directory).map_err(failed)?;
        let named = self.volumes.directory(&name);
        // Who looks whether it is there yet finds it here or there.
        let names = self.volumes.lock().map_err(failed)?;
        rename(&self.directory, &named).map_err(|errno| match errno {
            Errno::EXIST | Errno::NOTEMPTY => taken(&name),
            errno => failed(errno.into()),
        })?;
        self.finished = true;
        drop(names);
        durable::synchronize(self.volumes.root()).map_err(failed)?;
        Ok(Volume::made(named, self.record.clone()))
    }

    /// Makes `data` as long as the volume is large.
    fn resize(&self) -> Result<(), Error> {
        let size = self.record.size;
        self.data.set_len(size.bytes()).map_err(|error| {
            let refused = failed(&self.record.name, error);
            match self.data.metadata() {
                Ok(metadata) if metadata.len() < size.bytes() => refused.remedy(format!(
                    "a smaller size: this file system may not have files of {}",
                    Amount(size.bytes())
                )),
                _ => refused,
            }
        })
    }
}

impl Drop for NewVolume {
    fn drop(&mut self) {
        if !self.finished {
            // What is left is swept by the next command.
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// Removes what commands that were ended have left: volumes that nobody is
/// making any more, and those that are gone. The caller holds the lock on
/// `root`. What cannot be removed now is left for the next time.
pub(super) fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_left = name.starts_with(GONE) || name.starts_with(NEW) && is_free(&entry.path());
        if is_left {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether somebody is making the volume with this `id`.
pub(super) fn is_being_made(root: &Path, id: VolumeId) -> bool {
    let directory = root.join(format!("{NEW}{id}"));
    directory.exists() && !is_free(&directory)
}

fn is_free(directory: &Path) -> bool {
    let free = |directory| flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok();
    File::open(directory).is_ok_and(free)
}

/// Gives a directory a name that is free. A name that a volume has is not free
/// for a plain rename either, as its directory is not empty; some file systems
/// know no other (rename(2)).
fn rename(directory: &Path, named: &Path) -> rustix::io::Result<()> {
    match renameat_with(CWD, directory, CWD, named, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL) => renameat(CWD, directory, CWD, named),
        renamed => renamed,
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    options.mode(0o600).open(path)
}

fn taken(name: &VolumeName) -> Error {
    Error::configuration(format!("there is a volume '{name}' already"))
        .remedy("another name; plinth volume list lists those that are taken")
}

fn failed(name: &VolumeName, error: io::Error) -> Error {
    unmade(name).because(error)
}

fn unmade(name: &VolumeName) -> Error {
    Error::host(format!("volume '{name}' cannot be made"))
}

#[cfg(test)]
mod tests;
