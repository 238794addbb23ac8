//! A volume to be used: its `data`, open and locked, and as long as it should
//! be.

use std::cmp::Ordering;
use std::fs::File;

use ::volume::size::VolumeSize;
use devices::block::lock::Access;

use crate::error::Error;
use crate::option::size::Amount;
use crate::shell::quoted;

use super::claim::claim;
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
        let data = claim(self.directory(), access, direct)
            .map_err(|why| why.explain(self.name(), Some(self.record().id)))?;
        // What was read before it was locked may have changed since.
        self.change(|_| Ok(()))?;
        self.settle_size(&data)?;
        Ok(data)
    }

    /// What the record says of the size, and what the file says.
    fn settle_size(&mut self, data: &File) -> Result<(), Error> {
        let metadata = data.metadata();
        let length = metadata
            .map_err(|error| self.refused("cannot be measured").because(error))?
            .len();
        let recorded = self.record().size;
        let its_own = format!("truncate -s {} {}", recorded.bytes(), quoted(&self.data()));
        match length.cmp(&recorded.bytes()) {
            Ordering::Equal => Ok(()),
            Ordering::Less => Err(self
                .refused(&format!(
                    "has been cut behind plinth's back: of {recorded}, {} are left",
                    Amount(length)
                ))
                .remedy(format!(
                    "putting its data back; or zeroes for what is lost: {its_own}"
                ))),
            // A grow that a crash interrupted: the file comes first.
            Ordering::Greater => match VolumeSize::new(length) {
                Ok(size) => self.change(|record| {
                    record.size = size;
                    Ok(())
                }),
                Err(error) => Err(self
                    .refused("has been lengthened behind plinth's back")
                    .because(error)
                    .remedy(format!("its own size: {its_own}"))),
            },
        }
    }

    /// It cannot do what it is asked.
    pub(super) fn refused(&self, why: &str) -> Error {
        Error::configuration(format!("volume '{}' {why}", self.name()))
    }
}

#[cfg(test)]
mod tests;
