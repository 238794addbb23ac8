//! `plinth nat-gateway`: ways out for many under one address. One file for each verb.

mod create;
mod delete;
mod list;

use clap::{Args, Subcommand};

use crate::exit;

use super::Outcome;

/// Make and delete NAT gateways
///
/// By a NAT gateway leave all whose subnet has a route to it, under its public address;
/// nobody comes in. It is in a subnet itself, whose route table is to lead to the
/// internet gateway.
///
///   plinth nat-gateway create shop/egress --subnet front
///   plinth route add shop/private 0.0.0.0/0 nat:egress
///   plinth nat-gateway list shop
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = exit::HELP)]
pub(super) struct NatGateway {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Create),
    List(list::List),
    Delete(delete::Delete),
}

impl NatGateway {
    pub(super) fn execute(self) -> Outcome {
        match self.verb {
            Verb::Create(verb) => verb.execute(),
            Verb::List(verb) => verb.execute(),
            Verb::Delete(verb) => verb.execute(),
        }
    }
}
