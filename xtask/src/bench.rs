//! `cargo xtask bench`: measures. The crate benches does it; here is what it
//! needs, and the output.

mod boot;
mod limits;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};

use crate::workspace;

/// Measure plinth, beside other machine monitors where they can be compared.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Boot(boot::Boot),
    Limits(limits::Limits),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Bench {
    /// Measures and prints.
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self.what {
            What::Boot(boot) => boot.run(),
            What::Limits(limits) => limits.run(),
        }
    }
}

/// The release of `plinth`, with the VM process's program beside it.
fn plinth() -> Result<PathBuf> {
    workspace::build_release("vmm", "plinth-vmm")?;
    workspace::build_release("plinth", "plinth")
}
