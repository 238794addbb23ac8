//! `plinth vm pause`: bring a machine's vCPUs and devices to rest.

use clap::Args;

use crate::client::request::Request;
use crate::exit::ExitStatus;
use crate::registry::name::VmName;

use super::super::Outcome;
use super::super::connection::Connection;

/// Bring a machine's vCPUs and devices to rest
///
/// Its memory does not change until plinth vm resume.
#[derive(Debug, Args)]
pub(super) struct Pause {
    /// The machine
    #[arg(value_name = "VM")]
    name: VmName,
}

impl Pause {
    pub(super) fn execute(self) -> Outcome {
        let mut connection = Connection::open(&self.name)?;
        connection.ask(&Request::post("/v1/vm/pause"))?;
        Ok(ExitStatus::Success)
    }
}
