//! `plinth vm detach`: takes a device away from a guest that lets go of it.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use vmm::STORAGE_PATIENCE;

use crate::client::request::{Request, segment};
use crate::client::{Failure, PATIENCE};
use crate::error::Error;
use crate::exit::ExitStatus;
use crate::option::duration::{deadline, milliseconds};
use crate::registry::name::VmName;

use super::super::Outcome;
use super::super::connection::Connection;
use super::device;
use super::waiting::Waiting;

/// HTTP's status for a guest that did not answer.
const GUEST_TIMEOUT: u16 = 504;

/// Take a device away from a machine, when its guest lets go of it
///
/// The guest is asked; what it has in flight is finished and flushed. Then the
/// disk or tap is free for another machine. A guest that does not let go in
/// time keeps it, and may yet let go later. One that is paused cannot: plinth
/// vm resume it first.
///
/// Examples:
///   plinth vm detach web data
///   plinth vm detach web data --deadline 5s
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Detach {
    /// The machine
    #[arg(value_name = "VM")]
    name: VmName,

    /// The device, as plinth vm show lists it, or the volume
    device: String,

    /// How long the guest has to let go, such as 500ms, 30s or 2m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = deadline)]
    deadline: Duration,
}

impl Detach {
    pub(super) fn execute(self) -> Outcome {
        let mut connection = Connection::open(&self.name)?;
        let device = device::named(&connection.machine, &self.device);
        let path = format!("/v1/devices/{}/detach", segment(&device));
        let request = Request::post(path).body(json!({"deadline_ms": milliseconds(self.deadline)}));
        let waiting = Waiting::for_(format!("the guest to let go of '{}'", self.device));
        let answer = connection.try_ask(&request, self.deadline + STORAGE_PATIENCE + PATIENCE);
        drop(waiting);
        match answer {
            Ok(_) => {}
            Err(Failure::Refused(refusal)) if refusal.status == GUEST_TIMEOUT => {
                return Err(Error::unexpected(format!(
                    "machine '{}': {}",
                    self.name, refusal.message
                ))
                .remedy(format!(
                    "a longer --deadline, or plinth vm force-detach {} {}",
                    self.name, self.device
                )));
            }
            Err(failure) => return Err(connection.explain(failure)),
        }
        forget_disk(&connection, &device)
    }
}

/// The file of a disk that has gone is not the machine's any more. That of
/// another, which has taken its name meanwhile, is.
pub(super) fn forget_disk(connection: &Connection, device: &str) -> Outcome {
    let machine = &connection.machine;
    connection
        .registry
        .forget_departed(machine, |name| name != device)?;
    Ok(ExitStatus::Success)
}
