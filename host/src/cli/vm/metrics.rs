//! `plinth vm metrics`: what a machine counts.

use clap::Args;

use crate::client::request::Request;
use crate::printable::printable_lines;
use crate::registry::name::VmName;

use super::super::Outcome;
use super::super::connection::Connection;
use super::super::output::print;

/// Print a machine's counters and histograms, in the OpenMetrics text format
///
/// Prometheus reads the same from the control socket: GET /metrics.
#[derive(Debug, Args)]
pub(super) struct Metrics {
    /// The machine
    #[arg(value_name = "VM")]
    name: VmName,
}

impl Metrics {
    pub(super) fn execute(self) -> Outcome {
        let mut connection = Connection::open(&self.name)?;
        let text = connection.text(&Request::get("/metrics"))?;
        print(&printable_lines(&text))
    }
}
