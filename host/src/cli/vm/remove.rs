//! `plinth vm remove`: forgets machines that have ended.

use clap::Args;

use crate::exit::ExitStatus;
use crate::registry::Registry;
use crate::registry::name::VmName;

use super::super::Outcome;

/// Forget machines that have ended, and their last words
///
/// Disks and other files of theirs stay. A new machine of the same name does
/// this by itself.
#[derive(Debug, Args)]
#[command(alias = "forget")]
pub(super) struct Remove {
    /// The machines
    #[arg(value_name = "VM", required = true)]
    names: Vec<VmName>,
}

impl Remove {
    pub(super) fn execute(self) -> Outcome {
        let registry = Registry::of_this_user()?;
        for name in &self.names {
            registry.remove(name)?;
        }
        Ok(ExitStatus::Success)
    }
}
