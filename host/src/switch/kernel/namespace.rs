//! Named network namespaces, kept as `ip netns` keeps them: a file in
//! /run/netns that the namespace is mounted on, so that the tools of the host's
//! administrator find them (ip-netns(8)).
//!
//! A thread enters a namespace for good, so each entry is by a thread made for
//! it: the caller stays where it is. A process that died between making the
//! file and mounting on it left a file that is no namespace; [`create`] makes it
//! one, [`delete`] removes it, and everybody else is told that it is not there.
//!
//! [`create`]: Namespace::create
//! [`delete`]: Namespace::delete

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{FlockOperation, flock, fstatfs};
use rustix::io::{Errno, retry_on_intr};
use rustix::mount::{
    MountPropagationFlags, UnmountFlags, mount_bind, mount_bind_recursive, mount_change, unmount,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use super::error::{KernelError, Refusal};

const DIRECTORY: &str = "/run/netns";
/// The calling thread's namespace (namespaces(7)).
const OWN: &str = "/proc/thread-self/ns/net";
/// `f_type` of a namespace (`NSFS_MAGIC`, linux/magic.h).
const NSFS: i64 = 0x6e73_6673;
/// Mounts of one namespace over another that [`Namespace::delete`] takes off.
const MOST_MOUNTS: usize = 16;
const LONGEST_NAME: usize = 64;

/// An open network namespace. It lasts as long as this, even if deleted.
#[derive(Debug)]
pub struct Namespace {
    /// `None` if it is the one that this process started in.
    name: Option<String>,
    fd: OwnedFd,
}

impl Namespace {
    /// Makes the namespace `name`, or opens it if it is there. All that is in a
    /// new one is a loopback interface that is down.
    ///
    /// # Errors
    /// The name is no name, or the privilege is missing.
    pub fn create(name: &str) -> Result<Self, KernelError> {
        let path = path(name)?;
        let create = || -> io::Result<OwnedFd> {
            let _lock = lock_directory()?;
            if let Some(there) = make_file(&path)? {
                return Ok(there);
            }
            if let Err(error) = on_a_thread(|| mount_new(&path)).and_then(|mounted| mounted) {
                // Nobody is to take the file for a namespace.
                let _ = fs::remove_file(&path);
                return Err(error);
            }
            open_mounted(&path)?.ok_or_else(|| Errno::NODEV.into())
        };
        let task = || format!("network namespace {name} cannot be made");
        let fd = create().map_err(|error| Refusal::from(error).at(task()))?;
        Ok(Self::named(name, fd))
    }

    /// Opens the namespace `name`.
    ///
    /// # Errors
    /// [`KernelError::Gone`]: there is none, or it was never finished.
    pub fn open(name: &str) -> Result<Self, KernelError> {
        let path = path(name)?;
        let task = || format!("network namespace {name} cannot be opened");
        match open_mounted(&path) {
            Ok(Some(fd)) => Ok(Self::named(name, fd)),
            Ok(None) => Err(KernelError::Gone { task: task() }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(KernelError::Gone { task: task() })
            }
            Err(error) => Err(Refusal::from(error).at(task())),
        }
    }

    /// The namespace that the calling thread is in: the host's own network,
    /// where uplinks are.
    ///
    /// # Errors
    /// /proc is not mounted.
    pub fn current() -> Result<Self, KernelError> {
        let failed = |error| Refusal::from(error).at("the host's network cannot be opened".into());
        let fd = File::open(OWN).map_err(failed)?.into();
        Ok(Self { name: None, fd })
    }

    /// The names that begin with `prefix`, sorted; also those of namespaces that
    /// were never finished, so that they can be deleted.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(prefix: &str) -> Result<Vec<String>, KernelError> {
        let failed = |error| Refusal::from(error).at(format!("{DIRECTORY} cannot be read"));
        let entries = match fs::read_dir(DIRECTORY) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            names.extend(name.into_string().ok());
        }
        names.retain(|name| name.starts_with(prefix));
        names.sort_unstable();
        Ok(names)
    }

    /// Takes the name from the namespace `name`, if there is one. It ends, with
    /// all that is in it, once no process is in it and nobody has it open.
    ///
    /// # Errors
    /// The privilege is missing.
    pub fn delete(name: &str) -> Result<(), KernelError> {
        let path = path(name)?;
        let delete = || -> io::Result<()> {
            let _lock = lock_directory()?;
            for _ in 0..MOST_MOUNTS {
                match unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                    Ok(()) => {}
                    // Not a mount point, or not even a file.
                    Err(Errno::INVAL | Errno::NOENT) => break,
                    Err(errno) => return Err(errno.into()),
                }
            }
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        };
        let task = || format!("network namespace {name} cannot be deleted");
        delete().map_err(|error| Refusal::from(error).at(task()))
    }

    /// Does `work` on a thread that is in this namespace, and returns what it
    /// returns. Sockets and other descriptors that it opens stay of this
    /// namespace; programs that it starts run there. A panic goes on in the
    /// caller.
    ///
    /// # Errors
    /// The privilege is missing; `work` was not done.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, KernelError> {
        let enter = || -> io::Result<T> {
            move_into_link_name_space(self.fd.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        };
        on_a_thread(enter)
            .and_then(|done| done)
            .map_err(|error| Refusal::from(error).at(format!("{self} cannot be entered")))
    }

    fn named(name: &str, fd: OwnedFd) -> Self {
        Self {
            name: Some(name.to_owned()),
            fd,
        }
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "network namespace {name}"),
            None => f.write_str("the host's network"),
        }
    }
}

