//! Why plinth did not do what it was asked: the one error type of this crate.
//!
//! A message names what was wrong with which thing; the source says why; the
//! remedy, where one is known, says what to do. The kind decides the exit
//! status.

use std::error::Error as StdError;
use std::fmt;

use crate::exit::ExitStatus;
use crate::printable::printable;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The user's: another configuration helps.
    Configuration,
    /// The host's: it lacks something.
    Host,
    /// Nobody expected this.
    Unexpected,
}

/// A refusal or a failure, with what to do about it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    remedy: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A configuration that cannot be.
    pub fn configuration(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Configuration, what.into())
    }

    /// A host that cannot.
    pub fn host(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Host, what.into())
    }

    /// A failure that should not have been.
    pub fn unexpected(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unexpected, what.into())
    }

    fn new(kind: ErrorKind, what: String) -> Self {
        Self {
            kind,
            what,
            remedy: None,
            source: None,
        }
    }

    /// Adds the reason, which the message must not repeat.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The exit status that tells a script the same.
    pub fn exit_status(&self) -> ExitStatus {
        match self.kind {
            ErrorKind::Configuration => ExitStatus::Configuration,
            ErrorKind::Host => ExitStatus::Host,
            ErrorKind::Unexpected => ExitStatus::Unexpected,
        }
    }

    /// The whole story for a person: the message, its reasons, the remedy.
    pub fn report(&self) -> String {
        // Names of files and what the kernel says of them may hold anything.
        let mut report = printable(&self.what);
        let mut source = self.source();
        while let Some(error) = source {
            report += &format!(": {}", printable(&error.to_string()));
            source = error.source();
        }
        if let Some(remedy) = &self.remedy {
            report += &format!("\n  try: {remedy}");
        }
        report
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_why_and_what_to_do() {
        let error = Error::configuration("cannot open kernel /k")
            .because(std::io::Error::other("no such file"))
            .remedy("another path");
        assert_eq!(
            error.report(),
            "cannot open kernel /k: no such file\n  try: another path"
        );
        assert_eq!(error.to_string(), "cannot open kernel /k");
        assert_eq!(Error::host("a\x1b[31mb").report(), "a[31mb");
        assert_eq!(error.exit_status(), ExitStatus::Configuration);
    }
}
