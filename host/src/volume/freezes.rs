//! The freezes of a volume: snapshots of it that are not stored yet.
//!
//! Each is two files in the volume's directory, `freeze-SNAP` and `kept-SNAP`.
//! They are planned, and begin, under the lock on `data` or by the machine that
//! holds it; whoever ends one removes its files. One that was begun before the
//! host last started is given up: what was kept may not be all there.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ::volume::freeze::{self, Freeze, FreezeError, Header, Plan, Stage};
use ::volume::frozen::FrozenView;
use ::volume::id::SnapshotId;
use ::volume::map::BlockMap;
use devices::block::mapped_disk::FreezeFiles;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::boot_id;
use crate::error::Error;

use super::directory::Volume;

const FREEZE: &str = "freeze-";
const KEPT: &str = "kept-";

/// A snapshot of a volume that is not stored yet.
#[derive(Clone, Debug)]
pub struct PendingSnapshot {
    directory: PathBuf,
    /// Which.
    pub snapshot: SnapshotId,
    /// What its file says; `None` if it is damaged.
    pub header: Option<Header>,
}

/// Snapshots of the volume in `directory` that are not stored yet, the oldest
/// first.
///
/// # Errors
/// The directory cannot be read.
pub(super) fn pending_snapshots(directory: &Path) -> io::Result<Vec<PendingSnapshot>> {
    let mut pending = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(FREEZE));
        let snapshot = id.and_then(|id| id.parse().ok());
        pending.extend(snapshot.map(|snapshot| PendingSnapshot::read(directory, snapshot)));
    }
    let age = |one: &PendingSnapshot| one.header.as_ref().map(|header| header.plan.created);
    pending.sort_by_key(|one| (age(one), one.snapshot));
    Ok(pending)
}

impl Volume {
    /// Snapshots of the volume that are not stored yet.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn pending_snapshots(&self) -> Result<Vec<PendingSnapshot>, Error> {
        let pending = pending_snapshots(self.directory());
        pending.map_err(|error| self.refused("cannot be looked at").because(error))
    }

    /// The freezes that whoever writes to the volume from now on has to heed,
    /// opened. The caller has locked `data` for writing. Those that came to
    /// nothing are removed.
    ///
    /// # Errors
    /// One cannot be opened.
    pub fn open_freezes(&self) -> Result<Vec<FreezeFiles>, Error> {
        let boot =
            boot_id::read().map_err(|error| self.refused("cannot be opened").because(error))?;
        let mut open = Vec::new();
        for pending in self.pending_snapshots()? {
            match pending.is_under_way(boot) {
                true => match pending.open() {
                    Ok(files) => open.push(files),
                    // It was stored meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => {
                        let what = format!("has a snapshot under way, {}, which", pending.snapshot);
                        let refused = self.refused(&format!("{what} cannot be opened"));
                        return Err(refused.because(error));
                    }
                },
                // Nobody plans one without the lock, or the machine's help.
                false if pending.is_over(boot) => pending.remove(),
                false => {}
            }
        }
        Ok(open)
    }

    /// Makes the files of a freeze whose moment is to come.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn plan_freeze(&self, plan: &Plan) -> Result<PendingSnapshot, Error> {
        let pending = PendingSnapshot {
            directory: self.directory().to_owned(),
            snapshot: plan.snapshot,
            header: None,
        };
        let cannot = || Error::host(format!("volume '{}' cannot be frozen", self.name()));
        let file = create(&pending.freeze()).map_err(|error| cannot().because(error))?;
        let kept = create(&pending.kept());
        let planned = kept
            .map_err(FreezeError::Write)
            .and_then(|_| freeze::plan(&file, plan));
        if let Err(error) = planned {
            pending.remove();
            return Err(cannot().because(error));
        }
        Ok(pending)
    }
}

impl PendingSnapshot {
    fn read(directory: &Path, snapshot: SnapshotId) -> Self {
        let mut pending = Self {
            directory: directory.to_owned(),
            snapshot,
            header: None,
        };
        let file = File::open(pending.freeze());
        pending.header = file.ok().and_then(|file| Header::read(&file).ok());
        pending
    }

