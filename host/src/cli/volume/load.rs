//! `plinth volume load`: a volume gets all that it lacks, without a machine.

use std::env;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use clap::Args;
use vmm::process::termination::TerminationSignals;

use crate::error::Error;
use crate::exit::ExitStatus;
use crate::launch::loader::RATE;
use crate::snapshot::loader::fill::{Filled, fill};
use crate::snapshot::loader::turn;
use crate::snapshot::store::Location;
use crate::volume::directory::{Volume, Volumes};
use crate::volume::freezing::machine_of;
use crate::volume::selector::Selector;
use crate::volume::usage::LOAD;

use super::super::Outcome;
use super::super::snapshot::store_option::StoreOption;

/// Load all that a volume still lacks
///
/// A volume that was made from a snapshot, or is a copy, is there at once, and
/// loads what it holds when that is first read, and meanwhile, if it is attached
/// to a machine. This loads it without one, and waits until all is there. From
/// then on it needs no snapshot, and no volume that it is a copy of.
///
/// Whoever wants the volume meanwhile, such as plinth vm attach, gets it, and
/// this ends: what was loaded stays.
///
/// Examples:
///   plinth volume load data
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Load {
    /// The volume's name or id
    #[arg(value_name = "VOLUME")]
    volume: Selector,

    #[command(flatten)]
    store: StoreOption,

    /// Bytes in a second at most
    #[arg(long, value_name = "BYTES", hide = true)]
    rate: Option<u64>,
}

impl Load {
    pub(super) fn execute(self) -> Outcome {
        let mut volume = Volumes::of_this_user()?.find(&self.volume)?;
        let name = volume.name().clone();
        if let Some(machine) = machine_of(&volume)? {
            return Err(Error::configuration(format!(
                "volume '{name}' is attached to machine '{machine}', which has it loaded"
            ))
            .remedy(format!(
                "plinth volume show {name}, which says how far it is"
            )));
        }
        let store = Location::of_volume(&volume, self.store.store)?;
        // Before there are threads that could be told instead.
        let signals = TerminationSignals::block()
            .map_err(|error| Error::unexpected("signals cannot be waited for").because(error))?;
        match fill(&mut volume, &store, self.rate, signals.as_fd())? {
            Filled::Whole => Ok(ExitStatus::Success),
            Filled::Stopped => {
                let percent = volume.loaded()?.percent();
                Err(Error::host(format!(
                    "volume '{name}' is loaded to {percent} %: this was interrupted, or somebody \
                     wants the volume"
                ))
                .remedy(format!(
                    "plinth volume load {name}, which goes on from there"
                )))
            }
        }
    }
}

/// Loads what `volume` lacks in another process, which this one does not wait
/// for.
pub(super) fn load_behind(volume: &Volume) -> Result<(), Error> {
    let cannot = |error: io::Error| {
        let name = volume.name();
        let what = format!("volume '{name}' is made, and is not loaded yet: that cannot be begun");
        Error::host(what)
            .because(error)
            .remedy(format!("plinth volume load {name}"))
    };
    let log = turn::log(volume).map_err(cannot)?;
    let mut command = Command::new(env::current_exe().map_err(cannot)?);
    command
        .args(LOAD)
        .arg(volume.record().id.to_string())
        .args(["--rate", &RATE.to_string()])
        // In a group of its own, what interrupts a command in the foreground does
        // not end it.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command.spawn().map(drop).map_err(cannot)
}
