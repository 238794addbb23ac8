//! The lock on a volume's `data`: who holds it has the volume.
//!
//! It goes with the open file: whoever is given the descriptor holds the
//! volume, and lets go of it by closing it or by dying.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ::volume::id::VolumeId;
use devices::block::lock::{Access, LockError, lock};
use rustix::io::Errno;

use crate::error::Error;
use crate::registry::process::Process;

use super::lock::is_named;
use super::name::VolumeName;
use super::usage::{self, Usage, User};

/// How long who fills a volume may take to let go of it, before it is killed.
const LOADER_PATIENCE: Duration = Duration::from_secs(3);

/// How often a process that ends is looked for that has not let go of its files yet.
const MOMENT: Duration = Duration::from_millis(20);

/// How long it may take it to: on a busy host it waits for its turn.
const ENDING_PATIENCE: Duration = Duration::from_secs(2);

/// As many loaders are ended: others may begin to fill the volume meanwhile.
const MOST_LOADERS: usize = 10;

/// Why a volume is not to be had.
#[derive(Debug)]
pub(super) enum Unclaimed {
    /// Its data cannot be opened.
    Unopened(io::Error),
    /// Its data is something else than a file.
    NoFile,
    /// Others have it.
    InUse(Usage),
    /// Its data cannot be locked.
    Unlocked(LockError),
    /// It was deleted before it was locked.
    Deleted,
}

/// Opens and locks the `data` of the volume in `directory`: for writing, alone,
/// or for reading beside other readers. `direct` bypasses the page cache. A
/// process that only fills it (`plinth volume load`) is ended.
///
/// # Errors
/// It is in use, was deleted meanwhile, or cannot be opened.
pub(super) fn claim(directory: &Path, access: Access, direct: bool) -> Result<File, Unclaimed> {
    claim_by(directory, access, direct, true)
}

/// The same, for writing, but leaves the volume to who fills it already.
///
/// # Errors
/// As for [`claim`].
pub(super) fn claim_to_fill(directory: &Path) -> Result<File, Unclaimed> {
    claim_by(directory, Access::Exclusive, false, false)
}

fn claim_by(
    directory: &Path,
    access: Access,
    direct: bool,
    ends_loaders: bool,
) -> Result<File, Unclaimed> {
    let path = directory.join("data");
    let data = open(&path, access, direct).map_err(|why| {
        if directory.exists() {
            why
        } else {
            Unclaimed::Deleted
        }
    })?;
    take(&data, access, ends_loaders)?;
    match is_named(&data, &path) {
        Ok(true) => Ok(data),
        Ok(false) => Err(Unclaimed::Deleted),
        Err(error) => Err(Unclaimed::Unopened(error)),
    }
}

/// Locks `data`. Who only fills the volume is ended, or left alone.
fn take(data: &File, access: Access, ends_loaders: bool) -> Result<(), Unclaimed> {
    let end = ends_loaders.then_some(end_loader);
    take_from(|| lock(data, access), || users_of(data), end)
}

/// The same, by `lock`, of what has these `users`; with `end`, loaders are ended.
fn take_from(
    mut lock: impl FnMut() -> Result<(), LockError>,
    users: impl Fn() -> Vec<User>,
    end: Option<impl Fn(u32)>,
) -> Result<(), Unclaimed> {
    let (mut ended, mut waited) = (0, Duration::ZERO);
    loop {
        match lock() {
            Ok(()) => return Ok(()),
            Err(LockError::InUse) => {}
            Err(error) => return Err(Unclaimed::Unlocked(error)),
        }
        let users = users();
        let mut loaders = users.iter().filter_map(|user| match user {
            User::Loader(holder) => Some(holder.pid()),
            User::Machine(_) | User::Process(_) => None,
        });
        match (loaders.next(), &end) {
            (Some(pid), Some(end)) if ended < MOST_LOADERS => {
                end(pid);
                ended += 1;
            }
            // It is just being let go of, or one may not look.
            (None, _) if users.is_empty() && waited < ENDING_PATIENCE => {
                thread::sleep(MOMENT);
                waited += MOMENT;
            }
            _ => return Err(Unclaimed::InUse(Usage::InUse(users))),
        }
    }
}

