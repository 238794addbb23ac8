//! `plinth vm stop`: asks a guest to power off, and ends it if it does not.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::client::request::Request;
use crate::client::{Failure, PATIENCE};
use crate::error::Error;
use crate::exit::ExitStatus;
use crate::option::duration::{deadline, milliseconds};
use crate::registry::machine::Machine;
use crate::registry::name::VmName;

use super::super::Outcome;
use super::super::connection::Connection;
use super::waiting::Waiting;

/// How long a process may take to end after its machine has.
const PROCESS_END: Duration = Duration::from_secs(30);

/// Stop a machine: press its power button, wait, then cut the power
///
/// The command ends when the machine's process has, so that its disks are
/// free. It says so if the guest ignored its power button and was cut off; the
/// exit status is 0 all the same, since the machine has stopped.
///
/// Examples:
///   plinth vm stop web
///   plinth vm stop web --deadline 2m
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Stop {
    /// The machine
    #[arg(value_name = "VM")]
    name: VmName,

    /// How long the guest has to power off, such as 500ms, 30s or 2m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = deadline)]
    deadline: Duration,
}

impl Stop {
    pub(super) fn execute(self) -> Outcome {
        let mut connection = Connection::open(&self.name)?;
        let request =
            Request::post("/v1/vm/stop").body(json!({"deadline_ms": milliseconds(self.deadline)}));
        let waiting = Waiting::for_(format!("the guest of '{}' to power off", self.name));
        let patience = self.deadline + PATIENCE;
        match connection.try_ask(&request, patience) {
            // Its process ended before it could say so: that will do.
            Ok(_) | Err(Failure::Broken(_)) => {}
            Err(failure) => {
                drop(waiting);
                return Err(connection.explain(failure));
            }
        }
        let status = wait_for_end(&connection.machine)?;
        warn_of_power_cut(&connection.machine)?;
        Ok(status)
    }
}

/// Says so if the guest did not power off by itself.
fn warn_of_power_cut(machine: &Machine) -> Result<(), Error> {
    let machine = machine.refreshed()?;
    let cut = machine.end().and_then(|end| end.reason.as_deref()) == Some("power-cut");
    if cut {
        eprintln!(
            "plinth: machine '{}': {}",
            machine.name(),
            machine.last_words()
        );
    }
    Ok(())
}

/// Waits until the process of `machine`, which has stopped, has ended as well.
pub(super) fn wait_for_end(machine: &Machine) -> Outcome {
    let ended = match machine.process() {
        Some(process) => process.wait(PROCESS_END),
        None => Ok(true),
    };
    let name = machine.name();
    match ended {
        Ok(true) => Ok(ExitStatus::Success),
        Ok(false) => Err(Error::unexpected(format!(
            "machine '{name}' has stopped, but its process has not ended in {} s",
            PROCESS_END.as_secs()
        ))
        .remedy(format!("plinth vm kill {name}"))),
        Err(error) => {
            Err(Error::unexpected("the machine's process cannot be waited for").because(error))
        }
    }
}
