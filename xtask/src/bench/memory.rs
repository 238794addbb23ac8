//! `cargo xtask bench memory`: what monitors take whose guests are idle.

use std::process::ExitCode;

use anyhow::Result;
use benches::memory::MemoryBench;
use clap::Args;

use super::common::Common;
use super::testbed::Parts;

/// Sizes of guest memory in MiB.
pub(super) const SIZES: [u32; 2] = [128, 256];

/// Memory of the monitor, its guest idle: proportional and private.
#[derive(Debug, Args)]
pub(super) struct Memory {
    #[command(flatten)]
    common: Common,
    /// Guests' memory in MiB
    #[arg(long, value_name = "MIB", value_delimiter = ',', default_values_t = SIZES)]
    sizes: Vec<u32>,
}

impl Memory {
    /// Measures and prints.
    pub(super) fn run(self) -> Result<ExitCode> {
        let parts = self.common.parts()?;
        // Without it nothing can be told, which is better known before.
        parts.bare.tracing()?;
        let bench = usual(&parts, &self.common, self.sizes);
        let report = self.common.carry_out(&bench, 1)?;
        self.common.finish(&parts, vec![report])
    }
}

/// What is measured at these sizes.
pub(super) fn usual(parts: &Parts, common: &Common, sizes: Vec<u32>) -> MemoryBench {
    MemoryBench {
        testbed: parts.bare.clone(),
        sizes,
        words: common.append.clone(),
    }
}
