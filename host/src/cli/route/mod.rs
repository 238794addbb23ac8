//! `plinth route`: where packets go that leave a network. One file for each verb.

mod add;
mod associate;
mod create_table;
mod delete;
mod delete_table;
mod list;

use clap::{Args, Subcommand};

use crate::exit;

use super::Outcome;

/// Say where packets go that are not for the network itself
///
/// A subnet's packets go by its route table, the one called 'main' unless another
/// is associated. The longest prefix wins, and what no route leads to is dropped.
/// The route to the network itself is always there and always holds.
///
///   plinth route add shop/main 0.0.0.0/0 internet-gateway
///   plinth route create-table shop/private
///   plinth route add shop/private 0.0.0.0/0 nat:egress
///   plinth route associate shop/back private
///   plinth route list shop
///
/// plinth internet-gateway and plinth nat-gateway make the ways out. A route to what
/// is gone since is a black hole.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = exit::HELP)]
pub(super) struct Route {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Add(add::Add),
    List(list::List),
    Delete(delete::Delete),
    CreateTable(create_table::CreateTable),
    DeleteTable(delete_table::DeleteTable),
    Associate(associate::Associate),
}

impl Route {
    pub(super) fn execute(self) -> Outcome {
        match self.verb {
            Verb::Add(verb) => verb.execute(),
            Verb::List(verb) => verb.execute(),
            Verb::Delete(verb) => verb.execute(),
            Verb::CreateTable(verb) => verb.execute(),
            Verb::DeleteTable(verb) => verb.execute(),
            Verb::Associate(verb) => verb.execute(),
        }
    }
}
