//! A volume to be used: its `data`, open and locked, and as long as it should
//! be.

use std::fs::File;

use ::volume::entry::State;
use ::volume::header::Header;
use ::volume::size::VolumeSize;
use devices::block::lock::{Access, lock};

use crate::amount::Amount;
use crate::error::Error;
use crate::shell::quoted;

use super::claim::{Unclaimed, claim, claim_to_fill};
use super::directory::Volume;

impl Volume {
    /// Opens and locks `data`: for writing, alone, or for reading beside other
    /// readers. `direct` bypasses the page cache.
    ///
    /// A grow that a crash interrupted is completed.
    ///
    /// # Errors
    /// It is in use, was deleted meanwhile, or is not as plinth left it.
    pub fn open(&mut self, access: Access, direct: bool) -> Result<File, Error> {
        let data = self.claim(access, direct)?;
        let Some(size) = self.interrupted_grow(&data)? else {
            return Ok(data);
        };
        if access == Access::Exclusive {
            self.complete_grow(size)?;
            return Ok(data);
        }
        // That is for a writer, after whom no other is let in.
        drop(data);
        let writer = self.open(Access::Exclusive, false)?;
        lock(&writer, Access::Shared)
            .map_err(|error| self.refused("cannot be locked").because(error))?;
        self.claim(access, direct)
    }

    /// Opens and locks `data`, whatever it holds.
    ///
    /// # Errors
    /// It is in use, or was deleted meanwhile.
    pub fn claim(&mut self, access: Access, direct: bool) -> Result<File, Error> {
        let data = claim(self.directory(), access, direct)
            .map_err(|why| why.explain(self.name(), Some(self.record().id)))?;
        // What was read before it was locked may have changed since.
        self.refresh()?;
        Ok(data)
    }

    /// Opens and locks `data` to fill the volume. `None` if somebody fills it
    /// already.
    ///
    /// # Errors
    /// It is in use otherwise, was deleted meanwhile, or is not as plinth left it.
    pub fn open_to_fill(&mut self) -> Result<Option<File>, Error> {
        let data = match claim_to_fill(self.directory()) {
            Ok(data) => data,
            Err(Unclaimed::InUse(usage)) if usage.is_loading() => return Ok(None),
            Err(why) => return Err(why.explain(self.name(), Some(self.record().id))),
        };
        self.refresh()?;
        if let Some(size) = self.interrupted_grow(&data)? {
            self.complete_grow(size)?;
        }
        Ok(Some(data))
    }

    /// Opens the map for writing. The caller has locked `data` for that.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open_map(&self) -> Result<File, Error> {
        let map = File::options().read(true).write(true).open(self.map());
        map.map_err(|error| {
            self.refused("is damaged: the map of its blocks cannot be opened")
                .because(error)
        })
    }

    /// Whether none of it is still in the snapshot that it was made from.
    ///
    /// # Errors
    /// The map is damaged.
    pub fn is_loaded(&self) -> Result<bool, Error> {
        Ok(self.map_header()?.fresh != State::Absent)
    }

    /// What size the volume has if map or record do not know it yet. `data`
    /// says: it grows first.
    fn interrupted_grow(&self, data: &File) -> Result<Option<VolumeSize>, Error> {
        let metadata = data.metadata();
        let length = metadata
            .map_err(|error| self.refused("cannot be measured").because(error))?
            .len();
        let mapped = self.map_header()?.size;
        let known = mapped.max(self.record().size);
        if length < known.bytes() {
            return Err(self.cut(length, known));
        }
        if length == mapped.bytes() && mapped == self.record().size {
            return Ok(None);
        }
        VolumeSize::new(length).map(Some).map_err(|error| {
            self.refused("has been lengthened behind plinth's back")
                .because(error)
                .remedy(format!("its own size: {}", self.truncate(known)))
        })
    }

    /// What the map says of all of the volume.
    fn map_header(&self) -> Result<Header, Error> {
        let header = File::open(self.map()).and_then(|map| Header::read(&map));
        let header = header.map_err(|error| {
            self.refused("is damaged: the map of its blocks cannot be read")
                .because(error)
        })?;
        self.expect_own(&header).map(|()| header)
    }

    /// Refuses a map that is another volume's.
    pub(super) fn expect_own(&self, header: &Header) -> Result<(), Error> {
        if header.id == self.record().id {
            return Ok(());
        }
        let why = format!("is damaged: the map of its blocks is {}'s", header.id);
        Err(self.refused(&why))
    }

    fn cut(&self, length: u64, known: VolumeSize) -> Error {
        let left = Amount(length);
        self.refused(&format!(
            "has been cut behind plinth's back: of {known}, {left} are left"
        ))
        .remedy(format!(
            "putting its data back; or zeroes for what is lost: {}",
            self.truncate(known)
        ))
    }

    /// The shell's command that gives `data` this size.
    fn truncate(&self, size: VolumeSize) -> String {
        let data = self.data();
        format!("truncate -s {} {}", size.bytes(), quoted(&data))
    }

    /// It cannot do what it is asked.
    pub(super) fn refused(&self, why: &str) -> Error {
        Error::configuration(format!("volume '{}' {why}", self.name()))
    }
}

#[cfg(test)]
mod tests;
