//! Where objects are kept, under names, each whole or not there at all.
//!
//! Nothing here knows what is in an object.

mod directory;
mod error;
mod location;
mod name;
mod s3;

#[cfg(test)]
mod contract;
#[cfg(test)]
pub(super) mod failing;
#[cfg(test)]
pub(super) mod s3_server;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

pub use directory::Directory;
pub use error::{StoreError, Trouble};
pub use location::{BadLocation, Location};
pub use name::{Kind, Name};
pub use s3::{S3, Settings};

/// A place for objects. What it holds is written once and never changed.
pub trait Store: Send + Sync {
    /// Stores `object` as `name`, unless something is there under this name:
    /// then that stays. It is there whole or not at all, whatever happens; that
    /// it is still there after a power failure, [`settle`](Self::settle) says.
    ///
    /// # Errors
    /// The store takes it not: full, unreachable, and so on.
    fn put(&self, name: &Name, object: Object<'_>) -> Result<Put, StoreError>;

    /// Reads `name` piece by piece.
    ///
    /// # Errors
    /// It is not there ([`Trouble::Missing`]) or cannot be read.
    fn open(&self, name: &Name) -> Result<Box<dyn Read + '_>, StoreError>;

    /// Reads the whole of `name`, but no more than `most` bytes and one, so
    /// that something larger is seen to be larger.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    fn read(&self, name: &Name, most: usize) -> Result<Vec<u8>, StoreError>;

    /// Is `name` there? If so, the next [`settle`](Self::settle) makes sure
    /// that it stays.
    ///
    /// # Errors
    /// The store cannot tell.
    fn exists(&self, name: &Name) -> Result<bool, StoreError>;

    /// Calls `each` with the name and size in bytes of all objects of `kind`,
    /// in no order, until it fails. What has no such name is passed over. `each` may
    /// delete what it is called with.
    ///
    /// # Errors
    /// The list cannot be read, or those of `each`.
    fn list(&self, kind: Kind, each: &mut Visitor<'_>) -> Result<(), StoreError>;

    /// Removes `name`; says whether it was there.
    ///
    /// # Errors
    /// It cannot be removed.
    fn delete(&self, name: &Name) -> Result<bool, StoreError>;

    /// Makes durable what has been put, found and deleted so far.
    ///
    /// # Errors
    /// It is not durable.
    fn settle(&self) -> Result<(), StoreError>;

    /// Removes what writers left behind that were killed, and says how much.
    /// No writer must be at work.
    ///
    /// # Errors
    /// It cannot be removed.
    fn sweep(&self) -> Result<Freed, StoreError>;
}

/// What [`Store::list`] calls.
pub type Visitor<'a> = dyn FnMut(Name, u64) -> Result<(), StoreError> + 'a;

/// How [`Store::put`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored now.
    Stored,
    /// Something had been there under this name.
    AlreadyThere,
}

/// Objects that were removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// How many.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Freed {
    /// One more, of this many bytes.
    pub fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// What is to be stored.
#[derive(Clone, Copy, Debug)]
pub enum Object<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// All of this file.
    File(&'a File),
}

impl<'a> Object<'a> {
    /// Its bytes.
    fn len(self) -> io::Result<u64> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
            Self::File(file) => Ok(file.metadata()?.len()),
        }
    }

    /// Reads it from its beginning, each time that it is called.
    fn reader(self) -> Box<dyn Read + 'a> {
        match self {
            Self::Bytes(bytes) => Box::new(bytes),
            Self::File(file) => Box::new(FileReader { file, offset: 0 }),
        }
    }
}

/// Reads a file without moving its offset.
struct FileReader<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
