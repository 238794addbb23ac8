//! `cargo xtask bench memory`: what monitors take whose guests are idle.

use std::process::ExitCode;

use anyhow::Result;
use benches::memory::MemoryBench;
use benches::peer::Aspect;
use clap::{Args, value_parser};

use super::common::{Common, each_once, with_default};
use super::testbed::Parts;

/// Sizes of guest memory in MiB.
pub(super) const SIZES: [u32; 2] = [128, 256];

/// Memory of the monitor, its guest idle: proportional and private.
#[derive(Debug, Args)]
pub(super) struct Memory {
    #[command(flatten)]
    common: Common,
    #[arg(long, value_name = "MIB", value_delimiter = ',', default_values_t = SIZES,
        hide_default_value = true, help = with_default("Guests' memory in MiB", &SIZES),
        value_parser = value_parser!(u32).range(1..))]
    sizes: Vec<u32>,
}

impl Memory {
    /// Measures and prints.
    pub(super) fn run(self) -> Result<ExitCode> {
        let (parts, results) = self.common.prepare(&[Aspect::Machine])?;
        // Without it nothing can be told, which is better known before.
        parts.bare.tracing()?;
        let bench = usual(&parts, &self.common, each_once(self.sizes));
        self.common.measure(&parts, results, &bench, 1)
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
