//! The options that say how fast a volume is.

use clap::Args;

use crate::error::Error;
use crate::volume::name::VolumeName;
use crate::volume::speed::{Asked, BadSpeed, Kind};

/// Kind, operations and throughput.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct SpeedOptions {
    /// What kind of volume, which says what speeds it can have
    ///
    /// standard: 3,000 to 80,000 IOPS and 125 to 2,000 MiB/s, the least of both
    /// unless more is asked for. provisioned: 100 to 256,000 IOPS, which must
    /// be given, and 25 to 4,000 MiB/s; if not given, what that many operations
    /// of 256 KiB move.
    #[arg(long = "type", value_name = "TYPE")]
    pub(super) kind: Option<Kind>,

    /// Operations in a second
    #[arg(long, value_name = "N")]
    pub(super) iops: Option<u64>,

    /// Throughput in MiB in a second
    #[arg(long, value_name = "MiB/s")]
    pub(super) throughput: Option<u64>,
}

impl SpeedOptions {
    pub(super) fn asked(self) -> Asked {
        Asked {
            kind: self.kind,
            iops: self.iops,
            throughput: self.throughput,
        }
    }
}

/// The volume called `name` cannot have that speed.
pub(super) fn refused(name: &VolumeName, error: BadSpeed) -> Error {
    Error::configuration(format!("volume '{name}' cannot have that speed"))
        .because(error)
        .remedy("another --type, --iops or --throughput: plinth volume create --help lists them")
}
