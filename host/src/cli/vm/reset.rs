//! `plinth vm reset`: reset a machine, as its reset button would.

use clap::Args;

use crate::client::request::Request;
use crate::exit::ExitStatus;
use crate::registry::name::VmName;

use super::super::Outcome;
use super::super::connection::Connection;

/// Reset a machine, as its reset button would
///
/// The guest boots anew; what it had not written is lost. The VM process and everything attached to it stay.
#[derive(Debug, Args)]
pub(super) struct Reset {
    /// The machine
    #[arg(value_name = "VM")]
    name: VmName,
}

impl Reset {
    pub(super) fn execute(self) -> Outcome {
        let mut connection = Connection::open(&self.name)?;
        connection.ask(&Request::post("/v1/vm/reset"))?;
        Ok(ExitStatus::Success)
    }
}
