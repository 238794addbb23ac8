//! `cargo xtask bench control`: how soon a running monitor answers, and its guest
//! has a device.

use std::process::ExitCode;

use anyhow::Result;
use benches::control::ControlBench;
use benches::peer::Aspect;
use clap::{Args, value_parser};

use super::common::Common;
use super::testbed::Parts;

/// The control socket: how soon it answers, and a disk or NIC is attached.
#[derive(Debug, Args)]
pub(super) struct Control {
    #[command(flatten)]
    common: Common,
    /// How many questions to ask
    #[arg(long, value_name = "N", default_value_t = 100,
        value_parser = value_parser!(u32).range(1..))]
    questions: u32,
}

impl Control {
    /// Measures and prints.
    pub(super) fn run(self) -> Result<ExitCode> {
        let (parts, results) = self.common.prepare(&[Aspect::Machine])?;
        let bench = ControlBench {
            questions: self.questions,
            ..usual(&parts, &self.common)
        };
        self.common.measure(&parts, results, &bench, 1)
    }
}

/// What is measured unless told otherwise.
pub(super) fn usual(parts: &Parts, common: &Common) -> ControlBench {
    ControlBench {
        testbed: parts.full.clone(),
        questions: 100,
        ip: parts.ip.clone(),
        words: common.append.clone(),
    }
}
