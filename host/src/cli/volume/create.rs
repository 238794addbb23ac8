//! `plinth volume create`: a new volume.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use ::volume::entry::State;
use ::volume::id::SnapshotId;
use ::volume::size::VolumeSize;
use clap::Args;

use crate::error::Error;
use crate::exit::ExitStatus;
use crate::option::size;
use crate::snapshot::lock::Referring;
use crate::snapshot::restore::Restore;
use crate::volume::directory::{Volume, Volumes};
use crate::volume::image::Format;
use crate::volume::import::{Import, import};
use crate::volume::name::VolumeName;
use crate::volume::new_volume::NewVolume;
use crate::volume::record::Record;
use crate::volume::root;
use crate::volume::speed::Speed;

use super::super::Outcome;
use super::super::snapshot::store_option::StoreOption;
use super::encryption::EncryptionOptions;
use super::speed::{SpeedOptions, refused};

/// Make a volume, and print its id
///
/// A blank one takes no space until it is written to. One that is made --from a
/// snapshot is there at once, and loads what it holds when that is first read,
/// and meanwhile; one that is made --from a disk image holds what that does.
/// Either is as large unless --size says more.
///
/// Examples:
///   plinth volume create data --size 20GiB
///   plinth volume create log --size 100GiB --type provisioned --iops 16000
///   plinth volume create safe --size 1GiB --encrypted --key-file /etc/plinth.key
///   plinth volume create copy --from snap-0123456789abcdef0
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

    /// What it begins with: a snapshot, or a disk image as in plinth volume
    /// import
    #[arg(long, value_name = "SNAPSHOT|IMAGE")]
    from: Option<Source>,

    /// The image's format, which is never guessed
    #[arg(long, requires = "from")]
    format: Option<Format>,

    #[command(flatten)]
    speed: SpeedOptions,

    #[command(flatten)]
    encryption: EncryptionOptions,

    #[command(flatten)]
    store: StoreOption,
}

/// What a volume can be made from.
#[derive(Clone, Debug)]
enum Source {
    Snapshot(SnapshotId),
    Image(PathBuf),
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.parse() {
            Ok(snapshot) => Self::Snapshot(snapshot),
            Err(_) => Self::Image(text.into()),
        })
    }
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
            (Some(Source::Snapshot(_)), ..) if self.encryption.is_asked_for() => {
                Err(Error::configuration(
                    "a volume is encrypted as the snapshot is that it is made from",
                )
                .remedy("leaving out --encrypted and its key"))
            }
            (Some(Source::Snapshot(snapshot)), None, size) => {
                let data = root::locate()?;
                let location = self.store.clone().location(&data)?.to_string();
                let store = self.store.open(&data)?;
                let restore = Restore {
                    name: self.name,
                    size,
                    speed,
                    snapshot,
                    location: Some(location),
                };
                restore.make(volumes, &*store, &Referring::wait(&data)?)
            }
            (Some(Source::Snapshot(_)), Some(_), _) => Err(Error::configuration(
                "--format is of an image, and --from names a snapshot",
            )),
            (Some(Source::Image(image)), None, _) => Err(Error::configuration(format!(
                "the format of image '{}' is not given, and never guessed",
                image.display()
            ))
            .remedy("--format raw or --format qcow2")),
            (Some(Source::Image(image)), Some(format), size) => {
                let image = Import {
                    name: self.name,
                    size,
                    speed,
                    image: &image,
                    format,
                    encryption: self.encryption.begin()?,
                };
                import(volumes, image)
            }
            (None, _, Some(size)) => {
                let encryption = self.encryption.begin()?;
                let mut record = Record::new(self.name, size, speed)?;
                record.encryption = encryption;
                NewVolume::begin(volumes, record, State::Zero)?.finish()
            }
            _ => Err(Error::configuration("neither --size nor --from is given")),
        }
    }
}
