//! `plinth subnet`: parts of a network. One file for each verb.

mod create;
mod delete;

use clap::{Args, Subcommand};

use crate::exit;

use super::Outcome;

/// Make and remove the subnets of virtual private networks
///
/// Of a subnet's addresses the first four and the last are reserved: its own, its
/// router (.1), its name server (.2), one for later, and the last.
///
///   plinth subnet create shop/front --cidr 10.0.1.0/24
///   plinth run --net shop/front --kernel vmlinux
///   plinth vpc show shop
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = exit::HELP)]
pub(super) struct Subnet {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Create),
    Delete(delete::Delete),
}

impl Subnet {
    pub(super) fn execute(self) -> Outcome {
        match self.verb {
            Verb::Create(verb) => verb.execute(),
            Verb::Delete(verb) => verb.execute(),
        }
    }
}
