//! The one error of this crate. Its kind tells a broken machine from a
//! command that could not be run, so that a caller knows what a retry is for.

use std::error::Error as StdError;

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The kernel, the initramfs or the emulator could not be had or started.
    Setup,
    /// The outer machine stopped making progress and was killed.
    Stuck,
    /// The outer machine ended, or spoke nonsense, in mid-command.
    Died,
    /// The command could not be started in the outer machine.
    Refused,
    /// The command ran longer than it may and was killed.
    TimedOut,
    /// The command's input could not be read or its output not be written.
    Stream,
}

/// Nothing is known about the command's outcome, or there was none.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    kind: ErrorKind,
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Result of driving an outer machine.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            source: None,
        }
    }

    pub(crate) fn caused(
        kind: ErrorKind,
        what: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            what: what.into(),
            source: Some(source.into()),
        }
    }

    /// For `map_err` while setting up.
    pub(crate) fn setup<E>(what: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        move |source| Self::caused(ErrorKind::Setup, what, source)
    }

    /// The kind, for callers that decide by it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}
