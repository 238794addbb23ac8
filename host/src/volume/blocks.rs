//! The blocks of a volume: which of them are there.

use std::fs::File;

use ::volume::entry::State;
use ::volume::map::{BlockMap, MapError};

use crate::error::Error;

use super::directory::Volume;

/// How much of a volume is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// All its blocks.
    pub blocks: u32,
    /// Those that are still in a snapshot, or in the volume that it is a copy of.
    pub absent: u32,
}

impl Volume {
    /// The map of its blocks, to be read, as far as it is in its file.
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
        if absent.is_none() {
            return Ok(());
        }
        self.expect_filled()?;
        Err(self
            .refused("is not loaded from its snapshot yet")
            .remedy(format!(
                "plinth volume load {}, and then the same again",
                self.name()
            )))
    }

    /// How many of its blocks are there, as far as that is durable. Somebody may
    /// be loading others.
    ///
    /// # Errors
    /// The map is damaged.
    pub fn loaded(&self) -> Result<Loaded, Error> {
        let mut map = self.read_map()?;
        let size = map.header().size;
        let mut loaded = Loaded {
            blocks: size.blocks(),
            absent: 0,
        };
        if map.is_complete() {
            return Ok(loaded);
        }
        for block in 0..size.blocks() {
            let entry = map.get(block);
            let entry = entry.map_err(|error| self.refused("is damaged").because(error))?;
            loaded.absent += u32::from(entry.state == State::Absent);
        }
        Ok(loaded)
    }
}

impl Loaded {
    /// Those that are there, of a hundred; not all before all are.
    pub fn percent(self) -> u32 {
        let there = u64::from(self.blocks - self.absent);
        let percent = there * 100 / u64::from(self.blocks.max(1));
        u32::try_from(percent).unwrap_or(100)
    }
}
