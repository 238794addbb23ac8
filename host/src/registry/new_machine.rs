//! A machine that is about to be started: its runtime directory, made.
//!
//! Dropped before the machine was [started](NewMachine::started), it takes the
//! directory with it. Executing the VM process in this one's place drops
//! nothing.

use std::fs::{DirBuilder, File};
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
    /// that name.
    pub(super) fn make(registry: Registry, name: VmName, record: Record) -> Result<Self, Error> {
        let directory = registry.root.join(name.as_str());
        check_length(&directory.join(SOCKET))?;
        DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|error| refused(&directory, error))?;
        let machine = Self {
            registry,
            name,
            directory,
            started: false,
        };
        record.write(&machine.directory)?;
        Ok(machine)
    }

    /// What the machine is called.
    pub fn name(&self) -> &VmName {
        &self.name
    }

    /// Makes what the machine's own process is to have.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn belongings(&self) -> Result<Belongings, Error> {
        let refused = |error| refused(&self.directory, error);
        let lock = self.file(LOCK)?;
        // Nobody else can have it: the file is new, in a directory of ours.
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| refused(errno.into()))?;
        let api = UnixListener::bind(self.directory.join(SOCKET)).map_err(refused)?;
        Ok(Belongings {
            lock: lock.into(),
            api: api.into(),
            end: self.file(END)?.into(),
        })
    }

    /// Makes the file of what a detached machine's process says.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn log(&self) -> Result<File, Error> {
        self.file(LOG)
    }

    /// What has been said in it.
    pub fn said(&self) -> String {
        let said = std::fs::read(self.directory.join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// The machine's process is `pid`: its directory stays from now on.
    ///
    /// # Errors
    /// That cannot be recorded.
    pub fn started(&mut self, pid: u32) -> Result<(), Error> {
        self.started = true;
        self.registry
            .update(&self.name, |record| record.pid = Some(pid))
    }

    /// The machine did not start after all: its directory goes with this.
    pub fn failed(mut self) {
        self.started = false;
    }

    fn file(&self, name: &str) -> Result<File, Error> {
        let path = self.directory.join(name);
        let file = File::create_new(&path);
        file.map_err(|error| refused(&path, error))
    }
}

impl Drop for NewMachine {
    fn drop(&mut self) {
        if !self.started {
            let _exclusive = self.registry.lock(FlockOperation::LockExclusive);
            // What is left is taken over by the next machine of the name.
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
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
