//! `plinth vm events`: what happens to a machine, as it happens.

use std::io::{BufRead, BufReader, Read};

use clap::Args;

use crate::client::Failure;
use crate::client::request::Request;
use crate::exit::ExitStatus;
use crate::printable::printable;
use crate::registry::name::VmName;

use super::super::Outcome;
use super::super::connection::{Connection, explain};
use super::super::output::print_on;

/// Longest line that is shown whole.
const MAX_LINE: u64 = 64 << 10;

/// Print what happens to a machine, a line of JSON each, until it ends
///
/// Example:
///   plinth vm events web | jq .event
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Events {
    /// The machine
    #[arg(value_name = "VM")]
    name: VmName,
}

impl Events {
    pub(super) fn execute(self) -> Outcome {
        let connection = Connection::open(&self.name)?;
        let registry = connection.registry.clone();
        let failed = |failure| explain(failure, &registry, &self.name);
        let stream = connection
            .into_client()
            .stream(&Request::get("/v1/events"))
            .map_err(failed)?;
        let mut events = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            let read = (&mut events).take(MAX_LINE).read_until(b'\n', &mut line);
            match read {
                Ok(0) => return Ok(ExitStatus::Success),
                Ok(_) => {}
                // A machine that is killed ends in mid-sentence.
                Err(_) if !registry.find(&self.name).is_ok_and(|m| m.is_alive()) => {
                    return Ok(ExitStatus::Success);
                }
                Err(error) => return Err(failed(Failure::Broken(error))),
            }
            let line = printable(&String::from_utf8_lossy(&line));
            if !print_on(&format!("{line}\n"))? {
                return Ok(ExitStatus::Success);
            }
        }
    }
}
