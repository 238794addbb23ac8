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
        let machine = Registry::of_this_user()?.find(&self.name)?;
        machine.expect_alive()?;
        let patience = match ask(&machine) {
            Ok(()) => return wait_for_end(&machine),
            // It hung up, as it does when it ends: it may be about to say how.
            Err(Failure::Broken(_)) => PATIENCE,
            Err(_) => Duration::ZERO,
        };
        kill_process(&machine, patience)?;
        wait_for_end(&machine)
    }
}

fn ask(machine: &Machine) -> Result<(), Failure> {
    let mut client = Client::connect(&machine.socket())?;
    client
        .ask(&Request::post("/v1/vm/kill"), PATIENCE)
        .map(drop)
}

/// Its process may end by itself meanwhile, which is as well.
fn kill_process(machine: &Machine, patience: Duration) -> Result<(), Error> {
    let Some(process) = machine.process() else {
        return Ok(());
    };
    if process.wait(patience).unwrap_or(false) {
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
