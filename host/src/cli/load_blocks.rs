//! `plinth load-blocks`: what plinth runs beside a machine whose volume is still
//! being loaded from a snapshot. Not for people: its standard input is the
//! socket that blocks are asked for on, its standard output the volume's data.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use clap::Args;
use volume::id::SnapshotId;

use crate::error::Error;
use crate::exit::ExitStatus;
use crate::snapshot::block_reader::BlockReader;
use crate::snapshot::loader::serve;
use crate::snapshot::store::Location;

use super::Outcome;

/// Load blocks of a volume from a snapshot as a machine asks for them
#[derive(Debug, Args)]
pub(super) struct LoadBlocks {
    /// The snapshot's id
    #[arg(long, value_name = "SNAPSHOT")]
    snapshot: SnapshotId,

    /// The store that it is in
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
        let reader = BlockReader::open(self.store.open()?, self.snapshot)?;
        // Another may load into the same volume as soon as this process is gone:
        // a store that takes its time is not waited for.
        let closed = || std::process::exit(0);
        serve(&socket, &data, reader, self.rate, closed)?;
        Ok(ExitStatus::Success)
    }
}

fn own(stream: impl AsFd) -> Result<OwnedFd, Error> {
    let own = stream.as_fd().try_clone_to_owned();
    own.map_err(|error| Error::unexpected("a descriptor cannot be taken over").because(error))
}
