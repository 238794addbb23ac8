//! `plinth snapshot`: volumes as they were at a moment. One file for each verb.

mod collect;
mod create;
mod delete;
mod describe;
mod diff;
mod list;
mod show;
pub(super) mod store_option;
mod verify;

use clap::{Args, Subcommand};

use crate::exit;

use super::Outcome;

/// Take snapshots of volumes, look at them, compare and delete them
///
/// A snapshot is a volume as it was at a moment. It is called by its id:
///
///   plinth snapshot create data
///   plinth snapshot list
///   plinth snapshot verify snap-0123456789abcdef0
///   plinth snapshot diff snap-0123456789abcdef0 snap-0123456789abcdef1
///   plinth snapshot delete snap-0123456789abcdef0
///
/// Snapshots are in a store: a directory, or a bucket of any server that speaks
/// S3. A bucket is reached as AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID
/// and AWS_SECRET_ACCESS_KEY say. A store belongs to one host.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = exit::HELP)]
pub(super) struct Snapshot {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Create),
    List(list::List),
    Show(show::Show),
    Diff(diff::Diff),
    Verify(verify::Verify),
    Delete(delete::Delete),
    Collect(collect::Collect),
}

impl Snapshot {
    pub(super) fn execute(self) -> Outcome {
        match self.verb {
            Verb::Create(verb) => verb.execute(),
            Verb::List(verb) => verb.execute(),
            Verb::Show(verb) => verb.execute(),
            Verb::Diff(verb) => verb.execute(),
            Verb::Verify(verb) => verb.execute(),
            Verb::Delete(verb) => verb.execute(),
            Verb::Collect(verb) => verb.execute(),
        }
    }
}
