//! The freezes of a volume: snapshots of it that are not stored yet, and copies
//! that are not filled yet.
//!
//! Each is two files in the volume's directory, `freeze-ID` and `kept-ID`. They
//! are planned, and begin, under the lock on `data` or by the machine that holds
//! it; whoever ends one removes its files. A snapshot's that was begun before the
//! host last started is given up: what was kept may not be all there. Which
//! copies are still needed, [`copies`](super::copies) says.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ::volume::freeze::{self, FreezeError, Header, Plan, Purpose, Stage};
use ::volume::frozen::FrozenView;
use ::volume::id::{SnapshotId, VolumeId};
use devices::block::mapped_disk::FreezeFiles;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::boot_id;
use crate::durable;
use crate::error::Error;

use super::directory::Volume;

const FREEZE: &str = "freeze-";
const KEPT: &str = "kept-";

/// A freeze of a volume, by what it is for.
#[derive(Clone, Debug)]
pub struct Pending<I> {
    directory: PathBuf,
    /// Which.
    pub id: I,
    /// What its file says; `None` if it is damaged.
    pub header: Option<Header>,
}

/// A snapshot of a volume that is not stored yet.
pub type PendingSnapshot = Pending<SnapshotId>;

/// A copy of a volume that is not filled yet.
pub type PendingCopy = Pending<VolumeId>;

/// What a freeze can be for, and its files are named by.
pub trait FreezeId: Copy + Ord + fmt::Display + FromStr + Into<Purpose> {}

impl FreezeId for SnapshotId {}
impl FreezeId for VolumeId {}

/// Freezes of the volume in `directory` that are for this kind of thing, the
/// oldest first.
///
/// # Errors
/// The directory cannot be read.
pub(super) fn pending<I: FreezeId>(directory: &Path) -> io::Result<Vec<Pending<I>>> {
    let mut pending = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(FREEZE));
        let id = id.and_then(|id| id.parse().ok());
        pending.extend(id.map(|id| Pending::read(directory, id)));
    }
    let age = |one: &Pending<I>| one.header.as_ref().map(|header| header.plan.created);
    pending.sort_by_key(|one| (age(one), one.id));
    Ok(pending)
}

impl Volume {
    /// Snapshots of the volume that are not stored yet.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn pending_snapshots(&self) -> Result<Vec<PendingSnapshot>, Error> {
        let pending = pending(self.directory());
        pending.map_err(|error| self.refused("cannot be looked at").because(error))
    }

    /// What this volume keeps for `copy`, if it does.
    pub fn kept_for(&self, copy: &Self) -> PendingCopy {
        Pending::read(self.directory(), copy.record().id)
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
                true => open.extend(pending.open_if_there(self)?),
                // Nobody plans one without the lock, or the machine's help.
                false if pending.is_over(boot) => pending.remove(),
                false => {}
            }
        }
        for copy in self.needed_copies()? {
            if copy.has_begun(self)? {
                open.extend(copy.pending.open_if_there(self)?);
            }
        }
        Ok(open)
    }

    /// Makes the files of a freeze for `id` whose moment is to come.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn plan_freeze<I: FreezeId>(&self, id: I, plan: &Plan) -> Result<Pending<I>, Error> {
        let pending = Pending {
            directory: self.directory().to_owned(),
            id,
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
}

impl<I: FreezeId> Pending<I> {
    /// The one for `id` of the volume in `directory`, whether it is there or not.
    pub(super) fn read(directory: &Path, id: I) -> Self {
        let mut pending = Self {
            directory: directory.to_owned(),
            id,
            header: None,
        };
        let header = File::open(pending.freeze()).ok();
        let header = header.and_then(|file| freeze::header(&file).ok());
        pending.header = header.filter(|header| header.plan.purpose == id.into());
        pending
    }

    /// What it is for, in words.
    fn purpose(&self) -> Purpose {
        self.id.into()
    }

    /// Opens its files for who writes to `volume`; none if it has ended
    /// meanwhile.
    fn open_if_there(&self, volume: &Volume) -> Result<Option<FreezeFiles>, Error> {
        match self.open() {
            Ok(files) => Ok(Some(files)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let what = format!("has a {} under way, which cannot be opened", self.purpose());
                Err(volume.refused(&what).because(error))
            }
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

    /// Keeps others from storing it at the same time, for as long as what is
    /// returned is open.
    ///
    /// # Errors
    /// Somebody does already, or its file cannot be locked.
    pub fn lock(&self) -> Result<File, Error> {
        let cannot = || Error::host(format!("{} cannot be stored", self.purpose()));
        let file = open(&self.freeze()).map_err(|error| cannot().because(error))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => Error::configuration(format!(
                "{} is being stored by another process",
                self.purpose()
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
        let what = format!("{} cannot be read", self.purpose());
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

    /// Opens what a copy relies on: what `volume` holds, and what this has. Before
    /// its moment: of what the kernel cannot write it tells who has the file open
    /// then, and not surely who opens it later (fsync(2)).
    ///
    /// # Errors
    /// A file cannot be opened.
    pub fn open_ground(&self, volume: &Volume) -> Result<[File; 4], Error> {
        let open = || {
            let files = self.open()?;
            let [data, map] = [volume.data(), volume.map()].map(File::open);
            Ok([data?, map?, files.kept, files.freeze])
        };
        open().map_err(|error| undurable(volume, error))
    }

    /// Makes durable its [ground](Self::open_ground): a copy may rely on it from
    /// then on.
    ///
    /// # Errors
    /// Something may not be durable.
    pub fn make_durable(&self, volume: &Volume, ground: &[File; 4]) -> Result<(), Error> {
        let synced = ground.iter().try_for_each(File::sync_all);
        let named = synced.and_then(|()| durable::synchronize(&self.directory));
        named.map_err(|error| undurable(volume, error))
    }

    /// Where its state is.
    pub fn freeze(&self) -> PathBuf {
        self.directory.join(format!("{FREEZE}{}", self.id))
    }

    /// Where whoever stores it says what went wrong.
    pub fn log(&self) -> PathBuf {
        self.directory.join(format!("store-{}.log", self.id))
    }

    fn kept(&self) -> PathBuf {
        self.directory.join(format!("{KEPT}{}", self.id))
    }
}

fn undurable(volume: &Volume, error: io::Error) -> Error {
    let what = format!("volume '{}' cannot be made durable", volume.name());
    Error::host(what).because(error)
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
