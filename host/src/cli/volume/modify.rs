//! `plinth volume modify`: a faster or slower volume.

use clap::{ArgGroup, Args};

use crate::client::request::{Request, segment};
use crate::error::Error;
use crate::exit::ExitStatus;
use crate::registry::name::VmName;
use crate::volume::directory::{Volume, Volumes};
use crate::volume::selector::Selector;
use crate::volume::usage::Usage;

use super::super::Outcome;
use super::super::connection::Connection;
use super::super::limits;
use super::speed::{SpeedOptions, refused};

/// Change how fast a volume is
///
/// What is not named stays as it is, unless --type changes: then it is what
/// the new type gives. A volume that is attached has its new speed at once, as
/// often as it is changed.
///
/// Examples:
///   plinth volume modify data --iops 6000 --throughput 250
///   plinth volume modify data --type provisioned --iops 16000
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[command(group = ArgGroup::new("speed").required(true).multiple(true).args(["kind", "iops", "throughput"]))]
pub(super) struct Modify {
    /// The volume's name or id
    #[arg(value_name = "VOLUME")]
    volume: Selector,

    #[command(flatten)]
    speed: SpeedOptions,
}

impl Modify {
    pub(super) fn execute(self) -> Outcome {
        let mut volume = Volumes::of_this_user()?.find(&self.volume)?;
        let name = volume.name().clone();
        volume.change(|record| {
            let changed = record.speed.changed(self.speed.asked());
            record.speed = changed.map_err(|error| refused(&name, error))?;
            Ok(())
        })?;
        let usage = Usage::of(&volume).map_err(|error| {
            Error::configuration(format!("volume '{name}' cannot be looked at")).because(error)
        })?;
        for machine in usage.machines() {
            limit(&volume, machine)?;
        }
        Ok(ExitStatus::Success)
    }
}

/// Holds `machine` to the speed that `volume` has now.
fn limit(volume: &Volume, machine: &VmName) -> Result<(), Error> {
    let record = volume.record();
    let path = format!("/v1/devices/{}/limits", segment(&record.id.serial()));
    let limits = limits::document(record.speed.limits());
    Connection::open(machine)?.ask(&Request::put(path).body(limits))
}
