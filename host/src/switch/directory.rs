//! All switches: the directory `$DATA/switches`, and a switch's in it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use network::name::Name;

use crate::durable;
use crate::error::Error;
use crate::option::net::USER;
use crate::shell::quoted;
use crate::volume::lock::{is_named, lock};
use crate::volume::root;

use super::instance;
use super::record::{BadRecord, FILE, Record};

/// Says that what the record says may not be in the kernel yet.
const PENDING: &str = "pending";

/// As many names are told to who asks for one that there is not.
const TOLD: usize = 8;

/// The switches of one user.
#[derive(Clone, Debug)]
pub struct Switches {
    root: PathBuf,
}

/// A switch that nobody else changes meanwhile.
#[derive(Debug)]
pub struct Switch {
    /// What it is called.
    pub name: Name,
    /// What it is.
    pub record: Record,
    directory: PathBuf,
    /// Keeps others from changing it.
    _lock: File,
}

impl Switches {
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
            root: data.join("switches"),
        }
    }

    /// Where everything of the switch `name` is, if it is there.
    pub(super) fn directory(&self, name: &Name) -> PathBuf {
        self.root.join(name.as_str())
    }

    /// The names of all, in order.
    ///
    /// # Errors
    /// The directory cannot be read, or is open to other users.
    pub fn names(&self) -> Result<Vec<Name>, Error> {
        if !self.root.exists() {
            return Ok(Vec::new());
        }
        root::vet(&self.root)?;
        let unreadable =
            |error| Error::host(format!("'{}' cannot be read", self.root.display())).because(error);
        let mut names: Vec<Name> = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(unreadable)? {
            // What has no switch's name, or no record, is not one yet.
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            let name = name.to_str().and_then(|name| name.parse().ok());
            names.extend(name.filter(|_| entry.path().join(FILE).exists()));
        }
        names.sort();
        Ok(names)
    }

    /// What the switch `name` is at the moment.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn read(&self, name: &Name) -> Result<Record, Error> {
        let directory = self.root.join(name.as_str());
        if !directory.join(FILE).exists() {
            return Err(self.unknown(name));
        }
        root::vet(&self.root)?;
        Record::read(&directory).map_err(|error| damaged(&directory, name, error))
    }

    /// The switch `name`, to be changed. Waits for others who do.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn open(&self, name: &Name) -> Result<Switch, Error> {
        let directory = self.root.join(name.as_str());
        let lock = match self.lock(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.unknown(name));
            }
            lock => lock.map_err(|error| unlockable(name, error))?,
        };
        let record = self.read(name)?;
        Ok(Switch {
            name: name.clone(),
            record,
            directory,
            _lock: lock,
        })
    }

    /// A new switch, which is there when this returns.
    ///
    /// # Errors
    /// The name is taken, or the file system refuses.
    pub fn create(&self, name: Name, record: Record) -> Result<Switch, Error> {
        if name.as_str() == USER {
            return Err(Error::configuration(format!(
                "no switch can be called '{name}': --net {name} is a network of its own"
            ))
            .remedy("another name"));
        }
        root::prepare(&self.root)?;
        let failed = |error: io::Error| {
            Error::host(format!("switch '{name}' cannot be stored")).because(error)
        };
        let directory = self.root.join(name.as_str());
        let lock = loop {
            // One without a record is left of a process that was killed.
            match DirBuilder::new().mode(0o700).create(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed(error));
                }
                _ => {}
            }
            match self.lock(&name) {
                // Somebody removed it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                lock => break lock.map_err(|error| unlockable(&name, error))?,
            }
        };
        if directory.join(FILE).exists() {
            return Err(
                Error::configuration(format!("there is a switch '{name}' already"))
                    .remedy("another name; plinth switch list lists those that there are"),
            );
        }
        let switch = Switch {
            name: name.clone(),
            record,
            directory,
            _lock: lock,
        };
        switch.begin()?;
        switch.record.write(&switch.directory).map_err(failed)?;
        durable::synchronize(&self.root).map_err(failed)?;
        Ok(switch)
    }

    /// Keeps others from claiming anything that no two switches can have, until what
    /// is returned is dropped. Who holds this may wait for a switch; who holds a
    /// switch must not wait for this.
    ///
    /// # Errors
    /// The directory cannot be locked, or is open to other users.
    pub(super) fn lock_claims(&self) -> Result<File, Error> {
        root::prepare(&self.root)?;
        lock(&self.root).map_err(|error| {
            Error::host(format!("'{}' cannot be locked", self.root.display())).because(error)
        })
    }

    /// Locks the directory that has the name when it is locked.
    fn lock(&self, name: &Name) -> io::Result<File> {
        let directory = self.root.join(name.as_str());
        loop {
            let lock = lock(&directory)?;
            if is_named(&lock, &directory)? {
                return Ok(lock);
            }
        }
    }

    fn unknown(&self, name: &Name) -> Error {
        let names = self.names().unwrap_or_default();
        let told: Vec<&str> = names.iter().take(TOLD).map(Name::as_str).collect();
        match names.len() {
            0 => Error::configuration(format!("there is no switch '{name}', and no other")).remedy(
                "making one: plinth vpc create NAME, or plinth switch create NAME --bridge",
            ),
            1..=TOLD => Error::configuration(format!("there is no switch '{name}'"))
                .remedy(format!("one of {}", told.join(", "))),
            _ => Error::configuration(format!("there is no switch '{name}'"))
                .remedy("one that plinth switch list lists"),
        }
    }
}

