//! A volume grows: first `data`, then the map, then the record.
//!
//! So wherever that is interrupted, `data` is the longest of the three, and
//! whoever opens the volume next goes on from there: what a guest may have
//! heard of is kept.

use std::fs::{File, OpenOptions};

use ::volume::map::BlockMap;
use ::volume::size::VolumeSize;

use crate::amount::Amount;
use crate::error::Error;
use devices::block::lock::Access;

use super::directory::Volume;

/// What a volume grows by: a disk's blocks have at most as many bytes, and its
/// size must be a whole number of them.
const BLOCK: u64 = 4096;

impl Volume {
    /// Grows a volume that nobody uses to `size`.
    ///
    /// # Errors
    /// It is in use or damaged, would shrink, or the file system refuses.
    pub fn grow(&mut self, size: VolumeSize) -> Result<(), Error> {
        let data = self.open(Access::Exclusive, false)?;
        self.lengthen(&data, size)?;
        self.complete_grow(size)
    }

    /// Makes `data` as long as a volume of `size`, which is no smaller than it
    /// is. `data` is the open file.
    ///
    /// # Errors
    /// It would shrink, or the file system refuses; it is as it was then.
    pub fn lengthen(&self, data: &File, size: VolumeSize) -> Result<(), Error> {
        let (present, asked) = (self.record().size, size.bytes());
        if size < present {
            return Err(self
                .refused(&format!(
                    "has {present} and would lose what is beyond {size}: a volume never shrinks"
                ))
                .remedy(format!("{} or more", present.bytes())));
        }
        if size > present && !asked.is_multiple_of(BLOCK) {
            return Err(self
                .refused(&format!(
                    "cannot grow to {size}: it grows to a multiple of {BLOCK} bytes, \
                     whatever its disk's blocks"
                ))
                .remedy(Amount(asked.next_multiple_of(BLOCK)).to_string()));
        }
        let lengthened = data.set_len(asked).and_then(|()| data.sync_all());
        lengthened.map_err(|error| self.cannot_grow().because(error))
    }

    /// Makes the map and the record those of `data` of `size`. The caller has
    /// the volume alone.
    ///
    /// # Errors
    /// The map is damaged, or the file system refuses.
    pub(super) fn complete_grow(&mut self, size: VolumeSize) -> Result<(), Error> {
        let map = OpenOptions::new().read(true).write(true).open(self.map());
        let map = map.map_err(|error| self.cannot_grow().because(error))?;
        let mut map = BlockMap::open(map).map_err(|error| self.cannot_grow().because(error))?;
        if map.header().size < size {
            map.grow(size)
                .map_err(|error| self.cannot_grow().because(error))?;
        }
        map.close()
            .map_err(|error| self.cannot_grow().because(error))?;
        self.record_size(size)
    }

    /// Records that the volume has `size` now.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn record_size(&mut self, size: VolumeSize) -> Result<(), Error> {
        self.change(|record| {
            record.size = record.size.max(size);
            Ok(())
        })
    }

    fn cannot_grow(&self) -> Error {
        self.refused("cannot be grown")
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, MIB, report};
    use super::*;
    use std::fs;

    fn size(bytes: u64) -> VolumeSize {
        VolumeSize::new(bytes).unwrap()
    }

    fn mapped(volume: &Volume) -> VolumeSize {
        let map = BlockMap::read(File::open(volume.map()).unwrap()).unwrap();
        map.header().size
    }

    #[test]
    fn data_map_and_record_grow_together() {
        let f = Fixture::new();
        let mut volume = f.make("root");
        volume.grow(size(1 << 30)).unwrap();
        assert_eq!(fs::metadata(volume.data()).unwrap().len(), 1 << 30);
        assert_eq!(mapped(&volume), size(1 << 30));
        assert_eq!(f.find("root").unwrap().record().size, size(1 << 30));
    }

    #[test]
    fn a_volume_never_shrinks_and_keeps_whole_blocks() {
        let f = Fixture::new();
        let mut volume = f.make("root");
        let smaller = report(volume.grow(size(MIB)));
        assert!(smaller.contains("has 2 MiB and would lose"), "{smaller}");
        let odd = report(volume.grow(size(2 * MIB + 512)));
        assert!(odd.contains("try: 2052 KiB"), "{odd}");
        assert_eq!(fs::metadata(volume.data()).unwrap().len(), 2 * MIB);
    }

    #[test]
    fn a_grow_goes_on_from_wherever_it_was_interrupted() {
        let f = Fixture::new();
        for (name, of_map) in [("data", false), ("map", true)] {
            let mut volume = f.make(name);
            let data = OpenOptions::new().write(true).open(volume.data()).unwrap();
            volume.lengthen(&data, size(3 * MIB)).unwrap();
            if of_map {
                let record = volume.record().clone();
                volume.complete_grow(size(3 * MIB)).unwrap();
                record.write(volume.directory()).unwrap();
            }
            let mut found = f.find(name).unwrap();
            assert_eq!(found.record().size, size(2 * MIB));
            found.open(Access::Shared, false).unwrap();
            assert_eq!(
                (found.record().size, mapped(&found)),
                (size(3 * MIB), size(3 * MIB))
            );
        }
    }
}
