//! The blocks of a volume that nobody writes to.

use std::fs::File;

use ::volume::map::{BlockMap, MapError};

use crate::error::Error;

use super::directory::Volume;

impl Volume {
    /// The map of its blocks, to be read. The caller holds the volume.
    ///
    /// # Errors
    /// It is damaged.
    pub fn read_map(&self) -> Result<BlockMap, Error> {
        let file = File::open(self.map()).map_err(MapError::Read);
        let map = file.and_then(BlockMap::read);
        map.map_err(|error| self.refused("is damaged").because(error))
    }

    /// Refuses a volume that is still in a snapshot in part.
    ///
    /// # Errors
    /// It is.
    pub fn expect_loaded(&self) -> Result<(), Error> {
        let mut map = self.read_map()?;
        let blocks = 0..self.record().size.blocks();
        let absent = match map.is_complete() {
            true => None,
            false => map
                .absent_in(blocks)
                .map_err(|error| self.refused("is damaged").because(error))?,
        };
        match absent {
            None => Ok(()),
            Some(_) => Err(self
                .refused("is still being loaded from its snapshot")
                .remedy("once more when it is attached and has been loaded")),
        }
    }
}
