//! `cargo xtask bench growth`: how a boot grows with what its machine has.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use benches::growth::{Dimension, GrowthBench};
use clap::{Args, ValueEnum};

use super::common::Common;
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
#[derive(Debug, Args)]
pub(super) struct Growth {
    #[command(flatten)]
    common: Common,
    /// What grows; all of it unless told otherwise
    #[arg(value_enum)]
    grows: Vec<Grows>,
    /// To which sizes, of one thing that grows
    #[arg(long, value_name = "N", value_delimiter = ',')]
    sizes: Vec<u32>,
}

impl Growth {
    /// Measures and prints.
    pub(super) fn run(self) -> Result<ExitCode> {
        ensure!(
            self.sizes.is_empty() || self.grows.len() == 1,
            "--sizes are of one thing that grows: name it"
        );
        let parts = self.common.parts()?;
        let mut bench = usual(&parts, &self.common);
        if !self.grows.is_empty() {
            let dimensions = self.grows.iter().map(|grows| dimension(*grows));
            bench.dimensions = dimensions.map(with_usual_sizes).collect();
        }
        if !self.sizes.is_empty() {
            bench.dimensions[0].1 = self.sizes;
        }
        let report = self.common.carry_out(&bench, 1)?;
        self.common.finish(&parts, vec![report])
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
    }
}
