//! `cargo xtask bench all`: every benchmark of several monitors, in one report.

use std::process::ExitCode;

use anyhow::Result;
use benches::benchmark::Benchmark;
use benches::boot;
use benches::report::Mode;
use clap::Args;

use super::common::Common;
use super::testbed::Parts;
use super::{block, control, density, growth, memory, net};

/// Everything that monitors are compared by, in one report: takes hours.
///
/// By the clock, exits and system calls are left out, which are counted.
#[derive(Debug, Args)]
pub(super) struct All {
    #[command(flatten)]
    common: Common,
}

impl All {
    /// Measures and prints.
    pub(super) fn run(self) -> Result<ExitCode> {
        let common = &self.common;
        let parts = common.parts()?;
        let booted = common.carry_out(&super::boot::usual(&parts, common), super::boot::ROUNDS)?;
        let mut reports = vec![booted];
        if common.mode() == Mode::Deterministic {
            // The same boots, seen from nearer.
            reports.push(boot::exits(&reports[0]));
        }
        for benchmark in others(&parts, common)? {
            reports.push(common.carry_out(benchmark.as_ref(), 1)?);
        }
        common.finish(&parts, reports)
    }
}

fn others(parts: &Parts, common: &Common) -> Result<Vec<Box<dyn Benchmark>>> {
    let sizes = memory::SIZES.into();
    Ok(vec![
        Box::new(memory::usual(parts, common, sizes)),
        Box::new(growth::usual(parts, common)),
        Box::new(density::usual(parts, common, density::COUNTS.into())),
        Box::new(control::usual(parts, common)),
        Box::new(block::usual(parts, common)?),
        Box::new(net::usual(parts, common)?),
    ])
}
