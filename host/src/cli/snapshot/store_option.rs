//! Which store a command is about.

use std::path::{self, Path};
use std::sync::Arc;

use clap::Args;

use crate::error::Error;
use crate::snapshot::store::{Location, Store};

/// The choice of a store.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct StoreOption {
    /// Where snapshots are: a directory or s3://BUCKET/PREFIX
    ///
    /// Without it, they are in the directory 'snapshots' beside the volumes.
    #[arg(
        long,
        value_name = "URL|PATH",
        env = "PLINTH_STORE",
        hide_env_values = true
    )]
    pub(in crate::cli) store: Option<Location>,
}

impl StoreOption {
    /// The place, which does not depend on where this command was given.
    pub(in crate::cli) fn location(self, data: &Path) -> Result<Location, Error> {
        match self.store {
            None => Ok(Location::beside_volumes(data)),
            Some(Location::Directory(given)) => {
                let absolute = path::absolute(&given).map_err(|error| {
                    let what = format!("store '{}' cannot be found", given.display());
                    Error::configuration(what).because(error)
                })?;
                Ok(Location::Directory(absolute))
            }
            Some(bucket) => Ok(bucket),
        }
    }

    /// Opens a store that somebody has made: a directory that is named but not
    /// there was named wrongly.
    pub(in crate::cli) fn open(self, data: &Path) -> Result<Arc<dyn Store>, Error> {
        let named = self.store.is_some();
        let location = self.location(data)?;
        match &location {
            Location::Directory(path) if named && !path.is_dir() => {
                let what = format!("there is no store '{}'", path.display());
                Err(Error::configuration(what).remedy("the directory that has the snapshots"))
            }
            location => location.open(),
        }
    }
}
