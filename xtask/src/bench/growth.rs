//! `cargo xtask bench growth`: how a boot grows with what its machine has.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use benches::growth::{Dimension, GrowthBench};
use benches::peer::Aspect;
use clap::{Args, ValueEnum};

use super::common::{Common, each_once};
use super::testbed::Parts;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Grows {
    /// Virtual CPUs
    Vcpus,
    /// Memory
    Memory,
    /// Disks
    Disks,
    /// Network interfaces
    Nics,
}

/// How a boot grows with vCPUs, memory, disks and network interfaces.
///
/// Several vCPUs that share one wait for each other, for how long is chance: where
/// instructions are counted, each number of them boots with seven words that mean
/// nothing, of which the median is shown, and the range.
#[derive(Debug, Args)]
pub(super) struct Growth {
    #[command(flatten)]
    common: Common,
    /// What grows; all of it unless told otherwise
    #[arg(value_enum)]
    grows: Vec<Grows>,
    /// To which sizes, of one thing that grows: so many, or MiB of memory
    #[arg(long, value_name = "N", value_delimiter = ',')]
    sizes: Vec<u32>,
    /// Write the trace and the console of each boot to DIR
    #[arg(long, value_name = "DIR")]
    traces: Option<PathBuf>,
}

impl Growth {
    /// Measures and prints.
    pub(super) fn run(self) -> Result<ExitCode> {
        let grows = each_once(self.grows);
        ensure!(
            self.sizes.is_empty() || grows.len() == 1,
            "--sizes are of one thing that grows: name it"
        );
        let needed = grows
            .iter()
            .any(|one| matches!(one, Grows::Vcpus | Grows::Memory));
        ensure!(
            !needed || !self.sizes.contains(&0),
            "--sizes: no machine is without a vCPU or memory"
        );
        for one in &grows {
            let largest = dimension(*one).largest();
            ensure!(
                self.sizes.iter().all(|size| *size <= largest),
                "--sizes: {largest} is the most that can be measured of this"
            );
        }
        self.common.make_room_for_traces(self.traces.as_deref())?;
        let (parts, results) = self.common.prepare(&[Aspect::Machine])?;
        let mut bench = usual(&parts, &self.common);
        bench.traces = self.traces;
        if !grows.is_empty() {
            let dimensions = grows.iter().map(|grows| dimension(*grows));
            bench.dimensions = dimensions.map(with_usual_sizes).collect();
        }
        if !self.sizes.is_empty() {
            bench.dimensions[0].1 = each_once(self.sizes);
        }
        self.common.measure(&parts, results, &bench, 1)
    }
}

fn dimension(grows: Grows) -> Dimension {
    match grows {
        Grows::Vcpus => Dimension::Cpus,
        Grows::Memory => Dimension::Memory,
        Grows::Disks => Dimension::Disks,
        Grows::Nics => Dimension::Nics,
    }
}

fn with_usual_sizes(dimension: Dimension) -> (Dimension, Vec<u32>) {
    (dimension, dimension.usual_sizes().into())
}

/// What is measured unless told otherwise.
pub(super) fn usual(parts: &Parts, common: &Common) -> GrowthBench {
    GrowthBench {
        testbed: parts.full.clone(),
        dimensions: Dimension::ALL.map(with_usual_sizes).into(),
        ip: parts.ip.clone(),
        words: common.append.clone(),
        traces: None,
    }
}
