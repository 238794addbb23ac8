//! `plinth address`: by which addresses networks are known outside. One file for each
//! verb.

mod allocate;
mod associate;
mod disassociate;
mod list;
mod release;

use clap::{Args, Subcommand};

use crate::exit;

use super::Outcome;

/// Give networks public addresses, and associate them with machines
///
/// One that is given with --address is to be routed to this host by whoever is outside.
/// Others are of 198.19.0.0/16, to which only this host and its networks know the way:
/// who leaves with one is seen outside as this host, and only this host gets in.
///
///   plinth address allocate shop --address 203.0.113.7
///   plinth address associate shop/203.0.113.7 web
///   plinth address list
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = exit::HELP)]
pub(super) struct Address {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Allocate(allocate::Allocate),
    List(list::List),
    Associate(associate::Associate),
    Disassociate(disassociate::Disassociate),
    Release(release::Release),
}

impl Address {
    pub(super) fn execute(self) -> Outcome {
        match self.verb {
            Verb::Allocate(verb) => verb.execute(),
            Verb::List(verb) => verb.execute(),
            Verb::Associate(verb) => verb.execute(),
            Verb::Disassociate(verb) => verb.execute(),
            Verb::Release(verb) => verb.execute(),
        }
    }
}
