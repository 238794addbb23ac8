//! `plinth switch delete`: a switch of any kind, gone.

use clap::Args;
use network::name::Name;

use crate::exit::ExitStatus;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;

/// Delete a switch
///
/// One that machines are plugged into is not deleted.
///
/// Examples:
///   plinth switch delete lan
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, visible_alias = "rm")]
pub(super) struct Delete {
    /// The switch's name
    #[arg(value_name = "SWITCH")]
    switch: Name,
}

impl Delete {
    pub(super) fn execute(self) -> Outcome {
        change::delete(&Switches::of_this_user()?, &self.switch)?;
        Ok(ExitStatus::Success)
    }
}
