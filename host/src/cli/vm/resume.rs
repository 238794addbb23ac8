//! `plinth vm resume`: have a paused machine go on.

use clap::Args;

use crate::client::request::Request;
use crate::exit::ExitStatus;
use crate::registry::name::VmName;

use super::super::Outcome;
use super::super::connection::Connection;

/// Have a paused machine go on
#[derive(Debug, Args)]
pub(super) struct Resume {
    /// The machine
    #[arg(value_name = "VM")]
    name: VmName,
}

impl Resume {
    pub(super) fn execute(self) -> Outcome {
        let mut connection = Connection::open(&self.name)?;
        connection.ask(&Request::post("/v1/vm/resume"))?;
        Ok(ExitStatus::Success)
    }
}
