//! `plinth vm`: machines that run. One file for each verb.

mod attach;
mod console;
mod detach;
mod device;
mod events;
mod force_detach;
mod kill;
mod limit;
mod list;
mod metrics;
mod pause;
mod remove;
mod reset;
mod resize;
mod resume;
mod show;
mod stop;
mod waiting;

use clap::{Args, Subcommand};

use crate::exit;

use super::Outcome;

/// Look at running machines and change them
///
/// A machine is called by the name that plinth run gave it or printed:
///
///   plinth run --detach --name web --kernel vmlinux
///   plinth vm list
///   plinth vm console web
///   plinth vm stop web
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = exit::HELP)]
pub(super) struct Vm {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(list::List),
    Show(show::Show),
    Pause(pause::Pause),
    Resume(resume::Resume),
    Stop(stop::Stop),
    Kill(kill::Kill),
    Reset(reset::Reset),
    Attach(attach::Attach),
    Detach(detach::Detach),
    ForceDetach(force_detach::ForceDetach),
    Resize(resize::Resize),
    Limit(limit::Limit),
    Console(console::Console),
    Events(events::Events),
    Metrics(metrics::Metrics),
    Remove(remove::Remove),
}

impl Vm {
    pub(super) fn execute(self) -> Outcome {
        match self.verb {
            Verb::List(verb) => verb.execute(),
            Verb::Show(verb) => verb.execute(),
            Verb::Pause(verb) => verb.execute(),
            Verb::Resume(verb) => verb.execute(),
            Verb::Stop(verb) => verb.execute(),
            Verb::Kill(verb) => verb.execute(),
            Verb::Reset(verb) => verb.execute(),
            Verb::Attach(verb) => verb.execute(),
            Verb::Detach(verb) => verb.execute(),
            Verb::ForceDetach(verb) => verb.execute(),
            Verb::Resize(verb) => verb.execute(),
            Verb::Limit(verb) => verb.execute(),
            Verb::Console(verb) => verb.execute(),
            Verb::Events(verb) => verb.execute(),
            Verb::Metrics(verb) => verb.execute(),
            Verb::Remove(verb) => verb.execute(),
        }
    }
}
