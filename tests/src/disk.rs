//! A disk image of the test's own, looked at from outside the guest.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::stream::{Stream, Tally};

/// A raw image in a temporary file; shows as its path.
#[derive(Debug)]
pub struct DiskFile {
    file: NamedTempFile,
}

impl DiskFile {
    /// A disk of `bytes` zero bytes.
    pub fn empty(bytes: u64) -> Self {
        Self::empty_in(&std::env::temp_dir(), bytes)
    }

    /// The same in this directory.
    pub fn empty_in(directory: &Path, bytes: u64) -> Self {
        let file = NamedTempFile::new_in(directory).unwrap();
        file.as_file().set_len(bytes).unwrap();
        Self { file }
    }

    /// A disk that holds the stream of `seed`.
    pub fn holding(seed: u64, bytes: usize) -> Self {
        let mut disk = Self::empty(0);
        io::copy(&mut Stream::new(seed, bytes), &mut disk.file).unwrap();
        disk
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Its size and digest, read anew.
    pub fn tally(&self) -> Tally {
        Tally::of(File::open(self.path()).unwrap())
    }
}

impl fmt::Display for DiskFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().display().fmt(f)
    }
}