impl Switch {
    /// What another switch of the same user is at the moment, if there is one of that
    /// name.
    pub(super) fn other(&self, name: &Name) -> Option<Result<Record, BadRecord>> {
        let directory = self.directory.with_file_name(name.as_str());
        let there = directory.join(FILE).exists();
        there.then(|| Record::read(&directory))
    }

    /// Has its file say what it is now to be.
    pub(super) fn store(&self, record: &Record) -> Result<(), Error> {
        let written = record.write(&self.directory);
        written.map_err(|error| {
            Error::host(format!("switch '{}' cannot be stored", self.name)).because(error)
        })
    }

    /// What is stored from now on is to be made in the kernel, by somebody else if
    /// this process ends before.
    pub(super) fn begin(&self) -> Result<(), Error> {
        let begun = durable::replace(&self.directory, PENDING, b"");
        begun.map_err(|error| {
            Error::host(format!("switch '{}' cannot be stored", self.name)).because(error)
        })
    }

    /// Whether what is stored may not be in the kernel yet.
    pub(super) fn is_pending(&self) -> bool {
        self.directory.join(PENDING).exists()
    }

    /// What is stored is in the kernel, and what guests were told goes with their
    /// ports.
    pub(super) fn finish(&self) {
        let ports = self.record.kind.ports().into_iter().map(|port| port.id);
        if instance::keep(&self.directory, ports).is_ok() {
            // If it stays, everything is made once more.
            let _ = fs::remove_file(self.directory.join(PENDING));
        }
    }

    /// Forgets it. Nothing of it is to be in the kernel any more.
    pub(super) fn forget(self) -> Result<(), Error> {
        let failed = |error: io::Error| {
            Error::host(format!("switch '{}' cannot be removed", self.name)).because(error)
        };
        fs::remove_file(self.directory.join(FILE)).map_err(failed)?;
        fs::remove_dir_all(&self.directory).map_err(failed)?;
        let root = self.directory.parent().unwrap_or(Path::new("/"));
        durable::synchronize(root).map_err(failed)
    }
}

fn unlockable(name: &Name, error: io::Error) -> Error {
    Error::host(format!("switch '{name}' cannot be locked")).because(error)
}

fn damaged(directory: &Path, name: &Name, error: BadRecord) -> Error {
    Error::host(format!("switch '{name}' is damaged"))
        .because(error)
        .remedy(format!(
            "putting back what was in {}",
            quoted(&directory.join(FILE))
        ))
}

#[cfg(test)]
mod tests {
    use super::super::record::Kind;
    use super::*;
    use network::vpc::Vpc;
    use std::os::unix::fs::PermissionsExt;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn record() -> Record {
        let kind = Kind::Vpc(Vpc::new("10.0.0.0/16".parse().unwrap()).unwrap());
        Record { kind }
    }

    #[test]
    fn a_switch_is_there_until_it_is_forgotten() {
        let data = tempfile::tempdir().unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        let switches = Switches::at(&data.path().join("plinth"));
        let error = switches.read(&name("lan")).unwrap_err().report();
        assert!(error.contains("there is no switch 'lan', and no other"));
        drop(switches.create(name("lan"), record()).unwrap());
        assert_eq!(switches.names().unwrap(), [name("lan")]);
        let taken = switches.create(name("lan"), record()).unwrap_err();
        assert!(taken.report().contains("there is a switch 'lan' already"));
        let error = switches.open(&name("wan")).unwrap_err().report();
        assert!(error.contains("try: one of lan"), "{error}");
        switches.open(&name("lan")).unwrap().forget().unwrap();
        assert!(switches.names().unwrap().is_empty());
    }

    #[test]
    fn what_a_killed_creator_left_is_taken_over() {
        let data = tempfile::tempdir().unwrap();
        let switches = Switches::at(data.path());
        root::prepare(&switches.root).unwrap();
        fs::create_dir(switches.root.join("lan")).unwrap();
        assert!(switches.names().unwrap().is_empty());
        assert!(switches.read(&name("lan")).is_err());
        switches.create(name("lan"), record()).unwrap();
        assert_eq!(switches.names().unwrap(), [name("lan")]);
    }
}
