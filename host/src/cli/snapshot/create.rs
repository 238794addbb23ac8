//! `plinth snapshot create`: volumes are kept as they are at one moment.

use std::env;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::json;

use crate::error::Error;
use crate::exit::ExitStatus;
use crate::progress::Progress;
use crate::registry::name::VmName;
use crate::snapshot::chunk::BLOCK;
use crate::snapshot::create::{Begun, begin, store};
use crate::snapshot::lock::{Adding, Referring};
use crate::volume::directory::{Volume, Volumes};
use crate::volume::freezes::PendingSnapshot;
use crate::volume::root;
use crate::volume::selector::Selector;
use crate::volume::usage::Usage;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::store_option::StoreOption;

/// Keep volumes as they are at this moment, and print the snapshots' ids
///
/// Whatever is written later is not in the snapshot, and the guest goes on. It
/// is stored afterwards, on its own: plinth snapshot list says how far it is.
/// Only blocks that changed since the last snapshot are stored. Volumes of one
/// machine are kept as they are at the same moment.
///
/// What a guest has not written to its disk yet is not there: fsfreeze in the
/// guest makes it write.
///
/// Examples:
///   plinth snapshot create data
///   plinth snapshot create --vm web --description "before the upgrade"
///   plinth snapshot create data log --wait
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Create {
    /// The volumes' names or ids
    #[arg(value_name = "VOLUME", required_unless_present = "vm")]
    volumes: Vec<Selector>,

    /// All volumes that this machine may write to
    #[arg(long, value_name = "VM", conflicts_with = "volumes")]
    vm: Option<VmName>,

    /// What to remember it by
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,

    /// Wait until it is stored
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    store: StoreOption,

    #[command(flatten)]
    output: Output,
}

impl Create {
    pub(super) fn execute(self) -> Outcome {
        let data = root::locate()?;
        let location = self.store.location(&data)?;
        let opened = location.open()?;
        let volumes = Volumes::of_this_user()?;
        let chosen = match &self.vm {
            Some(machine) => volumes_of(&volumes, machine)?,
            None => chosen(&volumes, &self.volumes)?,
        };
        let referring = Referring::wait(&data)?;
        let mut begun = begin(chosen, &*opened, &referring)?;
        // From its moment on, a snapshot says itself what it needs.
        drop(referring);
        if self.wait {
            let adding = Adding::wait(&data)?;
            for (volume, pending) in &mut begun.pending {
                let total = u64::from(volume.record().size.blocks()) * BLOCK as u64;
                let bar = Progress::new("storing", total);
                let mut progress = |figures: &crate::snapshot::upload::Figures| {
                    bar.reach(u64::from(figures.done) * BLOCK as u64);
                };
                let description = &self.description;
                store(
                    volume,
                    pending,
                    description,
                    &*opened,
                    &adding,
                    &mut progress,
                )?;
            }
        } else {
            for (volume, pending) in &begun.pending {
                store_behind(volume, pending, &self.description, &location.to_string())?;
            }
        }
        tell(&begun, self.output.format)
    }
}

fn chosen(volumes: &Volumes, selectors: &[Selector]) -> Result<Vec<Volume>, Error> {
    let mut chosen: Vec<Volume> = Vec::with_capacity(selectors.len());
    for selector in selectors {
        let volume = volumes.find(selector)?;
        if chosen.iter().any(|other| other.name() == volume.name()) {
            let name = volume.name();
            return Err(
                Error::configuration(format!("volume '{name}' is named twice"))
                    .remedy("naming each volume once"),
            );
        }
        chosen.push(volume);
    }
    Ok(chosen)
}

/// The volumes that `machine` has.
fn volumes_of(volumes: &Volumes, machine: &VmName) -> Result<Vec<Volume>, Error> {
    let mut its = Vec::new();
    for (_, volume) in volumes.all()? {
        // One that is damaged is not in use.
        let Ok(volume) = volume else { continue };
        let usage = Usage::of(&volume).unwrap_or(Usage::Available);
        if usage.machines().any(|user| user == machine) {
            its.push(volume);
        }
    }
    match its.is_empty() {
        false => Ok(its),
        true => Err(Error::configuration(format!(
            "machine '{machine}' does not run, or has no volumes"
        ))
        .remedy("plinth volume list, which says who has which")),
    }
}

/// Stores what was kept in another process, which this one does not wait for.
fn store_behind(
    volume: &Volume,
    pending: &PendingSnapshot,
    description: &str,
    store: &str,
) -> Result<(), Error> {
    let cannot = |error| {
        let what = format!("snapshot {} cannot be stored", pending.id);
        Error::unexpected(what).because(error)
    };
    let log = File::create(pending.log()).map_err(cannot)?;
    let mut command = Command::new(env::current_exe().map_err(cannot)?);
    command
        .args(["store-snapshot", "--snapshot", &pending.id.to_string()])
        .args(["--volume", volume.name().as_str(), "--store", store])
        .args(["--description", description])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command.spawn().map(drop).map_err(cannot)
}

fn tell(begun: &Begun, format: Format) -> Outcome {
    if format == Format::Json {
        let snapshots = begun.pending.iter().map(|(volume, pending)| {
            json!({
                "id": pending.id.to_string(),
                "volume": volume.record().id.to_string(),
                "volume_name": volume.name().as_str(),
            })
        });
        let snapshots: Vec<_> = snapshots.collect();
        let pauses: serde_json::Map<_, _> = begun
            .pauses
            .iter()
            .map(|(machine, pause)| {
                let micros = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
                (machine.to_string(), json!(micros))
            })
            .collect();
        return print_json(&json!({ "snapshots": snapshots, "pause_us": pauses }));
    }
    for (machine, pause) in &begun.pauses {
        eprintln!(
            "Disks of machine '{machine}' were held back for {:.1} ms.",
            pause.as_secs_f64() * 1000.0
        );
    }
    let ids = begun.pending.iter();
    let ids: Vec<String> = ids.map(|(_, pending)| pending.id.to_string()).collect();
    print(&(ids.join("\n") + "\n"))?;
    Ok(ExitStatus::Success)
}
