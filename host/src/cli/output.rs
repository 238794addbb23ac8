//! How a command prints what it found.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::error::Error;
use crate::exit::ExitStatus;

use super::Outcome;

/// The choice of a format.
#[derive(Debug, Args)]
pub(super) struct Output {
    /// How to print it
    #[arg(long = "output", value_name = "FORMAT", default_value = "table")]
    pub(super) format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Lines for a person
    Table,
    /// JSON for a program
    Json,
}

/// Prints `text`, and says whether more is wanted: whoever reads it may have
/// read enough.
pub(super) fn print_on(text: &str) -> Result<bool, Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::unexpected("the output cannot be written").because(error)),
        Ok(()) => Ok(true),
    }
}

/// Prints `text`, which is all.
pub(super) fn print(text: &str) -> Outcome {
    print_on(text).map(|_| ExitStatus::Success)
}

/// Prints `document`.
pub(super) fn print_json(document: &Value) -> Outcome {
    print(&format!("{document:#}\n"))
}
