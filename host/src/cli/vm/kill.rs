//! `plinth vm kill`: ends a machine as if its power were cut.

use std::time::Duration;

use clap::Args;

use crate::client::request::Request;
use crate::client::{Client, Failure};
use crate::error::Error;
use crate::registry::Registry;
use crate::registry::machine::Machine;
use crate::registry::name::VmName;

use super::super::Outcome;
use super::stop::wait_for_end;

/// How long a machine has to end in order, its disks' requests in flight
/// included, before its process is ended as it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// End a machine at once, as if its power were cut
///
/// What its guest had in flight on disks is finished, what it had not written
/// is lost: plinth vm stop asks the guest first. A machine that does not
/// answer is ended by a signal.
#[derive(Debug, Args)]
pub(super) struct Kill {
    /// The machine
    #[arg(value_name = "VM")]
    name: VmName,
}

impl Kill {
    pub(super) fn execute(self) -> Outcome {
        let machine = Registry::of_this_user().find(&self.name)?;
        machine.expect_alive()?;
        if ask(&machine).is_err() {
            kill_process(&machine)?;
        }
        wait_for_end(&machine)
    }
}

fn ask(machine: &Machine) -> Result<(), Failure> {
    let mut client = Client::connect(&machine.socket())?;
    client
        .ask(&Request::post("/v1/vm/kill"), PATIENCE)
        .map(drop)
}

/// Its process may have ended meanwhile, which is as well.
fn kill_process(machine: &Machine) -> Result<(), Error> {
    let Some(process) = machine.process() else {
        return Ok(());
    };
    // A machine that was about to end does so in order.
    if process.wait(Duration::ZERO).unwrap_or(false) {
        return Ok(());
    }
    process.kill().map_err(|error| {
        Error::unexpected(format!(
            "the process of machine '{}' cannot be killed",
            machine.name()
        ))
        .because(error)
    })
}
