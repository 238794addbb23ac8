//! `plinth explain`: what becomes of a packet, and why.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::str::FromStr;

use clap::Args;
use network::explain::{Packet, PacketKind, Step, explain, passes};
use network::name::Name;
use network::vpc::Vpc;
use serde_json::json;

use crate::error::Error;
use crate::exit::ExitStatus;
use crate::option::Invalid;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::Outcome;
use super::output::{Format, Output, print, print_json};

/// Say whether a packet would pass, and which rule, table or missing route decides
///
/// The packet is the first of a connection: security groups let answers pass where it
/// does, and network ACLs are asked about them, too. Either end is an address or the
/// name of a machine; one that is of no machine is outside, and so is this host. Exits
/// with status 1 if the packet, or its answers, would not pass.
///
/// Examples:
///   plinth explain shop/web db 5432
///   plinth explain shop/10.0.1.4 192.0.2.1 udp:53
///   plinth explain shop/web 10.0.1.5 icmp
///   plinth explain shop/198.51.100.7 203.0.113.7 443
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Explain {
    /// Who sends it, with its network: shop/web or shop/10.0.1.4
    #[arg(value_name = "VPC/FROM")]
    from: Sender,

    /// Whom it is for
    #[arg(value_name = "TO")]
    to: End,

    /// What it is: 443, tcp:443, udp:53, icmp, icmp:3/4, protocol:47
    #[arg(value_name = "PORT")]
    kind: PacketKind,

    #[command(flatten)]
    output: Output,
}

/// One end of a connection.
#[derive(Clone, Debug)]
pub(super) enum End {
    Address(Ipv4Addr),
    Machine(String),
}

/// An end, and where it is.
#[derive(Clone, Debug)]
struct Sender {
    vpc: Name,
    end: End,
}

impl FromStr for End {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let address = text.parse().map(Self::Address);
        Ok(address.unwrap_or_else(|_| Self::Machine(text.into())))
    }
}

impl FromStr for Sender {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (vpc, end) = text.split_once('/').ok_or_else(|| {
            Invalid::new("it is named with its network before it: shop/web, shop/10.0.1.4")
        })?;
        let vpc = vpc.parse().map_err(Invalid::because)?;
        let Ok(end) = end.parse();
        Ok(Self { vpc, end })
    }
}

impl End {
    pub(super) fn address(&self, vpc: &Vpc) -> Result<Ipv4Addr, Error> {
        let owner = match self {
            Self::Address(address) => return Ok(*address),
            Self::Machine(owner) => owner,
        };
        let mut ports = vpc.ports().values();
        let port = ports.find(|port| port.owner == *owner);
        port.map(|port| port.address).ok_or_else(|| {
            Error::configuration(format!("no machine '{owner}' is plugged into this network"))
                .remedy("an address, or a machine that plinth vpc show lists")
        })
    }
}

impl Explain {
    pub(super) fn execute(self) -> Outcome {
        let switches = Switches::of_this_user()?;
        let record = change::current(&switches, &self.from.vpc)?;
        let vpc = record.vpc(&self.from.vpc)?;
        let (from, to) = (self.from.end.address(vpc)?, self.to.address(vpc)?);
        let kind = self.kind;
        let packet = Packet { from, to, kind };
        let mut steps = explain(vpc, packet);
        if let Some(Step::Peered { peer, .. }) = steps.last() {
            let record = change::current(&switches, peer)?;
            steps.extend(explain(record.vpc(peer)?, packet));
        }
        let passes = passes(&steps);
        let verdict = match steps.last() {
            Some(Step::Answers { .. }) => "passes, and is not answered",
            _ if passes => "passes",
            _ => "is dropped",
        };
        let texts: Vec<String> = steps.iter().map(ToString::to_string).collect();
        match self.output.format {
            Format::Json => print_json(&json!({"passes": passes, "steps": texts}))?,
            Format::Table => print(&format!(
                "{kind} from {from} to {to} {verdict}\n  {}\n",
                texts.join("\n  ")
            ))?,
        };
        Ok(match passes {
            true => ExitStatus::Success,
            false => ExitStatus::Unexpected,
        })
    }
}
