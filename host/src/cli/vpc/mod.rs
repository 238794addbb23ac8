//! `plinth vpc`: routed networks of their own. One file for each verb.

mod create;
mod delete;
mod list;
mod show;

use clap::{Args, Subcommand};

use crate::exit;

use super::Outcome;

/// Make virtual private networks, look at them and remove them
///
/// A network has addresses of its own, which other networks on this host may have
/// as well: they never meet. Its subnets are parts of them; machines are plugged
/// into subnets, and security groups say who may talk to whom:
///
///   plinth vpc create shop --cidr 10.0.0.0/16
///   plinth subnet create shop/front --cidr 10.0.1.0/24
///   plinth run --net shop/front --kernel vmlinux
///
/// It takes root, since networks are made of the kernel's. They are stored where
/// volumes are, and made anew after the host has booted: plinth switch up.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = exit::HELP)]
pub(super) struct Vpc {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Create),
    List(list::List),
    Show(show::Show),
    Delete(delete::Delete),
}

impl Vpc {
    pub(super) fn execute(self) -> Outcome {
        match self.verb {
            Verb::Create(verb) => verb.execute(),
            Verb::List(verb) => verb.execute(),
            Verb::Show(verb) => verb.execute(),
            Verb::Delete(verb) => verb.execute(),
        }
    }
}
