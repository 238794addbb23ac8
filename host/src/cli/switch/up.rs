//! `plinth switch up`: in the kernel what is stored.

use clap::Args;
use network::name::Name;

use crate::error::Error;
use crate::exit::ExitStatus;
use crate::switch::change;
use crate::switch::directory::Switches;
use crate::switch::service;

use super::super::Outcome;

/// Make switches in the kernel as they are stored
///
/// What is there as it should be stays, with everything that goes over it.
///
/// Examples:
///   plinth switch up
///   plinth switch up shop
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Up {
    /// The switch's name; all if not given
    #[arg(value_name = "SWITCH")]
    switch: Option<Name>,
}

impl Up {
    pub(super) fn execute(self) -> Outcome {
        let switches = Switches::of_this_user()?;
        let names = self
            .switch
            .map_or_else(|| switches.names(), |name| Ok(vec![name]))?;
        let mut outcome: Result<_, Error> = Ok(ExitStatus::Success);
        for name in names {
            // One that is damaged does not keep the others down.
            if let Err(error) = up(&switches, &name) {
                if let Err(earlier) = outcome {
                    eprintln!("plinth: {}", earlier.report());
                }
                outcome = Err(error);
            }
        }
        outcome
    }
}

fn up(switches: &Switches, name: &Name) -> Result<(), Error> {
    change::up(switches, name)?;
    match service::is_missing(switches, name)? {
        true => service::start(switches, name),
        false => Ok(()),
    }
}
