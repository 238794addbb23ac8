//! Who must not be at work at the same time: locks in the data directory.
//!
//! They end with the process that has them, however it ends. They hold among
//! the processes of one host: a store belongs to one host, and to one data
//! directory on it. Two locks, since uploads take hours and deleting does not:
//!
//! - `snapshots.lock`: those who store chunks ([`Adding`]) share it; the
//!   collector ([`Collecting`]) has it alone. Otherwise it would remove a chunk
//!   that an upload has just found, and has not named in a manifest yet.
//! - `references.lock`: those who begin to need a snapshot ([`Referring`])
//!   share it: whoever makes a volume from it, or takes it as a parent. Who
//!   deletes one ([`Deleting`]) has it alone.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};

use crate::error::Error;

const SNAPSHOTS: &str = "snapshots.lock";
const REFERENCES: &str = "references.lock";

/// Chunks may be stored.
#[derive(Debug)]
pub struct Adding(#[expect(dead_code, reason = "it is the lock")] File);

/// Nobody stores chunks.
#[derive(Debug)]
pub struct Collecting(#[expect(dead_code, reason = "it is the lock")] File);

/// No snapshot is deleted.
#[derive(Debug)]
pub struct Referring(#[expect(dead_code, reason = "it is the lock")] File);

/// Nobody begins to need a snapshot.
#[derive(Debug)]
pub struct Deleting(#[expect(dead_code, reason = "it is the lock")] File);

impl Adding {
    /// Waits until no collector is at work.
    ///
    /// # Errors
    /// The file cannot be locked.
    pub fn wait(data: &Path) -> Result<Self, Error> {
        lock(data, SNAPSHOTS, FlockOperation::LockShared).map(Self)
    }
}

impl Collecting {
    /// Waits until no snapshot is being stored and no other collector at work.
    ///
    /// # Errors
    /// The file cannot be locked.
    pub fn wait(data: &Path) -> Result<Self, Error> {
        lock(data, SNAPSHOTS, FlockOperation::LockExclusive).map(Self)
    }

    /// Now or not at all.
    ///
    /// # Errors
    /// A snapshot is being stored, or another collector is at work, or the file
    /// cannot be locked.
    pub fn now(data: &Path) -> Result<Self, Error> {
        Self::if_free(data)?.ok_or_else(|| {
            Error::host("snapshots are being stored or collected at the moment").remedy(
                "the same once that is done, which plinth snapshot collect --wait waits for",
            )
        })
    }

    /// `None` if a snapshot is being stored, or another collector is at work.
    ///
    /// # Errors
    /// The file cannot be locked.
    pub fn if_free(data: &Path) -> Result<Option<Self>, Error> {
        let file = open(data, SNAPSHOTS)?;
        match retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(Some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(refused(data, SNAPSHOTS, error)),
        }
    }
}

impl Referring {
    /// Waits until nobody deletes.
    ///
    /// # Errors
    /// The file cannot be locked.
    pub fn wait(data: &Path) -> Result<Self, Error> {
        lock(data, REFERENCES, FlockOperation::LockShared).map(Self)
    }
}

impl Deleting {
    /// Waits until nobody else deletes or begins to need a snapshot.
    ///
    /// # Errors
    /// The file cannot be locked.
    pub fn wait(data: &Path) -> Result<Self, Error> {
        lock(data, REFERENCES, FlockOperation::LockExclusive).map(Self)
    }
}

fn lock(data: &Path, name: &str, operation: FlockOperation) -> Result<File, Error> {
    let file = open(data, name)?;
    let locked = retry_on_intr(|| flock(&file, operation));
    locked.map_err(|error| refused(data, name, error))?;
    Ok(file)
}

fn open(data: &Path, name: &str) -> Result<File, Error> {
    let open = || {
        DirBuilder::new().recursive(true).mode(0o700).create(data)?;
        let mut options = File::options();
        let options = options.create(true).truncate(false).write(true).mode(0o600);
        options.open(data.join(name))
    };
    open().map_err(|error| refused(data, name, error))
}

fn refused(data: &Path, name: &str, error: impl Into<io::Error>) -> Error {
    let path = data.join(name);
    Error::host(format!("'{}' cannot be locked", path.display())).because(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_collects_while_somebody_stores() {
        let directory = tempfile::tempdir().unwrap();
        let data = &directory.path().join("data");
        let one = Adding::wait(data).unwrap();
        let two = Adding::wait(data).unwrap();
        assert!(Collecting::if_free(data).unwrap().is_none());
        drop((one, two));
        // Children of other tests have the locks until they are executed.
        let collecting = Collecting::wait(data).unwrap();
        let report = Collecting::now(data).unwrap_err().report();
        assert!(report.contains("being stored or collected"), "{report}");
        drop(collecting);
        Adding::wait(data).unwrap();
    }

    #[test]
    fn who_deletes_does_not_wait_for_an_upload() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        let _adding = Adding::wait(data).unwrap();
        drop(Referring::wait(data).unwrap());
        Deleting::wait(data).unwrap();
    }
}