/// The file of a namespace.
fn path(name: &str) -> Result<PathBuf, KernelError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('.')
    {
        return Ok(Path::new(DIRECTORY).join(name));
    }
    Err(KernelError::BadName {
        name: name.to_owned(),
        what: "a network namespace",
        rule: "1 to 64 letters, digits, hyphens, underscores and dots, no dot first",
    })
}

/// Makes the file that a namespace is to be mounted on, or finds one that a
/// creator who died left; returns the namespace that is mounted there already.
fn make_file(path: &Path) -> io::Result<Option<OwnedFd>> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o000);
    match options.open(path) {
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => open_mounted(path),
        Err(error) => Err(error),
    }
}

/// The namespace mounted on `path`; none if that is an ordinary file, which
/// somebody who died left.
fn open_mounted(path: &Path) -> io::Result<Option<OwnedFd>> {
    let file = File::open(path)?;
    let is_namespace = fstatfs(&file)?.f_type == NSFS;
    Ok(is_namespace.then(|| file.into()))
}

/// Moves this thread, which must be at its end, to a new network namespace, and
/// mounts that on `path`.
fn mount_new(path: &Path) -> io::Result<()> {
    // SAFETY: a network namespace concerns neither memory nor the descriptors
    // that this thread has.
    #[allow(unsafe_code)]
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    Ok(mount_bind(OWN, path)?)
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("network".into());
        let done = thread.spawn_scoped(scope, work)?.join();
        Ok(done.unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// Makes the directory, if need be, and waits until nobody else adds to it or
/// takes from it. What is mounted below it is seen in all mount namespaces that
/// were made from this one, and goes away in all: as `ip netns` does it.
fn lock_directory() -> io::Result<File> {
    let made = DirBuilder::new().mode(0o755).create(DIRECTORY);
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let directory = File::open(DIRECTORY)?;
    retry_on_intr(|| flock(&directory, FlockOperation::LockExclusive))?;
    let share = || {
        let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
        mount_change(DIRECTORY, shared)
    };
    match share() {
        // It is no mount point of its own yet.
        Err(Errno::INVAL) => {
            mount_bind_recursive(DIRECTORY, DIRECTORY)?;
            share()?;
        }
        shared => shared?,
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Scratch, unique, without_privilege};
    use super::*;
    use std::fs::read_link;

    fn own() -> PathBuf {
        read_link(OWN).unwrap()
    }

    #[test]
    fn a_namespace_is_entered_by_another_thread_than_the_callers() {
        let scratch = Scratch::new();
        let before = own();
        let inside = scratch.within(own).unwrap();
        assert_ne!(inside, before);
        assert_eq!(own(), before);
        // The same one by its name.
        let again = Namespace::open(scratch.name()).unwrap();
        assert_eq!(again.within(own).unwrap(), inside);
        assert_eq!(Namespace::current().unwrap().within(own).unwrap(), before);
    }

    #[test]
    fn making_and_deleting_twice_is_making_and_deleting_once() {
        let name = unique();
        let first = Namespace::create(&name).unwrap().within(own).unwrap();
        let second = Namespace::create(&name).unwrap().within(own).unwrap();
        assert_eq!(first, second);
        assert_eq!(Namespace::list(&name).unwrap(), [name.as_str()]);
        for _ in 0..2 {
            Namespace::delete(&name).unwrap();
            assert!(Namespace::list(&name).unwrap().is_empty());
            let gone = Namespace::open(&name).unwrap_err();
            assert!(matches!(gone, KernelError::Gone { .. }), "{gone:?}");
        }
        Namespace::create(&name).unwrap();
        Namespace::delete(&name).unwrap();
    }

    #[test]
    fn what_a_creator_that_died_left_is_completed_or_removed() {
        let _makes_the_directory = Scratch::new();
        let name = unique();
        let path = Path::new(DIRECTORY).join(&name);
        for complete in [true, false] {
            File::create(&path).unwrap();
            let gone = Namespace::open(&name).unwrap_err();
            assert!(matches!(gone, KernelError::Gone { .. }), "{gone:?}");
            assert_eq!(Namespace::list(&name).unwrap(), [name.as_str()]);
            if complete {
                let namespace = Namespace::create(&name).unwrap();
                assert_ne!(namespace.within(own).unwrap(), own());
            }
            Namespace::delete(&name).unwrap();
            assert!(!path.exists());
        }
    }

    #[test]
    fn only_names_that_stay_in_the_directory_are_names() {
        for name in ["", ".", "..", ".a", "a/b", "a b", "ä", &"a".repeat(65)] {
            let refused = Namespace::create(name).unwrap_err();
            assert!(matches!(refused, KernelError::BadName { .. }), "{name:?}");
        }
    }

    #[test]
    fn a_panic_within_is_the_callers() {
        let scratch = Scratch::new();
        let work = || scratch.within(|| panic!("inside"));
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"inside"));
    }

    #[test]
    fn a_user_without_privilege_is_told_what_is_missing() {
        let name = unique();
        let scratch = Scratch::new();
        let refused = without_privilege(|| {
            let created = Namespace::create(&name).map(drop);
            [created, scratch.within(|| ())]
        });
        for refused in refused {
            let message = refused.unwrap_err().to_string();
            assert!(message.contains("CAP_SYS_ADMIN"), "{message}");
        }
    }
}
