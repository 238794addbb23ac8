//! `plinth switch`: bridges, and what all kinds of virtual switches have in
//! common. One file for each verb.

mod check;
mod create;
mod delete;
pub(super) mod list;
mod show;
mod up;

use clap::{Args, Subcommand};

use crate::exit;

use super::Outcome;

/// Make bridges; make virtual switches anew after a boot, and check them
///
/// A bridge is a plain segment of Ethernet, whose machines send each other frames
/// as they are; an uplink connects it with the world. Routed networks, the other
/// kind of switch, are made with plinth vpc.
///
///   plinth switch create lan --bridge --uplink interface=eth1
///   plinth run --net lan --kernel vmlinux
///
/// Switches are stored where volumes are. What they are in the kernel is made
/// anew from that: after the host has booted, or when somebody changed it.
///
///   plinth switch up
///   plinth switch check
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = exit::HELP)]
pub(super) struct Switch {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Create),
    List(list::List),
    Show(show::Show),
    Delete(delete::Delete),
    Up(up::Up),
    Check(check::Check),
}

impl Switch {
    pub(super) fn execute(self) -> Outcome {
        match self.verb {
            Verb::Create(verb) => verb.execute(),
            Verb::List(verb) => verb.execute(),
            Verb::Show(verb) => verb.execute(),
            Verb::Delete(verb) => verb.execute(),
            Verb::Up(verb) => verb.execute(),
            Verb::Check(verb) => verb.execute(),
        }
    }
}
