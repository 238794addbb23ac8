//! `plinth doctor`: what this host can do, line by line.

use std::io::{self, Write};

use clap::{Args, ValueEnum};

use crate::doctor::{Report, examine};
use crate::error::Error;
use crate::exit::ExitStatus;

use super::Outcome;

/// Say what this host can and cannot do, and how to mend it
///
/// Exits with 0 if guests can run here, with 3 if not.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// How to print what was found
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Lines for a person
    Table,
    /// JSON for a program
    Json,
}

impl Doctor {
    pub(super) fn execute(self) -> Outcome {
        let report = examine();
        let text = match self.output {
            Format::Table => table(&report),
            Format::Json => serde_json::to_string_pretty(&report)
                .map_err(|error| Error::unexpected("no JSON can be made").because(error))?,
        };
        writeln!(io::stdout(), "{text}")
            .map_err(|error| Error::unexpected("the report cannot be written").because(error))?;
        Ok(if report.can_run {
            ExitStatus::Success
        } else {
            ExitStatus::Host
        })
    }
}

fn table(report: &Report) -> String {
    let mut lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    lines.push(String::new());
    lines.push(if report.can_run {
        "Guests can run on this host.".into()
    } else {
        "Guests cannot run on this host.".into()
    });
    lines.join("\n")
}
