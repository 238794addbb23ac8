//! `plinth volume create`: a new volume.

use std::path::PathBuf;

use ::volume::entry::State;
use ::volume::size::VolumeSize;
use clap::Args;

use crate::error::Error;
use crate::exit::ExitStatus;
use crate::option::size;
use crate::volume::directory::{Volume, Volumes};
use crate::volume::image::Format;
use crate::volume::import::{Import, import};
use crate::volume::name::VolumeName;
use crate::volume::new_volume::NewVolume;
use crate::volume::record::Record;
use crate::volume::speed::Speed;

use super::super::Outcome;
use super::speed::{SpeedOptions, refused};

/// Make a volume, and print its id
///
/// A blank one takes no space until it is written to. One that is made --from a
/// disk image holds what that does, and is as large unless --size says more.
///
/// Examples:
///   plinth volume create data --size 20GiB
///   plinth volume create log --size 100GiB --type provisioned --iops 16000
///   plinth volume create root --from debian.qcow2 --format qcow2 --size 20GiB
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Create {
    /// What to call it: letters, digits, '-', '_' and '.', 64 at most
    name: VolumeName,

    /// How large it is, 1MiB to 64TiB (powers of 1024; a number alone is bytes)
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = size::volume,
        allow_hyphen_values = true,
        required_unless_present = "from"
    )]
    size: Option<VolumeSize>,

    /// The disk image that it begins with, as in plinth volume import
    #[arg(long, value_name = "IMAGE", requires = "format")]
    from: Option<PathBuf>,

    /// The image's format, which is never guessed
    #[arg(long, requires = "from")]
    format: Option<Format>,

    #[command(flatten)]
    speed: SpeedOptions,
}

impl Create {
    pub(super) fn execute(self) -> Outcome {
        let speed = Speed::new(self.speed.asked()).map_err(|error| refused(&self.name, error))?;
        let volume = self.make(&Volumes::of_this_user()?, speed)?;
        println!("{}", volume.record().id);
        Ok(ExitStatus::Success)
    }

    fn make(self, volumes: &Volumes, speed: Speed) -> Result<Volume, Error> {
        match (self.from, self.format, self.size) {
            (Some(image), Some(format), size) => {
                let image = Import {
                    name: self.name,
                    size,
                    speed,
                    image: &image,
                    format,
                };
                import(volumes, image)
            }
            (None, _, Some(size)) => {
                let record = Record::new(self.name, size, speed)?;
                NewVolume::begin(volumes, record, State::Zero)?.finish()
            }
            _ => Err(Error::configuration("neither --size nor --from is given")),
        }
    }
}
