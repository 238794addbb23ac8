//! `plinth address associate`: a machine is known by a public address.

use std::net::Ipv4Addr;

use clap::Args;

use crate::exit::ExitStatus;
use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;
use super::super::explain::End;

/// Have a machine be known by a public address, for as long as it is plugged in
///
/// The network needs an internet gateway. A machine that is started anew is given its
/// address by plinth run --net shop/front,public=203.0.113.7.
///
/// Examples:
///   plinth address associate shop/203.0.113.7 web
///   plinth address associate shop/203.0.113.7 10.0.1.10
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Associate {
    /// The network, and the public address
    #[arg(value_name = "VPC/ADDRESS")]
    address: InVpc<Ipv4Addr>,

    /// The machine's name, or its private address
    #[arg(value_name = "MACHINE")]
    machine: End,
}

impl Associate {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name: public } = self.address;
        let switches = Switches::of_this_user()?;
        let record = change::current(&switches, &vpc)?;
        let private = self.machine.address(record.vpc(&vpc)?)?;
        change::change(&switches, &vpc, |vpc| {
            let port = vpc.port_at(private)?.id;
            vpc.associate_address(public, port)
        })?;
        Ok(ExitStatus::Success)
    }
}