/// Has a process that fills a volume end: soon, when it has noted what it has
/// loaded; or at once, whereupon that is loaded again.
fn end_loader(pid: u32) {
    // It may have ended by itself, which is as well.
    let Ok(process) = Process::open(pid) else {
        return;
    };
    if !usage::is_loader(pid) || process.terminate().is_err() {
        return;
    }
    if !process.wait(LOADER_PATIENCE).unwrap_or(false) {
        let _ = process.kill();
        let _ = process.wait(LOADER_PATIENCE);
    }
}

fn open(path: &Path, access: Access, direct: bool) -> Result<File, Unclaimed> {
    let kind = fs::symlink_metadata(path).map_err(Unclaimed::Unopened)?;
    if !kind.is_file() {
        return Err(Unclaimed::NoFile);
    }
    let mut flags = libc::O_NOFOLLOW;
    if direct {
        flags |= libc::O_DIRECT;
    }
    OpenOptions::new()
        .read(true)
        .write(access == Access::Exclusive)
        .custom_flags(flags)
        .open(path)
        .map_err(Unclaimed::Unopened)
}

fn users_of(data: &File) -> Vec<User> {
    let metadata = data.metadata();
    let users = metadata.map(|metadata| usage::users(&metadata));
    users.unwrap_or_default()
}

impl Unclaimed {
    /// What that means to who asked for the volume called `name`; with its
    /// `id`, where it is known, it is told how to free it.
    pub(super) fn explain(self, name: &VolumeName, id: Option<VolumeId>) -> Error {
        let refused = |why: &str| Error::configuration(format!("volume '{name}' {why}"));
        match self {
            Self::Unopened(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT) => refused("is damaged: its data is missing"),
                Some(Errno::INVAL) => refused("cannot be used past the page cache")
                    .because(error)
                    .remedy("leaving out ,direct: this file system may not support it"),
                _ => refused("cannot be opened").because(error),
            },
            Self::NoFile => refused("is damaged: its data is not a regular file"),
            Self::InUse(usage) => in_use(name, id, &usage),
            Self::Unlocked(error) => refused("cannot be locked").because(error),
            Self::Deleted => refused("was deleted meanwhile"),
        }
    }
}

fn in_use(name: &VolumeName, id: Option<VolumeId>, usage: &Usage) -> Error {
    let what = match usage {
        Usage::InUse(users) if matches!(users.as_slice(), [User::Machine(_)]) => {
            format!("volume '{name}' is attached to {}", users[0])
        }
        usage => format!("volume '{name}' is {usage}"),
    };
    let refused = Error::configuration(what);
    match (usage.machines().next(), id) {
        (Some(machine), Some(id)) => {
            refused.remedy(format!("plinth vm detach {machine} {}", id.serial()))
        }
        _ => refused.remedy("ending that process, or waiting until it has ended"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holder::Holder;
    use std::cell::{Cell, RefCell};

    /// What is free when it was tried so often.
    fn free_after(tries: usize) -> impl FnMut() -> Result<(), LockError> {
        let mut left = tries;
        move || match left.checked_sub(1) {
            None => Ok(()),
            Some(fewer) => {
                left = fewer;
                Err(LockError::InUse)
            }
        }
    }

    fn loader() -> Vec<User> {
        vec![User::Loader(Holder::for_test(7))]
    }

    #[test]
    fn who_ends_may_take_its_time_to_let_go() {
        let nobody = || Vec::new();
        for end in [Some(|_| panic!("there is none to be ended")), None] {
            take_from(free_after(40), nobody, end).unwrap();
        }
        let begun = std::time::Instant::now();
        let refused = take_from(free_after(1000), nobody, None::<fn(u32)>);
        assert!(matches!(refused, Err(Unclaimed::InUse(Usage::InUse(users))) if users.is_empty()));
        assert!(begun.elapsed() >= ENDING_PATIENCE);
    }

    #[test]
    fn a_loader_is_ended_or_left_alone_at_once() {
        let ended = RefCell::new(Vec::new());
        let end = |pid| ended.borrow_mut().push(pid);
        take_from(free_after(2), loader, Some(end)).unwrap();
        assert_eq!(*ended.borrow(), [7, 7]);
        let tries = Cell::new(0);
        let lock = || {
            tries.set(tries.get() + 1);
            Err(LockError::InUse)
        };
        let refused = take_from(lock, loader, None::<fn(u32)>);
        assert!(matches!(refused, Err(Unclaimed::InUse(usage)) if usage.is_loading()));
        assert_eq!(tries.get(), 1);
    }
}
