//! `plinth volume copy`: another volume with the same content.

use clap::Args;

use crate::exit::ExitStatus;
use crate::volume::copy::copy;
use crate::volume::directory::Volumes;
use crate::volume::name::VolumeName;
use crate::volume::selector::Selector;

use super::super::Outcome;

/// Make a volume that holds what another does, and print its id
///
/// It takes no time and no space where the file system shares extents, such as
/// XFS and Btrfs. The copy has the same size and speed.
///
/// Examples:
///   plinth volume copy data data-before-upgrade
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Copy {
    /// The volume to copy: its name or id
    #[arg(value_name = "VOLUME")]
    volume: Selector,

    /// What to call the copy
    name: VolumeName,
}

impl Copy {
    pub(super) fn execute(self) -> Outcome {
        let volumes = Volumes::of_this_user()?;
        let mut source = volumes.find(&self.volume)?;
        let copy = copy(&volumes, &mut source, self.name)?;
        println!("{}", copy.record().id);
        Ok(ExitStatus::Success)
    }
}
