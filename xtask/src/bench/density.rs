//! `cargo xtask bench density`: how many guests start in a second, and what each
//! idle one takes.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use benches::density::DensityBench;
use benches::peer::Aspect;
use clap::{Args, value_parser};

use super::common::{Common, with_default};
use super::testbed::Parts;

/// After how many guests to measure.
pub(super) const COUNTS: [u64; 4] = [1, 10, 50, 100];

/// Many guests: how many start in a second, what each idle one takes.
#[derive(Debug, Args)]
pub(super) struct Density {
    #[command(flatten)]
    common: Common,
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = COUNTS,
        hide_default_value = true, help = with_default("After how many guests to measure", &COUNTS))]
    counts: Vec<u64>,
    /// Memory of each guest in MiB
    #[arg(long, value_name = "MIB", default_value_t = 128,
        value_parser = value_parser!(u32).range(1..))]
    memory: u32,
}

impl Density {
    /// Measures and prints.
    pub(super) fn run(self) -> Result<ExitCode> {
        let ascend = self.counts.windows(2).all(|pair| pair[0] < pair[1]);
        let within = self.counts.iter().all(|count| (1..=500).contains(count));
        ensure!(
            ascend && within,
            "--counts ascend, from 1 to 500 guests at most"
        );
        let (parts, results) = self.common.prepare(&[Aspect::Machine])?;
        let bench = DensityBench {
            memory_mib: self.memory,
            ..usual(&parts, &self.common, self.counts)
        };
        self.common.measure(&parts, results, &bench, 1)
    }
}

/// What is measured at these counts.
pub(super) fn usual(parts: &Parts, common: &Common, counts: Vec<u64>) -> DensityBench {
    DensityBench {
        testbed: parts.bare.clone(),
        counts,
        memory_mib: 128,
        words: common.append.clone(),
    }
}
