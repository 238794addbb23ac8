//! `cargo xtask bench boot` and `exits`: how a stock kernel boots, in sum, and what
//! its exits and system calls are.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use benches::boot::{BootBench, View};
use benches::peer::Aspect;
use clap::{Args, value_parser};

use super::common::Common;
use super::testbed::Parts;

/// How often each is measured, where instructions are counted; all must agree.
pub(super) const ROUNDS: u32 = 2;

/// Booting a stock kernel: times, exits, system calls, memory.
///
/// By the clock times, and where the kernel's tracing is mounted memory.
#[derive(Debug, Args)]
pub(super) struct Boot {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    guest: Guest,
}

/// Exits and system calls of a boot, by reason and by name.
#[derive(Debug, Args)]
pub(super) struct Exits {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    guest: Guest,
}

#[derive(Debug, Args)]
struct Guest {
    /// Memory of the guest in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256,
        value_parser = value_parser!(u32).range(1..=1 << 20))]
    memory: u32,
    /// Write the trace and the console of each monitor's boots to DIR
    #[arg(long, value_name = "DIR")]
    traces: Option<PathBuf>,
}

impl Boot {
    /// Measures and prints.
    pub(super) fn run(self) -> Result<ExitCode> {
        run(&self.common, self.guest, View::Boot)
    }
}

impl Exits {
    /// Measures and prints.
    pub(super) fn run(self) -> Result<ExitCode> {
        self.common.only_deterministic("exits")?;
        run(&self.common, self.guest, View::Exits)
    }
}

fn run(common: &Common, guest: Guest, view: View) -> Result<ExitCode> {
    common.make_room_for_traces(guest.traces.as_deref())?;
    let (parts, results) = common.prepare(&[Aspect::Boot])?;
    let bench = BootBench {
        memory_mib: guest.memory,
        traces: guest.traces,
        view,
        ..usual(&parts, common)
    };
    common.measure(&parts, results, &bench, ROUNDS)
}

/// What is measured unless told otherwise.
pub(super) fn usual(parts: &Parts, common: &Common) -> BootBench {
    BootBench {
        testbed: parts.bare.clone(),
        view: View::Boot,
        memory_mib: 256,
        words: common.append.clone(),
        traces: None,
    }
}
