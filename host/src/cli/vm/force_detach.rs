//! `plinth vm force-detach`: takes a device away whatever the guest says.

use clap::Args;
use vmm::STORAGE_PATIENCE;

use crate::client::PATIENCE;
use crate::client::request::{Request, segment};
use crate::registry::name::VmName;

use super::super::Outcome;
use super::super::connection::Connection;
use super::detach::forget_disk;
use super::device;

/// Take a device away from a machine without asking its guest
///
/// As if a cable were pulled: the guest sees errors from then on, and what it
/// had not flushed to the disk may be lost. plinth vm detach asks the guest
/// first. What was in flight is finished before; requests that the host's
/// storage never answers stay unanswered in the guest too. What the storage has
/// not finished with stays open until it has; the event device-detached tells
/// when.
#[derive(Debug, Args)]
pub(super) struct ForceDetach {
    /// The machine
    #[arg(value_name = "VM")]
    name: VmName,

    /// The device, as plinth vm show lists it, or the volume
    device: String,
}

impl ForceDetach {
    pub(super) fn execute(self) -> Outcome {
        let mut connection = Connection::open(&self.name)?;
        let device = device::named(&connection.machine, &self.device);
        let path = format!("/v1/devices/{}/force-detach", segment(&device));
        connection.ask_with_patience(&Request::post(path), STORAGE_PATIENCE + PATIENCE)?;
        forget_disk(&connection, &device)
    }
}
