//! `plinth switch`: what all kinds of virtual switches have in common. One file
//! for each verb.

mod check;
pub(super) mod list;
mod up;

use clap::{Args, Subcommand};

use crate::exit;

use super::Outcome;

/// Make virtual switches anew after a boot, and check them
///
/// Switches are stored where volumes are. What they are in the kernel is made
/// anew from that: after the host has booted, or when somebody changed it.
///
///   plinth switch up
///   plinth switch check
///
/// Routed networks are made with plinth vpc.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = exit::HELP)]
pub(super) struct Switch {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(list::List),
    Up(up::Up),
    Check(check::Check),
}

impl Switch {
    pub(super) fn execute(self) -> Outcome {
        match self.verb {
            Verb::List(verb) => verb.execute(),
            Verb::Up(verb) => verb.execute(),
            Verb::Check(verb) => verb.execute(),
        }
    }
}
