//! `plinth load-blocks`: what plinth runs beside a machine whose volume lacks
//! blocks. Not for people: its standard input is the socket that blocks are asked
//! for on, its standard output the volume's data.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use clap::Args;

use crate::error::Error;
use crate::exit::ExitStatus;
use crate::snapshot::loader::serve;
use crate::snapshot::loader::source::Source;
use crate::snapshot::store::Location;
use crate::volume::directory::Volumes;
use crate::volume::selector::Selector;

use super::Outcome;

/// Load blocks that a volume lacks as a machine asks for them
#[derive(Debug, Args)]
pub(super) struct LoadBlocks {
    /// The volume's id
    #[arg(long, value_name = "VOLUME")]
    volume: Selector,

    /// The store that its snapshot is in
    #[arg(long, value_name = "URL|PATH")]
    store: Location,

    /// How fast blocks are loaded that no guest waits for
    #[arg(long, value_name = "BYTES")]
    rate: Option<u64>,
}

impl LoadBlocks {
    pub(super) fn execute(self) -> Outcome {
        let socket = own(io::stdin())?;
        let data = File::from(own(io::stdout())?);
        let volume = Volumes::of_this_user()?.find(&self.volume)?;
        let source = Source::open(&volume, &self.store)?;
        // Another may load into the same volume as soon as this process is gone:
        // a store that takes its time is not waited for.
        let closed = || {
            if let Err(error) = volume.let_source_go() {
                eprintln!("plinth: {}", error.report());
            }
            std::process::exit(0)
        };
        serve(&socket, &data, source, self.rate, closed)?;
        Ok(ExitStatus::Success)
    }
}

fn own(stream: impl AsFd) -> Result<OwnedFd, Error> {
    let own = stream.as_fd().try_clone_to_owned();
    own.map_err(|error| Error::unexpected("a descriptor cannot be taken over").because(error))
}
