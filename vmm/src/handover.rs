#![allow(unsafe_code)] // Claims the descriptors that were inherited.
//! Handing a machine over to the per-VM process: a configuration and its open
//! descriptors cross an `exec`.
//!
//! The sender writes the configuration as JSON into a memfd, with each
//! descriptor as its number, lets all of them be inherited, and executes the
//! `plinth-vmm` binary with the memfd's number. The receiver parses it back
//! into the same validated types. Both ends are built together; a version
//! number catches an installation that mixes two. Each descriptor has one
//! owner: a number that is named twice, or belongs to standard input, output
//! or error, is refused. Keys are no part of the text: each is in a [memory file
//! of its own](crate::sealed_key).

mod inheritance;
mod registration;
#[cfg(test)]
mod tests;
mod wire;

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::time::{ClockId, clock_gettime};

use crate::config::VmConfig;
use inheritance::Inheritance;
use wire::Wire;

pub use registration::{End, Registration, now_ms};

/// Changes with the format, [`wire`].
const VERSION: u32 = 5;

/// Configurations longer than this are not ours.
const MAX_LEN: u64 = 1 << 20;

/// What is handed over.
#[derive(Debug)]
pub struct Handover {
    /// The machine.
    pub config: VmConfig,
    /// When it was asked for.
    pub asked: Instant,
    /// Where the machine's [`Statistics`](crate::Statistics) are to be
    /// written, as JSON, when it has stopped.
    pub report: Option<OwnedFd>,
    /// Where operators connect, a listening Unix stream socket.
    pub api: Option<OwnedFd>,
    /// The far end of a [served](crate::config::ConsoleConfig::served)
    /// console, for whoever attaches to it over the control socket.
    pub console: Option<OwnedFd>,
    /// How others on this host hear of the machine's life.
    pub registration: Option<Registration>,
}

/// Why a handover failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandoverError {
    /// The configuration cannot be written or read.
    #[error("the configuration cannot be handed over")]
    Io(#[from] io::Error),
    /// It is not a configuration.
    #[error("the configuration handed over is not valid JSON of this version")]
    Syntax(#[from] serde_json::Error),
    /// It comes from another version of this program.
    #[error(
        "plinth and plinth-vmm are of different versions ({theirs} and {VERSION}); install both from one release"
    )]
    Version {
        /// The sender's version.
        theirs: u32,
    },
    /// A value in it cannot be.
    #[error("the configuration handed over has a bad {what}: {reason}")]
    Value {
        /// Which value.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A descriptor in it cannot be taken over.
    #[error("descriptor {number} cannot be taken over: {reason}; start plinth-vmm by `plinth run`")]
    Descriptor {
        /// Which one.
        number: RawFd,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Handover {
    /// Writes the handover into a memfd and lets all its descriptors survive
    /// an `exec`, which is to follow: they stay open in this process.
    ///
    /// # Errors
    /// The host has no memory or descriptor left.
    pub fn send(self) -> Result<OwnedFd, HandoverError> {
        let asked_ns = monotonic_ns().saturating_sub(nanoseconds(self.asked.elapsed()));
        let wire = Wire::from_handover(self, asked_ns)?;
        let mut memfd =
            File::from(memfd_create("plinth-vm", MemfdFlags::empty()).map_err(io::Error::from)?);
        memfd.write_all(&serde_json::to_vec(&wire)?)?;
        memfd.rewind()?;
        Ok(memfd.into())
    }

    /// Reads a handover back from descriptor `number`, the memfd that
    /// [`send`](Self::send) made.
    ///
    /// # Safety
    /// This process has just been executed by the sender, and nothing in it
    /// uses `number` yet, nor the descriptors that the handover names.
    ///
    /// # Errors
    /// It is not one, or not of this version.
    pub unsafe fn receive(number: RawFd) -> Result<Self, HandoverError> {
        // SAFETY: by this function's contract.
        let mut inheritance = unsafe { Inheritance::new() };
        let mut memfd = File::from(inheritance.adopt(number)?);
        let mut text = Vec::new();
        (&mut memfd).take(MAX_LEN).read_to_end(&mut text)?;
        let wire = Wire::parse(&text)?;
        let since = Duration::from_nanos(monotonic_ns().saturating_sub(wire.asked_ns));
        let now = Instant::now();
        let asked = now.checked_sub(since).unwrap_or(now);
        let report = wire.report.map(|fd| inheritance.adopt(fd)).transpose()?;
        let api = wire.api.map(|fd| inheritance.adopt(fd)).transpose()?;
        let console = wire
            .console_far
            .map(|fd| inheritance.adopt(fd))
            .transpose()?;
        let registration = match &wire.registration {
            Some(registration) => Some(registration.adopt(&mut inheritance)?),
            None => None,
        };
        let config = wire.into_config(&mut inheritance)?;
        Ok(Self {
            config,
            asked,
            report,
            api,
            console,
            registration,
        })
    }
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
