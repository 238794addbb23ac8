//! `plinth serve-network`: what plinth runs as long as machines are plugged into a
//! routed network. Not for people: its standard error is the log, which whoever
//! started it has locked.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use clap::Args;
use network::name::Name;

use crate::error::Error;
use crate::exit::ExitStatus;
use crate::launch::descriptors;
use crate::switch::directory::Switches;
use crate::switch::service;

use super::Outcome;

/// Answer what the guests of a routed network ask the network itself
#[derive(Debug, Args)]
pub(super) struct ServeNetwork {
    /// The network's name
    #[arg(value_name = "VPC")]
    vpc: Name,
}

impl ServeNetwork {
    pub(super) fn execute(self) -> Outcome {
        // Each port has several sockets.
        descriptors::raise_limit();
        let log = io::stderr().as_fd().try_clone_to_owned();
        let log = log
            .map(File::from)
            .map_err(|error| Error::unexpected("the log cannot be taken over").because(error))?;
        service::run(&Switches::of_this_user()?, &self.vpc, &log)?;
        Ok(ExitStatus::Success)
    }
}
