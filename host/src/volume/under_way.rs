//! Snapshots of a volume that are under way: taken, and not stored yet.
//!
//! Each has two files in the volume's directory (`volume::freeze` draws them).
//! They do not outlive the host's boot, since they are not made durable, and
//! what is left of one that was broken off is nobody's.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ::volume::freeze::{Header, Stage};
use ::volume::id::SnapshotId;

use crate::boot_id;

/// Beginning of the name of the file of what the map was.
const FREEZE: &str = "freeze-";

/// Beginning of the name of the file of what the blocks held.
const KEPT: &str = "kept-";

/// A snapshot that is being stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Which.
    pub snapshot: SnapshotId,
    /// The file of what the map was.
    pub freeze: PathBuf,
    /// The file of what the blocks held that have changed.
    pub kept: PathBuf,
}

impl UnderWay {
    /// The files of `snapshot` in a volume's `directory`, there or not.
    pub fn new(directory: &Path, snapshot: SnapshotId) -> Self {
        Self {
            snapshot,
            freeze: directory.join(format!("{FREEZE}{snapshot}")),
            kept: directory.join(format!("{KEPT}{snapshot}")),
        }
    }

    /// Those in a volume's `directory`, whose blocks its writer is to keep, in
    /// the order of their ids.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn all(directory: &Path) -> io::Result<Vec<Self>> {
        let boot = boot_id::read()?;
        let mut snapshots: Vec<SnapshotId> = Vec::new();
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            let id: Option<SnapshotId> = name.strip_prefix(FREEZE).and_then(|id| id.parse().ok());
            snapshots.extend(id);
        }
        snapshots.sort();
        let all = snapshots.into_iter().map(|id| Self::new(directory, id));
        Ok(all.filter(|one| one.has_begun(&boot)).collect())
    }

    fn has_begun(&self, boot: &[u8; 16]) -> bool {
        let header = File::open(&self.freeze).map(|freeze| Header::read(&freeze));
        matches!(header, Ok(Ok(header)) if header.stage == Stage::Begun && header.plan.boot == *boot)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;
    use ::volume::freeze::{Freeze, Plan, plan};
    use ::volume::map::BlockMap;

    fn new(path: &Path) -> File {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        options.open(path).unwrap()
    }

    #[test]
    fn those_that_began_in_this_boot_are_under_way() {
        let f = Fixture::new();
        let volume = f.make("root");
        let directory = volume.directory();
        let mut map = BlockMap::open(new(&volume.map())).unwrap();
        let mut make = |number: u32, boot, begin: bool| {
            let snapshot = format!("snap-{number:017x}").parse().unwrap();
            let files = UnderWay::new(directory, snapshot);
            let freeze = new(&files.freeze);
            let asked = Plan {
                snapshot,
                volume: volume.record().id,
                created: 0,
                boot,
                parent: None,
            };
            plan(&freeze, &asked).unwrap();
            if begin {
                Freeze::begin(freeze, new(&files.kept), &mut map).unwrap();
            }
            files
        };
        let now = boot_id::read().unwrap();
        let second = make(2, now, true);
        let first = make(1, now, true);
        make(3, now, false);
        make(4, [0; 16], true);
        fs::write(directory.join("freeze-snap-00000000000000005"), "torn").unwrap();
        fs::write(directory.join("freeze-other"), "").unwrap();
        assert_eq!(UnderWay::all(directory).unwrap(), [first, second]);
    }
}
