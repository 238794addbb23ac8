//! `plinth volume create`: a new volume.

use ::volume::entry::State;
use ::volume::size::VolumeSize;
use clap::Args;

use crate::error::Error;
use crate::exit::ExitStatus;
use crate::option::size;
use crate::volume::directory::Volumes;
use crate::volume::name::VolumeName;
use crate::volume::new_volume::NewVolume;
use crate::volume::record::Record;
use crate::volume::speed::Speed;

use super::super::Outcome;
use super::encryption::EncryptionOptions;
use super::speed::{SpeedOptions, refused};

/// Make a volume, and print its id
///
/// It takes no space until it is written to.
///
/// Examples:
///   plinth volume create data --size 20GiB
///   plinth volume create log --size 100GiB --type provisioned --iops 16000
///   plinth volume create safe --size 1GiB --encrypted --key-file /etc/plinth.key
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Create {
    /// What to call it: letters, digits, '-', '_' and '.', 64 at most
    name: VolumeName,

    /// How large it is, 1MiB to 64TiB (powers of 1024; a number alone is bytes)
    #[arg(long, value_name = "SIZE", value_parser = size::volume, allow_hyphen_values = true)]
    size: VolumeSize,

    #[command(flatten)]
    speed: SpeedOptions,

    #[command(flatten)]
    encryption: EncryptionOptions,
}

impl Create {
    pub(super) fn execute(self) -> Outcome {
        let name = self.name;
        let speed = Speed::new(self.speed.asked()).map_err(|error| refused(&name, error))?;
        let volumes = Volumes::of_this_user()?;
        let encryption = self.encryption.begin()?;
        let mut record = Record::new(name, self.size, speed).map_err(|error| {
            Error::unexpected("this host gives no random numbers").because(error)
        })?;
        record.encryption = encryption;
        let volume = NewVolume::begin(&volumes, record)?.finish(State::Zero)?;
        println!("{}", volume.record().id);
        Ok(ExitStatus::Success)
    }
}
