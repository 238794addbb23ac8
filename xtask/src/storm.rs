//! `cargo xtask storm`: the long run of the test that attaches disks and takes
//! them away under writes (tests/tests/hotplug.rs), which the test command
//! runs for a few cycles only.

use std::env;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::guest::exit_code;

/// Tells the test how many cycles to run.
const VARIABLE: &str = "PLINTH_STORM_CYCLES";
const TEST: &str = "disks_come_and_go_under_writes";

/// Attach and detach disks under writes, many times, and check every
/// acknowledged record.
#[derive(Debug, Args)]
pub(crate) struct Storm {
    /// How many disks come and go.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    cycles: u32,
}

impl Storm {
    /// Runs the storm; fails if a record is lost or anything leaks.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let program = env::current_exe().context("finding this program")?;
        let status = Command::new(program)
            .args(["test", "--guest", TEST])
            .env(VARIABLE, self.cycles.to_string())
            .status()
            .context("running the test")?;
        Ok(exit_code(status))
    }
}
