//! Locks on the directories of volumes and switches, held for a moment by who changes what is
//! in them.
//!
//! A directory may lose its name between being found and being locked:
//! whoever depends on it looks afterwards.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::retry_on_intr;

/// Locks the directory `path` until what is returned is dropped.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let directory = File::open(path)?;
    retry_on_intr(|| flock(&directory, FlockOperation::LockExclusive))?;
    Ok(directory)
}

/// Whether `file` is what `path` names.
pub(crate) fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    let named = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        named => named?,
    };
    let file = file.metadata()?;
    Ok((file.dev(), file.ino()) == (named.dev(), named.ino()))
}
