//! A rule as commands name it.

use clap::Args;
use network::cidr::Cidr;
use network::name::Name;
use network::security_group::{Direction, Peer, Rule};
use network::traffic::Traffic;

/// A rule of a group.
#[derive(Debug, Args)]
pub(super) struct RuleArguments {
    /// Which packets: all, tcp, tcp:443, udp:6000-6100, icmp, icmp:8, icmp:3/4, or a
    /// protocol's number
    #[arg(value_name = "TRAFFIC")]
    traffic: Traffic,

    /// From which addresses they come, or to which they go
    #[arg(
        long,
        value_name = "RANGE",
        required_unless_present = "peers",
        conflicts_with = "peers"
    )]
    cidr: Option<Cidr>,

    /// From which group's machines they come, or to which they go
    #[arg(long = "group", value_name = "GROUP")]
    peers: Option<Name>,

    /// The rule is for what machines send, not for what comes to them
    #[arg(long)]
    egress: bool,
}

impl RuleArguments {
    pub(super) fn direction(&self) -> Direction {
        match self.egress {
            true => Direction::Outbound,
            false => Direction::Inbound,
        }
    }

    pub(super) fn rule(&self) -> Rule {
        let range = || self.cidr.unwrap_or(Cidr::ALL);
        let group = self.peers.clone().map(Peer::Group);
        Rule {
            traffic: self.traffic,
            peer: group.unwrap_or_else(|| Peer::Cidr(range())),
        }
    }
}
