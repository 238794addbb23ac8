//! `plinth completions`: a script for the user's shell.

use std::io::{self, Write};

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use crate::error::Error;
use crate::exit::ExitStatus;

use super::Outcome;

/// Print a completion script for a shell
///
/// For bash: plinth completions bash > ~/.local/share/bash-completion/completions/plinth
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn execute(self, command: &mut Command) -> Outcome {
        let mut script = Vec::new();
        generate(self.shell, command, "plinth", &mut script);
        io::stdout()
            .write_all(&script)
            .map_err(|error| Error::unexpected("the script cannot be written").because(error))?;
        Ok(ExitStatus::Success)
    }
}
