//! `plinth volume import`: a volume from a disk image.

use std::path::PathBuf;

use ::volume::size::VolumeSize;
use clap::Args;

use crate::exit::ExitStatus;
use crate::option::size;
use crate::volume::directory::Volumes;
use crate::volume::image::Format;
use crate::volume::import;
use crate::volume::name::VolumeName;
use crate::volume::speed::Speed;

use super::super::Outcome;
use super::encryption::EncryptionOptions;
use super::speed::{SpeedOptions, refused};

/// Make a volume from a disk image, and print its id
///
/// The image is copied: it is not needed any more. Its format is never
/// guessed. A qcow2 image that needs other files, such as a backing image, is
/// refused.
///
/// Examples:
///   plinth volume import root --format qcow2 debian-12-genericcloud-amd64.qcow2
///   plinth volume import root --format raw disk.img --size 20GiB
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Import {
    /// What to call it: letters, digits, '-', '_' and '.', 64 at most
    name: VolumeName,

    /// The image; a raw one can be a block device
    file: PathBuf,

    /// The image's format
    #[arg(long)]
    format: Format,

    /// How large it is to be [default: as large as the image's disk]
    #[arg(long, value_name = "SIZE", value_parser = size::volume, allow_hyphen_values = true)]
    size: Option<VolumeSize>,

    #[command(flatten)]
    speed: SpeedOptions,

    #[command(flatten)]
    encryption: EncryptionOptions,
}

impl Import {
    pub(super) fn execute(self) -> Outcome {
        let speed = Speed::new(self.speed.asked()).map_err(|error| refused(&self.name, error))?;
        let import = import::Import {
            name: self.name,
            size: self.size,
            speed,
            image: &self.file,
            format: self.format,
            encryption: self.encryption.begin()?,
        };
        let volume = import::import(&Volumes::of_this_user()?, import)?;
        println!("{}", volume.record().id);
        Ok(ExitStatus::Success)
    }
}
