//! `plinth volume delete`: a volume and all its data, gone.

use clap::Args;

use crate::exit::ExitStatus;
use crate::volume::delete::delete;
use crate::volume::directory::Volumes;
use crate::volume::selector::Selector;

use super::super::Outcome;

/// Delete a volume with all its data
///
/// One that is attached to a machine is not deleted. Snapshots of it stay.
///
/// Examples:
///   plinth volume delete data
///   plinth volume delete vol-0123456789abcdef0
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, visible_alias = "rm")]
pub(super) struct Delete {
    /// The volume's name or id
    #[arg(value_name = "VOLUME")]
    volume: Selector,
}

impl Delete {
    pub(super) fn execute(self) -> Outcome {
        delete(&Volumes::of_this_user()?, &self.volume)?;
        Ok(ExitStatus::Success)
    }
}
