//! `plinth volume export`: a disk image from a volume.

use std::path::PathBuf;

use clap::Args;

use crate::exit::ExitStatus;
use crate::volume::directory::Volumes;
use crate::volume::export::export;
use crate::volume::image::Format;
use crate::volume::selector::Selector;

use super::super::Outcome;
use super::encryption::KeyOptions;

/// Write a volume to a new disk image
///
/// The volume must not be attached to a machine that may write to it. A raw
/// image is sparse. What is in an encrypted volume is decrypted: nobody needs a
/// key for the image.
///
/// Examples:
///   plinth volume export data --format raw data.img
///   plinth volume export data --format qcow2 data.qcow2
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Export {
    /// The volume's name or id
    #[arg(value_name = "VOLUME")]
    volume: Selector,

    /// The image, which must not be there yet
    file: PathBuf,

    /// The image's format
    #[arg(long)]
    format: Format,

    /// Where the key of an encrypted volume is, if it is not where it was
    #[command(flatten)]
    key: KeyOptions,
}

impl Export {
    pub(super) fn execute(self) -> Outcome {
        let mut volume = Volumes::of_this_user()?.find(&self.volume)?;
        let key = self.key.source()?;
        export(&mut volume, &self.file, self.format, key.as_ref())?;
        Ok(ExitStatus::Success)
    }
}
