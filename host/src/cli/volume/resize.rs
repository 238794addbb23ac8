//! `plinth volume resize`: a larger volume.

use std::fs::OpenOptions;

use ::volume::size::VolumeSize;
use clap::Args;
use serde_json::json;

use crate::client::request::{Request, segment};
use crate::error::Error;
use crate::exit::ExitStatus;
use crate::option::size;
use crate::registry::name::VmName;
use crate::volume::directory::{Volume, Volumes};
use crate::volume::freezing::machine_of;
use crate::volume::selector::Selector;

use super::super::Outcome;
use super::super::connection::Connection;
use super::load::go_on;

/// Make a volume larger
///
/// A volume that is attached grows while its guest runs: Linux sees the new
/// size at once, and its file system is grown with growpart and resize2fs or
/// xfs_growfs. A volume grows to a multiple of 4096 bytes, and never shrinks.
///
/// Examples:
///   plinth volume resize data 40GiB
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Resize {
    /// The volume's name or id
    #[arg(value_name = "VOLUME")]
    volume: Selector,

    /// How large it is to be, up to 64TiB
    #[arg(value_name = "SIZE", value_parser = size::volume, allow_hyphen_values = true)]
    size: VolumeSize,
}

impl Resize {
    pub(super) fn execute(self) -> Outcome {
        let mut volume = Volumes::of_this_user()?.find(&self.volume)?;
        match machine_of(&volume)? {
            Some(machine) => resize_live(&mut volume, &machine, self.size)?,
            None => {
                volume.grow(self.size)?;
                go_on(&volume)?;
            }
        }
        println!("{}", volume.record().size);
        Ok(ExitStatus::Success)
    }
}

/// Grows the file, and has the machine that holds it tell its guest. The
/// machine changes the map: it alone writes there.
fn resize_live(volume: &mut Volume, machine: &VmName, size: VolumeSize) -> Result<(), Error> {
    let mut connection = Connection::open(machine)?;
    let path = format!("/v1/devices/{}", segment(&volume.record().id.serial()));
    let device = connection.document(&Request::get(path.as_str()))?;
    let name = volume.name();
    if device["read_only"] == true {
        return Err(Error::configuration(format!(
            "volume '{name}' is attached to machine '{machine}' to be read only: it cannot grow"
        ))
        .remedy(format!(
            "plinth vm detach {machine} {}",
            volume.record().id.serial()
        )));
    }
    let data = OpenOptions::new().write(true).open(volume.data());
    let data = data
        .map_err(|error| Error::host(format!("volume '{name}' cannot be grown")).because(error))?;
    volume.lengthen(&data, size)?;
    let body = json!({"bytes": size.bytes()});
    connection.ask(&Request::post(format!("{path}/resize")).body(body))?;
    volume.record_size(size)
}
