//! `plinth internet-gateway`: the way out of a network. One file for each verb.

mod attach;
mod detach;

use clap::{Args, Subcommand};

use crate::exit;

use super::Outcome;

/// Give a network a way out, or take it away
///
/// By an internet gateway leaves who has a public address and whose subnet has a route
/// to it; everything else stays inside. The gateway puts the public address in the
/// place of the private one, and back for whoever comes. Security groups are asked
/// about private addresses.
///
///   plinth internet-gateway attach shop
///   plinth route add shop/main 0.0.0.0/0 internet-gateway
///   plinth address allocate shop
///   plinth address associate shop/198.19.0.1 web
///
/// This host forwards what comes and goes, by interfaces that begin with 'plinth': its
/// ip_forward is turned on, and a firewall of its own must let that pass. The host
/// itself is not reached by guests, whatever its firewall says.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = exit::HELP)]
pub(super) struct InternetGateway {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Attach(attach::Attach),
    Detach(detach::Detach),
}

impl InternetGateway {
    pub(super) fn execute(self) -> Outcome {
        match self.verb {
            Verb::Attach(verb) => verb.execute(),
            Verb::Detach(verb) => verb.execute(),
        }
    }
}
