//! A machine that is about to be started: its runtime directory, made.
//!
//! The lock by which a machine lives is held from the beginning, so that its
//! name is taken while it is being started.
//!
//! Dropped before the machine was [started](NewMachine::started), it takes the
//! directory with it. Executing the VM process in this one's place drops
//! nothing.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::Error;

use super::Registry;
use super::machine::{END, LOCK, LOG, SOCKET};
use super::name::VmName;
use super::record::Record;

/// Most bytes of a socket's path: `sun_path` holds 108, one of them the zero
/// at its end (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// A runtime directory without a machine yet.
#[derive(Debug)]
pub struct NewMachine {
    registry: Registry,
    name: VmName,
    directory: PathBuf,
    /// The belongings' lock, held here as well until the machine was started:
    /// nobody takes the name over before the directory is gone.
    lock: Option<OwnedFd>,
    started: bool,
}

/// What the machine's own process gets of its directory.
#[derive(Debug)]
pub struct Belongings {
    /// Held for as long as it lives.
    pub lock: OwnedFd,
    /// Where it serves its operators.
    pub api: OwnedFd,
    /// Where it says how it ended.
    pub end: OwnedFd,
}

impl NewMachine {
    /// The caller holds the registry's exclusive lock, and nothing is there by
    /// that name. The machine counts as alive from now on.
    pub(super) fn make(
        registry: Registry,
        name: VmName,
        record: &Record,
    ) -> Result<(Self, Belongings), Error> {
        let directory = registry.root.join(name.as_str());
        check_length(&directory.join(SOCKET))?;
        DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|error| refused(&directory, error))?;
        let furnished = furnish(&directory, record).inspect_err(|_| {
            // Not by dropping a machine, which would wait for the lock that
            // the caller holds.
            let _ = fs::remove_dir_all(&directory);
        });
        let (lock, belongings) = furnished?;
        let machine = Self {
            registry,
            name,
            directory,
            lock: Some(lock),
            started: false,
        };
        Ok((machine, belongings))
    }

    /// What the machine is called.
    pub fn name(&self) -> &VmName {
        &self.name
    }

    /// Makes the file of what a detached machine's process says.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn log(&self) -> Result<File, Error> {
        new_file(&self.directory.join(LOG))
    }

    /// What has been said in it.
    pub fn said(&self) -> String {
        let said = fs::read(self.directory.join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// The machine's process is `pid`, which has the belongings: its directory
    /// stays from now on.
    ///
    /// # Errors
    /// That cannot be recorded.
    pub fn started(&mut self, pid: u32) -> Result<(), Error> {
        self.started = true;
        self.lock = None;
        self.registry
            .update(&self.name, |record| record.pid = Some(pid))
    }

    /// The machine did not start after all: its directory goes with this.
    pub fn failed(mut self) {
        self.started = false;
    }
}

impl Drop for NewMachine {
    fn drop(&mut self) {
        if !self.started {
            let _exclusive = self.registry.lock(FlockOperation::LockExclusive);
            // What is left is taken over by the next machine of the name.
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// Fills the machine's new `directory`: its lock, and with that its belongings.
fn furnish(directory: &Path, record: &Record) -> Result<(OwnedFd, Belongings), Error> {
    record.write(directory)?;
    let refused = |error| refused(directory, error);
    let api = UnixListener::bind(directory.join(SOCKET)).map_err(refused)?;
    let end = new_file(&directory.join(END))?;
    let lock = OwnedFd::from(new_lock(directory)?);
    let belongings = Belongings {
        lock: lock.try_clone().map_err(refused)?,
        api: api.into(),
        end: end.into(),
    };
    Ok((lock, belongings))
}

/// Locks the machine's lock before it has its name: who looks whether somebody
/// holds it takes it for that moment, and so must not find it free.
fn new_lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join(LOCK);
    let refused = |error| refused(&path, error);
    let nameless = directory.join("lock.new");
    let lock = new_file(&nameless)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|errno| refused(errno.into()))?;
    fs::rename(&nameless, &path).map_err(refused)?;
    Ok(lock)
}

fn new_file(path: &Path) -> Result<File, Error> {
    File::create_new(path).map_err(|error| refused(path, error))
}

fn check_length(socket: &Path) -> Result<(), Error> {
    let len = socket.as_os_str().len();
    if len <= MAX_SOCKET_PATH {
        return Ok(());
    }
    Err(Error::configuration(format!(
        "the control socket's path '{}' has {len} bytes, and a socket's may have {MAX_SOCKET_PATH}",
        socket.display()
    ))
    .remedy("a shorter --name, or a shorter directory in PLINTH_RUNTIME_DIR"))
}

fn refused(path: &Path, error: io::Error) -> Error {
    Error::host(format!("'{}' cannot be made", path.display())).because(error)
}
