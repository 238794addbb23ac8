//! A rule's place as commands name it.

use clap::{Args, ValueEnum};
use network::network_acl::Number;
use network::security_group::Direction;

use crate::option::in_vpc::InVpc;

/// Where a rule is.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The network, and the network ACL's name
    #[arg(value_name = "VPC/NAME")]
    pub(super) acl: InVpc,

    /// The rule's number, from 1 to 32766: lower ones come first
    #[arg(value_name = "NUMBER")]
    pub(super) number: Number,

    /// Whether it is about what comes into subnets or what leaves them
    #[arg(value_name = "DIRECTION")]
    direction: Which,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    Inbound,
    Outbound,
}

impl Place {
    pub(super) fn direction(&self) -> Direction {
        match self.direction {
            Which::Inbound => Direction::Inbound,
            Which::Outbound => Direction::Outbound,
        }
    }
}
