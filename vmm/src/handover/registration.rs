//! How others on this host hear of a machine's life: descriptors of files in
//! its runtime directory, which `plinth run` makes and `plinth vm` reads.
//!
//! The VM process holds the lock from its first moment to its last, however
//! it ends; the rest it tells if it still can.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::setsid;
use serde::{Deserialize, Serialize};

use crate::event::StopReason;

/// The VM process's ends of its machine's runtime directory.
#[derive(Debug)]
pub struct Registration {
    /// Locked by flock(2): as long as this is open, the machine lives.
    pub lock: OwnedFd,
    /// Where the [`End`] is written, as JSON.
    pub end: OwnedFd,
    /// For a machine that outlives the command that started it: a pipe that
    /// hears when the guest has been entered.
    pub detached: Option<OwnedFd>,
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The VM process's exit status, as `plinth run --help` lists them.
    pub status: u8,
    /// Why, for a person.
    pub message: String,
    /// The same for programs: a [`StopReason`]'s name, if
    /// the machine ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
}

impl End {
    /// An end now.
    pub fn now(status: u8, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            reason: None,
            time_ms: now_ms(),
        }
    }

    /// The same, for `reason`.
    #[must_use]
    pub fn for_reason(self, reason: &StopReason) -> Self {
        Self {
            reason: Some(reason.name().into()),
            ..self
        }
    }
}

/// Milliseconds since 1970, as this host's clock has it.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

impl Registration {
    /// Leaves the session of whoever started the machine, if it is to outlive
    /// them: signals meant for them no longer come here.
    ///
    /// # Errors
    /// This process leads a process group, so it was started in another way.
    pub fn leave_session(&self) -> io::Result<()> {
        if self.detached.is_some() {
            setsid()?;
        }
        Ok(())
    }

    /// Tells whoever started the machine that its guest has been entered.
    pub fn entered(&mut self) {
        if let Some(pipe) = self.detached.take() {
            // Nobody waits any more: that does not matter to the machine.
            let _ = File::from(pipe).write_all(b"1");
        }
    }

    /// Tells how the machine ended.
    ///
    /// # Errors
    /// The file system is full, for instance.
    pub fn ended(self, end: &End) -> io::Result<()> {
        let mut text = serde_json::to_vec(end)?;
        text.push(b'\n');
        File::from(self.end).write_all(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_machine_tells_that_it_was_entered_and_how_it_ended() {
        let (mut entered, detached) = io::pipe().unwrap();
        let (mut end_reader, end) = io::pipe().unwrap();
        let mut registration = Registration {
            lock: tempfile::tempfile().unwrap().into(),
            end: end.into(),
            detached: Some(detached.into()),
        };
        registration.entered();
        registration.entered();
        let mut told = Vec::new();
        entered.read_to_end(&mut told).unwrap();
        assert_eq!(told, b"1", "once, and the pipe is closed");

        let end = End::now(5, "the machine was stopped").for_reason(&StopReason::Stopped);
        registration.ended(&end).unwrap();
        let mut text = String::new();
        end_reader.read_to_string(&mut text).unwrap();
        assert_eq!(serde_json::from_str::<End>(&text).unwrap(), end);
    }
}
