//! `plinth snapshot collect`: frees what no snapshot needs.

use clap::Args;
use indicatif::BinaryBytes;
use serde_json::{Value, json};

use crate::snapshot::collect::{Collected, collect};
use crate::snapshot::lock::Collecting;
use crate::snapshot::needs::Needs;
use crate::snapshot::store::Freed;
use crate::volume::directory::Volumes;
use crate::volume::root;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::store_option::StoreOption;

/// Free what no snapshot needs
///
/// Deleting a snapshot does the same. It is needed after a snapshot or a deletion
/// was interrupted, or one was deleted while another was being stored. It can be
/// interrupted at any time itself.
///
/// Examples:
///   plinth snapshot collect
///   plinth snapshot collect --output json | jq .freed_bytes
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Collect {
    /// Wait until no snapshot is being stored
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    store: StoreOption,

    #[command(flatten)]
    output: Output,
}

impl Collect {
    pub(super) fn execute(self) -> Outcome {
        let data = root::locate()?;
        let store = self.store.open(&data)?;
        let lock = match self.wait {
            true => Collecting::wait(&data)?,
            false => Collecting::now(&data)?,
        };
        let under_way = Needs::of(&Volumes::at(&data))?.chunks()?;
        let collected = collect(&*store, under_way, &lock, &mut |_| {})?;
        match self.output.format {
            Format::Json => print_json(&describe(&collected)),
            Format::Table => print(&told(&collected)),
        }
    }
}

/// All that was freed.
fn freed(collected: &Collected) -> Freed {
    let parts = [collected.chunks, collected.manifests, collected.leftovers];
    Freed {
        objects: parts.iter().map(|part| part.objects).sum(),
        bytes: parts.iter().map(|part| part.bytes).sum(),
    }
}

fn describe(collected: &Collected) -> Value {
    let freed = freed(collected);
    json!({
        "snapshots": collected.snapshots,
        "kept_chunks": collected.kept.objects,
        "kept_bytes": collected.kept.bytes,
        "freed_chunks": collected.chunks.objects,
        "freed_manifests": collected.manifests.objects,
        "freed_leftovers": collected.leftovers.objects,
        "freed_bytes": freed.bytes,
    })
}

fn told(collected: &Collected) -> String {
    let (freed, kept) = (freed(collected), collected.kept);
    format!(
        "freed {} in {} objects; {} in {} chunks are kept for {} snapshots\n",
        BinaryBytes(freed.bytes),
        freed.objects,
        BinaryBytes(kept.bytes),
        kept.objects,
        collected.snapshots,
    )
}
