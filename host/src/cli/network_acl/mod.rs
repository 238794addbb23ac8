//! `plinth network-acl`: what crosses the borders of subnets. One file for each verb.

mod add;
mod associate;
mod create;
mod delete;
mod list;
mod remove;
mod rule;
mod show;

use clap::{Args, Subcommand};

use crate::exit;

use super::Outcome;

/// Say which packets may leave subnets, and come into them
///
/// A subnet has one network ACL, the one called 'default' unless another is
/// associated. Of its rules, in the order of their numbers, the first that is about a
/// packet decides; what none is about is dropped. Answers need rules of their own:
/// most come to ports from 32768 to 60999. Rules hold at once, also for what is under
/// way, and not between machines of one subnet. What security groups do not allow is
/// dropped all the same. What a network answers its guests itself is always answered;
/// of what goes by a NAT gateway, the network ACL of the gateway's own subnet is not
/// asked.
///
///   plinth network-acl create shop/private
///   plinth network-acl add shop/private 100 inbound allow tcp:5432 --cidr 10.0.1.0/24
///   plinth network-acl add shop/private 100 outbound allow tcp:32768-60999 --cidr 10.0.1.0/24
///   plinth network-acl associate shop/back private
///   plinth explain shop/web db 5432
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = exit::HELP)]
pub(super) struct NetworkAcl {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Create),
    List(list::List),
    Show(show::Show),
    Add(add::Add),
    Remove(remove::Remove),
    Associate(associate::Associate),
    Delete(delete::Delete),
}

impl NetworkAcl {
    pub(super) fn execute(self) -> Outcome {
        match self.verb {
            Verb::Create(verb) => verb.execute(),
            Verb::List(verb) => verb.execute(),
            Verb::Show(verb) => verb.execute(),
            Verb::Add(verb) => verb.execute(),
            Verb::Remove(verb) => verb.execute(),
            Verb::Associate(verb) => verb.execute(),
            Verb::Delete(verb) => verb.execute(),
        }
    }
}
