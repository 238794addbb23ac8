//! `plinth peering`: ways from one network to another. One file for each verb.

mod create;
mod delete;
mod list;

use clap::{Args, Subcommand};

use crate::exit;

use super::Outcome;

/// Connect virtual private networks in pairs
///
/// By a peering go packets from machines of one network to machines of the other, as
/// far as groups and network ACLs of both let them, and once both have routes to it.
/// Nobody gets by way of the other network to a third or outside, nor has what it
/// answers its own guests. The two must not have an address in common. Rules name the
/// other's machines by addresses, not by groups.
///
///   plinth peering create partners shop bank
///   plinth route add shop/main 10.1.0.0/16 peering:partners
///   plinth route add bank/main 10.0.0.0/16 peering:partners
///   plinth security-group authorize bank/db tcp:5432 --cidr 10.0.1.0/24
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = exit::HELP)]
pub(super) struct Peering {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Create),
    List(list::List),
    Delete(delete::Delete),
}

impl Peering {
    pub(super) fn execute(self) -> Outcome {
        match self.verb {
            Verb::Create(verb) => verb.execute(),
            Verb::List(verb) => verb.execute(),
            Verb::Delete(verb) => verb.execute(),
        }
    }
}