    /// The moment has come, and what it kept can still be had.
    pub fn is_under_way(&self, boot: [u8; 16]) -> bool {
        let header = self.header.as_ref();
        header.is_some_and(|header| header.stage == Stage::Begun && header.plan.boot == boot)
    }

    /// It is of no use any more.
    pub fn is_over(&self, boot: [u8; 16]) -> bool {
        match &self.header {
            None => true,
            Some(header) => match header.stage {
                Stage::Planned | Stage::Begun => header.plan.boot != boot,
                Stage::Broken | Stage::Ended => true,
            },
        }
    }

    /// Opens its files for who writes to the volume, or freezes it.
    ///
    /// # Errors
    /// One cannot be opened.
    pub fn open(&self) -> io::Result<FreezeFiles> {
        Ok(FreezeFiles {
            freeze: open(&self.freeze())?,
            kept: open(&self.kept())?,
        })
    }

    /// Begins it on a volume that the caller has locked for writing.
    ///
    /// # Errors
    /// The files are damaged, or cannot be written.
    pub fn begin(&self, volume: &Volume) -> Result<(), Error> {
        let cannot = || Error::host(format!("volume '{}' cannot be frozen", volume.name()));
        let files = self.open().map_err(|error| cannot().because(error))?;
        let map = open(&volume.map()).map_err(|error| cannot().because(error))?;
        let mut map = BlockMap::open(map).map_err(|error| cannot().because(error))?;
        Freeze::begin(files.freeze, files.kept, &mut map)
            .map_err(|error| cannot().because(error))?;
        map.close().map_err(|error| cannot().because(error))
    }

    /// Keeps others from storing it at the same time, for as long as what is
    /// returned is open.
    ///
    /// # Errors
    /// Somebody does already, or its file cannot be locked.
    pub fn lock(&self) -> Result<File, Error> {
        let cannot = || Error::host(format!("snapshot {} cannot be stored", self.snapshot));
        let file = open(&self.freeze()).map_err(|error| cannot().because(error))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => Error::configuration(format!(
                "snapshot {} is being stored by another process",
                self.snapshot
            ))
            .remedy("plinth snapshot list, which says how far it is"),
            errno => cannot().because(io::Error::from(errno)),
        })?;
        Ok(file)
    }

    /// The volume as it was at the moment.
    ///
    /// # Errors
    /// Its files cannot be opened, or its moment has not come, or it is over.
    pub fn view(&self) -> Result<FrozenView, Error> {
        let what = format!("snapshot {} cannot be read", self.snapshot);
        let cannot = || Error::host(what.clone());
        let files = self.open().map_err(|error| cannot().because(error))?;
        let open = |name: &str| File::open(self.directory.join(name));
        let map = open("map").map_err(|error| cannot().because(error))?;
        let data = open("data").map_err(|error| cannot().because(error))?;
        FrozenView::open(map, data, files.freeze, files.kept)
            .map_err(|error| cannot().because(error))
    }

    /// Removes its files: whoever writes to the volume keeps nothing for it any
    /// more.
    pub fn remove(&self) {
        if let Ok(files) = self.open() {
            // A machine that has the files open looks at this, also one that has
            // not begun yet.
            let _ = freeze::end(&files.freeze, &files.kept);
        }
        for path in [self.kept(), self.freeze(), self.log()] {
            // What is left is removed by who opens the volume next.
            let _ = fs::remove_file(path);
        }
    }

    /// Where its state is.
    pub fn freeze(&self) -> PathBuf {
        self.directory.join(format!("{FREEZE}{}", self.snapshot))
    }

    /// Where whoever stores it says what went wrong.
    pub fn log(&self) -> PathBuf {
        self.directory.join(format!("store-{}.log", self.snapshot))
    }

    fn kept(&self) -> PathBuf {
        self.directory.join(format!("{KEPT}{}", self.snapshot))
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create_new(true);
    options.mode(0o600).open(path)
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true);
    options.custom_flags(libc::O_NOFOLLOW).open(path)
}
