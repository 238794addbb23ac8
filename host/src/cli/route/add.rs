//! `plinth route add`: another way out of a network.

use std::net::Ipv4Addr;
use std::str::FromStr;

use clap::Args;
use network::cidr::Cidr;
use network::name::Name;
use network::refused::Refused;
use network::route_table::Target;
use network::vpc::Vpc;

use crate::exit::ExitStatus;
use crate::option::Invalid;
use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;

/// Add a route to a route table
///
/// Its target is 'internet-gateway', by which those leave that have a public
/// address; nat:NAME, by which all others can; peering:NAME, by which one comes to
/// another network; the address of a machine that routes, which needs its source check
/// off (plinth run --net shop/front,source-check=off); or 'blackhole'.
///
/// Examples:
///   plinth route add shop/main 0.0.0.0/0 internet-gateway
///   plinth route add shop/private 0.0.0.0/0 nat:egress
///   plinth route add shop/main 10.1.0.0/16 peering:bank
///   plinth route add shop/inspected 0.0.0.0/0 10.0.2.4
///   plinth route add shop/main 192.0.2.0/24 blackhole
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Add {
    /// The network, and the route table's name
    #[arg(value_name = "VPC/TABLE")]
    table: InVpc,

    /// Where it leads
    #[arg(value_name = "RANGE")]
    destination: Cidr,

    /// Who takes the packets: internet-gateway, nat:NAME, peering:NAME, a machine's
    /// address, or blackhole
    #[arg(value_name = "TARGET")]
    target: Wanted,
}

/// What the internet gateway is called as a target.
pub(super) const INTERNET_GATEWAY: &str = "internet-gateway";
/// What is before a NAT gateway's name.
pub(super) const NAT: &str = "nat:";
/// What is before a peering's.
pub(super) const PEERING: &str = "peering:";

/// A target as the user names it.
#[derive(Clone, Debug)]
enum Wanted {
    Address(Ipv4Addr),
    InternetGateway,
    NatGateway(Name),
    Peering(Name),
    Blackhole,
}

impl FromStr for Wanted {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Some(name) = text.strip_prefix(NAT) {
            return name.parse().map(Self::NatGateway).map_err(Invalid::because);
        }
        if let Some(name) = text.strip_prefix(PEERING) {
            return name.parse().map(Self::Peering).map_err(Invalid::because);
        }
        match text {
            "blackhole" => Ok(Self::Blackhole),
            INTERNET_GATEWAY => Ok(Self::InternetGateway),
            address => address.parse().map(Self::Address).map_err(|_| {
                Invalid::new(
                    "a target is internet-gateway, nat:NAME, peering:NAME, the address of a \
                     machine, or blackhole",
                )
            }),
        }
    }
}

impl Wanted {
    fn find(&self, vpc: &Vpc) -> Result<Target, Refused> {
        match self {
            Self::Address(address) => vpc.port_at(*address).map(|port| Target::Port(port.id)),
            Self::InternetGateway => vpc.internet_gateway().map(Target::InternetGateway),
            Self::NatGateway(name) => vpc.nat_gateway_named(name).map(Target::NatGateway),
            Self::Peering(name) => vpc.peering_named(name).map(Target::Peering),
            Self::Blackhole => Ok(Target::Blackhole),
        }
    }
}

impl Add {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.table;
        let switches = Switches::of_this_user()?;
        change::change(&switches, &vpc, |vpc| {
            let target = self.target.find(vpc)?;
            vpc.add_route(&name, self.destination, target)
        })?;
        Ok(ExitStatus::Success)
    }
}
