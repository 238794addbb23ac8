//! All volumes: the directory `$DATA/volumes`, and a volume's in it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ::volume::id::VolumeId;

use crate::error::Error;
use crate::shell::quoted;

use super::lock::lock;
use super::name::VolumeName;
use super::record::{BadRecord, Record};
use super::root;
use super::selector::Selector;

/// Beginning of the name of a volume that is being made.
pub(super) const NEW: &str = ".new-";

/// Beginning of the name of a volume that is being removed.
pub(super) const GONE: &str = ".gone-";

/// As many names are told to who asks for one that there is not.
const TOLD: usize = 8;

/// The volumes of one user.
#[derive(Clone, Debug)]
pub struct Volumes {
    root: PathBuf,
}

/// What has a volume's name: a volume, or why it is damaged.
pub type Listed = (VolumeName, Result<Volume, Error>);

/// A volume's directory, and what it says of the volume.
#[derive(Clone, Debug)]
pub struct Volume {
    pub(super) directory: PathBuf,
    pub(super) record: Record,
}

impl Volumes {
    /// This user's, of which there need not be any yet.
    ///
    /// # Errors
    /// The environment names a place that cannot be one.
    pub fn of_this_user() -> Result<Self, Error> {
        Ok(Self::at(&root::locate()?))
    }

    /// Those in the data directory `data`.
    pub fn at(data: &Path) -> Self {
        Self {
            root: data.join("volumes"),
        }
    }

    /// Every volume by its name, in the order of the names: as it is, or why
    /// it is damaged.
    ///
    /// # Errors
    /// The directory cannot be read, or is open to other users.
    pub fn all(&self) -> Result<Vec<Listed>, Error> {
        let names = self.names()?;
        let all = names.into_iter().filter_map(|name| {
            let volume = self.read(&name).transpose()?;
            Some((name, volume))
        });
        Ok(all.collect())
    }

    /// The volume that `selector` means.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn find(&self, selector: &Selector) -> Result<Volume, Error> {
        let found = match selector {
            Selector::Name(name) => self.read(name)?,
            Selector::Id(id) => self.with_id(*id)?,
        };
        match found {
            Some(volume) => Ok(volume),
            None => Err(self.unknown(selector)),
        }
    }

    /// There is no such volume, but perhaps others.
    pub(super) fn unknown(&self, selector: &Selector) -> Error {
        let names = self.names().unwrap_or_default();
        let told: Vec<&str> = names.iter().take(TOLD).map(VolumeName::as_str).collect();
        match names.len() {
            0 => Error::configuration(format!("there is no volume '{selector}', and no other"))
                .remedy("making one: plinth volume create NAME --size 20GiB"),
            1..=TOLD => Error::configuration(format!("there is no volume '{selector}'"))
                .remedy(format!("one of {}", told.join(", "))),
            _ => Error::configuration(format!("there is no volume '{selector}'"))
                .remedy("one that plinth volume list lists"),
        }
    }

    /// The directory of the volume called `name`, which need not be there.
    pub(super) fn directory(&self, name: &VolumeName) -> PathBuf {
        self.root.join(name.as_str())
    }

    /// The directory of them all.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The name of the volume whose `data` has this path.
    pub fn of_data(&self, path: &Path) -> Option<VolumeName> {
        let directory = path.strip_prefix(&self.root).ok()?.parent()?;
        (path.file_name() == Some(OsStr::new("data")))
            .then(|| directory.to_str()?.parse().ok())
            .flatten()
    }

    /// The volume with this `id`; none if it is not there.
    pub(super) fn with_id(&self, id: VolumeId) -> Result<Option<Volume>, Error> {
        let volumes = self
            .all()?
            .into_iter()
            .filter_map(|(_, volume)| volume.ok());
        Ok(volumes.into_iter().find(|volume| volume.record.id == id))
    }

    fn names(&self) -> Result<Vec<VolumeName>, Error> {
        if !self.root.exists() {
            return Ok(Vec::new());
        }
        root::vet(&self.root)?;
        let unreadable = |error| unreadable(&self.root, error);
        let mut names: Vec<VolumeName> = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(unreadable)? {
            // What has no volume's name is not a volume, or not one yet.
            let name = entry.map_err(unreadable)?.file_name();
            names.extend(name.to_str().and_then(|name| name.parse().ok()));
        }
        names.sort();
        Ok(names)
    }

    /// The volume called `name`; none if it is not there.
    fn read(&self, name: &VolumeName) -> Result<Option<Volume>, Error> {
        let directory = self.directory(name);
        let is_there = directory
            .try_exists()
            .map_err(|error| unreadable(&directory, error))?;
        if !is_there {
            return Ok(None);
        }
        root::vet(&self.root)?;
        match Volume::read(directory.clone(), name) {
            // It may have been deleted meanwhile.
            Err(_) if !directory.exists() => Ok(None),
            volume => volume.map(Some),
        }
    }

    /// Locks the directory, against others who make and remove volumes, until
    /// what is returned is dropped.
    pub(super) fn lock(&self) -> io::Result<File> {
        lock(&self.root)
    }
}

impl Volume {
    pub(super) fn read(directory: PathBuf, name: &VolumeName) -> Result<Self, Error> {
        let record = Record::read(&directory).map_err(|error| damaged(&directory, name, error))?;
        if record.name != *name {
            let error = BadRecord::OtherName(record.name);
            return Err(damaged(&directory, name, error));
        }
        Ok(Self { directory, record })
    }

    /// Of a volume in `directory` that has this `record`.
    pub(super) fn made(directory: PathBuf, record: Record) -> Self {
        Self { directory, record }
    }

    /// What it is called.
    pub fn name(&self) -> &VolumeName {
        &self.record.name
    }

    /// What it is.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// All volumes, of which it is one.
    pub(super) fn volumes(&self) -> Volumes {
        let root = self.directory.parent().unwrap_or(Path::new("/"));
        Volumes { root: root.into() }
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file with what the guest sees.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The file with the state of each block.
    pub fn map(&self) -> PathBuf {
        self.directory.join("map")
    }
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::host(format!("'{}' cannot be read", path.display())).because(error)
}

fn damaged(directory: &Path, name: &VolumeName, error: BadRecord) -> Error {
    Error::host(format!("volume '{name}' is damaged"))
        .because(error)
        .remedy(format!(
            "putting back what was in {}; plinth volume delete {name} removes it with all its data",
            quoted(directory)
        ))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn a_path_of_data_tells_the_volume() {
        let f = Fixture::new();
        let volume = f.make("root");
        assert_eq!(
            f.volumes.of_data(&volume.data()).as_ref(),
            Some(volume.name())
        );
        assert_eq!(f.volumes.of_data(&volume.map()), None);
        assert_eq!(f.volumes.of_data(Path::new("/disk.img")), None);
        assert_eq!(f.volumes.of_data(&f.volumes.root().join("data")), None);
    }
}
