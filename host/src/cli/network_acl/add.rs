//! `plinth network-acl add`: a rule more.

use clap::Args;
use network::cidr::Cidr;
use network::network_acl::{AclRule, Action};
use network::traffic::Traffic;

use crate::exit::ExitStatus;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;
use super::rule::Place;

/// Let packets cross the borders of subnets, or drop them
///
/// Examples:
///   plinth network-acl add shop/private 90 inbound deny all --cidr 10.0.1.66
///   plinth network-acl add shop/private 100 inbound allow tcp:5432 --cidr 10.0.1.0/24
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Add {
    #[command(flatten)]
    place: Place,

    /// What is done: allow or deny
    #[arg(value_name = "ACTION")]
    action: Action,

    /// Which packets: all, tcp, tcp:443, udp:6000-6100, icmp, icmp:8, icmp:3/4, or a
    /// protocol's number
    #[arg(value_name = "TRAFFIC")]
    traffic: Traffic,

    /// From which addresses they come, or to which they go
    #[arg(long, value_name = "RANGE")]
    cidr: Cidr,
}

impl Add {
    pub(super) fn execute(self) -> Outcome {
        let (direction, number) = (self.place.direction(), self.place.number);
        let acl = self.place.acl;
        let rule = AclRule {
            action: self.action,
            traffic: self.traffic,
            cidr: self.cidr,
        };
        let switches = Switches::of_this_user()?;
        change::change(&switches, &acl.vpc, |vpc| {
            vpc.add_acl_rule(&acl.name, direction, number, rule)
        })?;
        Ok(ExitStatus::Success)
    }
}
