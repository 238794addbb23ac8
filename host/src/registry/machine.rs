//! A machine that was started: what its runtime directory says of it.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use vmm::handover::End;

use crate::error::Error;
use crate::printable::printable;

use super::name::VmName;
use super::process::Process;
use super::record::Record;

pub(super) const SOCKET: &str = "api.sock";
pub(super) const LOCK: &str = "lock";
pub(super) const END: &str = "end.json";
pub(super) const LOG: &str = "log";

/// How much of a log's end is looked at for last words.
const LOG_TAIL: u64 = 4096;

/// A machine, alive or not.
#[derive(Debug)]
pub struct Machine {
    name: VmName,
    directory: PathBuf,
    record: Record,
    alive: bool,
    end: Option<End>,
}

impl Machine {
    /// Reads the machine in `directory`; the caller holds the registry's lock.
    pub(super) fn read(name: VmName, directory: PathBuf) -> Result<Self, Error> {
        let alive = is_locked(&directory.join(LOCK)).map_err(|error| {
            Error::host(format!("machine '{name}' cannot be examined")).because(error)
        })?;
        let end = fs::read(directory.join(END)).unwrap_or_default();
        Ok(Self {
            record: Record::read(&directory),
            end: serde_json::from_slice(&end).ok(),
            name,
            directory,
            alive,
        })
    }

    /// The same machine as it is now.
    ///
    /// # Errors
    /// Its directory cannot be examined.
    pub fn refreshed(&self) -> Result<Self, Error> {
        Self::read(self.name.clone(), self.directory.clone())
    }

    /// What it is called.
    pub fn name(&self) -> &VmName {
        &self.name
    }

    /// What was recorded when it was started.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Whether its process was there when this was read.
    pub fn is_alive(&self) -> bool {
        self.alive
    }

    /// How it ended, if it has and could still say so.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Where its process serves operators.
    pub fn socket(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }

    /// Its process; none if it has ended.
    pub fn process(&self) -> Option<Process> {
        let process = Process::open(self.record.pid?).ok()?;
        // As long as the lock is held, the number is the machine's process's.
        let held = is_locked(&self.directory.join(LOCK)).unwrap_or(false);
        held.then_some(process)
    }

    /// How it ended, for a person; also if it could not say so.
    pub fn last_words(&self) -> String {
        match &self.end {
            Some(end) => printable(&end.message.replace('\n', " ")),
            None => "its process died without a word (killed?)".into(),
        }
    }

    /// The last `count` lines of a detached machine's log, without control
    /// characters.
    pub fn log_tail(&self, count: usize) -> Vec<String> {
        let tail = tail(&self.directory.join(LOG)).unwrap_or_default();
        let lines = tail.lines().rev().take(count);
        let mut lines: Vec<String> = lines.map(printable).collect();
        lines.reverse();
        lines
    }

    /// Refuses a machine that has ended, with how.
    ///
    /// # Errors
    /// It has ended.
    pub fn expect_alive(&self) -> Result<(), Error> {
        if self.alive {
            return Ok(());
        }
        let name = &self.name;
        Err(
            Error::configuration(format!("machine '{name}' has ended: {}", self.last_words()))
                .remedy(format!(
                    "its last words: plinth vm show {name}; to forget it: plinth vm remove {name}"
                )),
        )
    }

    /// Whether nobody needs to hear of it any more: a foreground machine that
    /// has said how it ended.
    pub(super) fn is_forgettable(&self) -> bool {
        !self.alive && !self.record.detached && self.end.is_some()
    }

    /// Removes the directory; the caller holds the registry's exclusive lock.
    pub(super) fn delete(&self) -> Result<(), Error> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::host(format!(
                "'{}' cannot be removed",
                self.directory.display()
            ))
            .because(error)),
            _ => Ok(()),
        }
    }
}

/// Whether somebody holds the lock on `path`.
fn is_locked(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // Shared, so that two who ask do not take each other for the machine. The
    // machine itself is not disturbed: it had the lock before the file its name.
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(LOG_TAIL)))?;
    let mut tail = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut tail)?;
    Ok(String::from_utf8_lossy(&tail).into_owned())
}
