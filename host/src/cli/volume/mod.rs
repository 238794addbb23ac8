//! `plinth volume`: disks that outlive machines. One file for each verb.

mod check;
mod copy;
mod create;
mod delete;
mod describe;
mod encryption;
mod export;
mod import;
mod list;
mod load;
mod modify;
mod resize;
mod show;
mod speed;

use clap::{Args, Subcommand};

use crate::exit;

use super::Outcome;

/// Make volumes, look at them and change them
///
/// A volume is a disk that outlives the machine it is attached to, with a size
/// and a speed. It is called by the name it was made with, or by its id, which
/// its guest reads as the disk's serial number, without the dash:
///
///   plinth volume create data --size 20GiB
///   plinth run --volume data --kernel vmlinux
///   plinth vm attach web --volume data
///   plinth volume list
///
/// Volumes are in /var/lib/plinth for root, else in $XDG_DATA_HOME/plinth or
/// ~/.local/share/plinth; PLINTH_DATA_DIR names another directory.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = exit::HELP)]
pub(super) struct Volume {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Create),
    List(list::List),
    Show(show::Show),
    Resize(resize::Resize),
    Modify(modify::Modify),
    Copy(copy::Copy),
    Load(load::Load),
    Import(import::Import),
    Export(export::Export),
    Check(check::Check),
    Delete(delete::Delete),
}

impl Volume {
    pub(super) fn execute(self) -> Outcome {
        match self.verb {
            Verb::Create(verb) => verb.execute(),
            Verb::List(verb) => verb.execute(),
            Verb::Show(verb) => verb.execute(),
            Verb::Resize(verb) => verb.execute(),
            Verb::Modify(verb) => verb.execute(),
            Verb::Copy(verb) => verb.execute(),
            Verb::Load(verb) => verb.execute(),
            Verb::Import(verb) => verb.execute(),
            Verb::Export(verb) => verb.execute(),
            Verb::Check(verb) => verb.execute(),
            Verb::Delete(verb) => verb.execute(),
        }
    }
}
