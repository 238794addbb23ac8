//! `plinth security-group`: who may talk to whom. One file for each verb.

mod authorize;
mod create;
mod delete;
mod list;
mod revoke;
mod rule;
mod show;

use clap::{Args, Subcommand};

use crate::exit;

use super::Outcome;

/// Say which packets may come to machines, and leave them
///
/// A group's rules only allow; what no rule of a port's groups allows is dropped.
/// Answers to what was allowed pass. Rules hold at once, also for machines that
/// run, and between machines of one subnet; what is under way already goes on.
/// Every network has the group 'default', whose machines may talk to each other
/// and send anything.
///
///   plinth security-group create shop/web
///   plinth security-group authorize shop/web tcp:443 --cidr 0.0.0.0/0
///   plinth security-group authorize shop/db tcp:5432 --group web
///   plinth run --net shop/front,security-group=web --kernel vmlinux
///   plinth explain shop/web db tcp:5432
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = exit::HELP)]
pub(super) struct SecurityGroup {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Create),
    List(list::List),
    Show(show::Show),
    Authorize(authorize::Authorize),
    Revoke(revoke::Revoke),
    Delete(delete::Delete),
}

impl SecurityGroup {
    pub(super) fn execute(self) -> Outcome {
        match self.verb {
            Verb::Create(verb) => verb.execute(),
            Verb::List(verb) => verb.execute(),
            Verb::Show(verb) => verb.execute(),
            Verb::Authorize(verb) => verb.execute(),
            Verb::Revoke(verb) => verb.execute(),
            Verb::Delete(verb) => verb.execute(),
        }
    }
}
