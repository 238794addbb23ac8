//! `cargo xtask bench all`: every benchmark of several monitors, in one report.

use std::process::ExitCode;

use anyhow::Result;
use benches::benchmark::Benchmark;
use benches::boot::{self, BootBench, View};
use benches::peer::Aspect;
use benches::report::Mode;
use clap::Args;

use super::common::Common;
use super::testbed::Parts;
use super::{block, control, density, growth, memory, net};

/// Everything that monitors are compared by, in one report: takes hours.
///
/// By the clock, exits and system calls are left out, which are counted, and so is
/// memory where the kernel's tracing is not mounted.
#[derive(Debug, Args)]
pub(super) struct All {
    #[command(flatten)]
    common: Common,
}

impl All {
    /// Measures and prints.
    pub(super) fn run(self) -> Result<ExitCode> {
        let common = &self.common;
        let aspects = [Aspect::Boot, Aspect::Machine, Aspect::Disk, Aspect::Network];
        let (parts, mut results) = common.prepare(&aspects)?;
        let booting = super::boot::usual(&parts, common);
        // The same boots, seen from nearer.
        let exits = BootBench {
            view: View::Exits,
            ..booting.clone()
        };
        // All is made before anything is measured, which takes so long.
        let others = others(&parts, common)?;
        let mut benchmarks: Vec<&dyn Benchmark> = vec![&booting, &exits];
        benchmarks.extend(others.iter().map(Box::as_ref));
        let announced = benchmarks.iter().map(|one| (one.name(), one.parameters()));
        results.accept(&announced.collect::<Vec<_>>())?;
        let booted = common.carry_out(&parts, &booting, super::boot::ROUNDS);
        results.add(booted.clone());
        if common.mode() == Mode::Deterministic {
            results.add(boot::exits(&booted));
        }
        for benchmark in others {
            results.add(common.carry_out(&parts, benchmark.as_ref(), 1));
        }
        results.finish()
    }
}

/// Without the kernel's tracing memory cannot be told: all monitors would fail at it.
fn others(parts: &Parts, common: &Common) -> Result<Vec<Box<dyn Benchmark>>> {
    let mut benchmarks: Vec<Box<dyn Benchmark>> = Vec::new();
    match parts.bare.tracing() {
        Ok(_) => benchmarks.push(Box::new(memory::usual(parts, common, memory::SIZES.into()))),
        Err(why) => eprintln!("memory is left out: {why:#}"),
    }
    let others: [Box<dyn Benchmark>; 5] = [
        Box::new(growth::usual(parts, common)),
        Box::new(density::usual(parts, common, density::COUNTS.into())),
        Box::new(control::usual(parts, common)),
        Box::new(block::usual(parts, common)?),
        Box::new(net::usual(parts, common)?),
    ];
    benchmarks.extend(others);
    Ok(benchmarks)
}
