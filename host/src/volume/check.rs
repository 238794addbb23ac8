//! What is wrong with a volume that nobody writes to, and repairing it.

use std::fs::File;
use std::io;

use ::volume::check::{self, Gravity, Report};
use ::volume::entry::State;
use ::volume::header::Header;
use ::volume::id::VolumeId;
use ::volume::size::VolumeSize;
use devices::block::lock::Access;

use crate::error::Error;

use super::directory::Volume;

/// A volume, examined.
#[derive(Debug)]
pub struct Checked {
    /// Its data and map.
    pub files: Report,
    /// Its size in the record, if that is another than that of its files.
    pub size: Option<OtherSize>,
    /// Why what it lacks cannot be had of the volume that it is a copy of.
    pub lost: Option<Lost>,
}

/// A copy that lacks blocks which are kept for it nowhere.
#[derive(Debug, thiserror::Error)]
#[error("it lacks blocks of the volume that it is a copy of, {source_id}, and {why}")]
pub struct Lost {
    source_id: VolumeId,
    why: String,
}

/// A record that does not have the size of the volume's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("volume.json says that it has {recorded}, and its data has {data}")]
pub struct OtherSize {
    recorded: VolumeSize,
    data: VolumeSize,
}

impl OtherSize {
    fn gravity(self) -> Gravity {
        match self.recorded < self.data {
            true => Gravity::Repairable,
            false => Gravity::Damage,
        }
    }
}

impl Checked {
    /// What is the gravest that was found and not put right.
    pub fn gravity(&self) -> Option<Gravity> {
        let size = self.size.map(OtherSize::gravity);
        let lost = self.lost.as_ref().map(|_| Gravity::Damage);
        self.files.gravity().max(size).max(lost)
    }
}

/// Examines `volume`; with `repair`, what loses nothing is put right.
///
/// # Errors
/// It is in use, its map is another's, or its files cannot be read or written.
pub fn check(volume: &mut Volume, repair: bool) -> Result<Checked, Error> {
    let access = match repair {
        true => Access::Exclusive,
        false => Access::Shared,
    };
    let data = volume.claim(access, false)?;
    let failed = |error: io::Error| {
        Error::host(format!("volume '{}' cannot be checked", volume.name())).because(error)
    };
    let map = File::options().read(true).write(repair).open(volume.map());
    let map = map.map_err(failed)?;
    if let Ok(header) = Header::read(&map) {
        volume.expect_own(&header)?;
    }
    let files = check::check(&map, &data, repair).map_err(failed)?;
    let length = data.metadata().map_err(failed)?.len();
    let mut size = None;
    // If it is none, its files have been found to be wrong.
    if let Ok(data) = VolumeSize::new(length) {
        if repair && files.gravity().is_none() {
            volume.record_size(data)?;
        }
        let recorded = volume.record().size;
        size = (recorded != data).then_some(OtherSize { recorded, data });
    }
    let lost = match &files.header {
        Some(header) if header.fresh == State::Absent => lost(volume)?,
        _ => None,
    };
    Ok(Checked { files, size, lost })
}

/// Why `volume`, which lacks blocks, cannot have them of the one that it is a copy
/// of; `None` if it can, or is no copy.
fn lost(volume: &Volume) -> Result<Option<Lost>, Error> {
    let Some(source_id) = volume.record().copy_of else {
        return Ok(None);
    };
    let why = match volume.source()? {
        None => "that is not there".to_owned(),
        Some(source) => match source.kept_for(volume).view() {
            Ok(_) => return Ok(None),
            Err(error) => format!("what that kept for it cannot be read: {}", error.report()),
        },
    };
    Ok(Some(Lost { source_id, why }))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, MIB, report};
    use super::*;
    use ::volume::map::place;
    use std::fs;
    use std::os::unix::fs::FileExt;

    fn open(path: std::path::PathBuf) -> File {
        File::options().read(true).write(true).open(path).unwrap()
    }

    #[test]
    fn a_whole_volume_is_clean() {
        let f = Fixture::new();
        let checked = check(&mut f.make("root"), false).unwrap();
        assert_eq!(checked.gravity(), None);
        assert_eq!(checked.files.counts.zero, 4);
    }

    #[test]
    fn a_grow_that_was_interrupted_anywhere_is_repaired() {
        let f = Fixture::new();
        let longer = VolumeSize::new(3 * MIB).unwrap();
        for (name, of_map) in [("data", false), ("map", true)] {
            let mut volume = f.make(name);
            volume.lengthen(&open(volume.data()), longer).unwrap();
            if of_map {
                let record = volume.record().clone();
                volume.complete_grow(longer).unwrap();
                record.write(volume.directory()).unwrap();
            }
            let found = check(&mut volume, false).unwrap();
            assert_eq!(found.gravity(), Some(Gravity::Repairable), "{name}");
            let repaired = check(&mut volume, true).unwrap();
            assert_eq!(repaired.gravity(), None, "{name}");
            assert_eq!(f.find(name).unwrap().record().size, longer);
            assert_eq!(check(&mut volume, false).unwrap().gravity(), None);
        }
    }

    #[test]
    fn what_was_lost_is_not_called_repaired() {
        let f = Fixture::new();
        let mut volume = f.make("cut");
        open(volume.data()).set_len(MIB).unwrap();
        let mut torn = f.make("torn");
        fs::write(torn.map(), "").unwrap();
        for volume in [&mut volume, &mut torn] {
            for repair in [false, true] {
                let checked = check(volume, repair).unwrap();
                assert_eq!(checked.gravity(), Some(Gravity::Damage));
            }
        }
    }

    #[test]
    fn a_damaged_part_of_the_map_is_repaired() {
        let f = Fixture::new();
        let mut volume = f.make("root");
        open(volume.map())
            .write_all_at(&[1], place(0) + 20)
            .unwrap();
        let found = check(&mut volume, false).unwrap();
        assert_eq!(found.gravity(), Some(Gravity::Repairable));
        assert_eq!(check(&mut volume, true).unwrap().files.repaired, 1);
        assert_eq!(check(&mut volume, false).unwrap().gravity(), None);
    }

    #[test]
    fn a_volume_in_use_or_with_another_s_map_is_not_repaired() {
        let f = Fixture::new();
        let (mut volume, other) = (f.make("root"), f.make("other"));
        fs::copy(other.map(), volume.map()).unwrap();
        assert!(report(check(&mut volume, true)).contains("the map of its blocks is vol-"));
        let mut used = f.make("used");
        let _writer = used.open(Access::Exclusive, false).unwrap();
        assert!(report(check(&mut used, false)).contains("is in use by process"));
    }
}
