//! The one error of this crate: a matchable kind, what was being done, and
//! the source. The text never repeats its source; a caller prints the chain.

use std::error::Error as StdError;

/// What went wrong, coarse enough to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A file or directory could not be read or written.
    File,
    /// A program is missing or ended with a failure.
    Tool,
    /// A Debian package is unknown, unreachable or damaged.
    Package,
    /// A kernel image or module tree is not what it should be.
    Kernel,
}

/// An image could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    kind: ErrorKind,
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Result of a recipe.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that is its own cause.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            source: None,
        }
    }

    /// An error while doing `what`, caused by `source`.
    pub fn caused(
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

    /// For `map_err` on file operations: `what` failed on `path`.
    pub fn file(what: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let what = format!("{what} {}", path.display());
        move |source| Self::caused(ErrorKind::File, what, source)
    }

    /// The kind, for callers that decide by it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}
