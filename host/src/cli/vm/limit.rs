//! `plinth vm limit`: how much a disk or network interface may do in a second.

use clap::{ArgGroup, Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::client::request::{Request, segment};
use crate::error::Error;
use crate::exit::ExitStatus;
use crate::option::rate;
use crate::registry::name::VmName;

use super::super::Outcome;
use super::super::connection::Connection;

/// Limit what a disk or network interface may do in a second
///
/// What is not named is not limited: the new limits replace the old ones. With
/// --direction receive or transmit, they replace those of that direction, and
/// the other keeps its own. A burst is what may be done at once after idling;
/// without one it is what the rate gives in 10 ms.
///
/// Examples:
///   plinth vm limit web root --iops 3000 --iops-burst 300
///   plinth vm limit web net0 --bandwidth 100M --direction transmit
///   plinth vm limit web net0 --bandwidth 1G --direction receive
///   plinth vm limit web root --unlimited
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[command(group = ArgGroup::new("limits").required(true).multiple(true).args(["iops", "bandwidth", "unlimited"]))]
pub(super) struct Limit {
    /// The machine
    #[arg(value_name = "VM")]
    name: VmName,

    /// The disk or network interface, as plinth vm show lists it
    device: String,

    /// Operations in a second: requests of a disk, packets of an interface
    #[arg(long, value_name = "N", value_parser = rate::operations, allow_hyphen_values = true)]
    iops: Option<u64>,

    /// Operations at once after idling
    #[arg(
        long,
        value_name = "N",
        value_parser = rate::operations,
        allow_hyphen_values = true,
        requires = "iops"
    )]
    iops_burst: Option<u64>,

    /// Bytes in a second, such as 100M
    #[arg(long, value_name = "SIZE", value_parser = rate::bytes, allow_hyphen_values = true)]
    bandwidth: Option<u64>,

    /// Bytes at once after idling, such as 10M
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = rate::bytes,
        allow_hyphen_values = true,
        requires = "bandwidth"
    )]
    bandwidth_burst: Option<u64>,

    /// No limit, or none in --direction
    #[arg(long, conflicts_with_all = ["iops", "bandwidth"])]
    unlimited: bool,

    /// Which way of a network interface, seen from the guest [default: both]
    #[arg(long, value_name = "WAY")]
    direction: Option<Direction>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Direction {
    /// What the guest receives
    Receive,
    /// What the guest sends
    Transmit,
    /// Each of the two, by as much
    Both,
}

impl Limit {
    pub(super) fn execute(self) -> Outcome {
        let mut connection = Connection::open(&self.name)?;
        let device = format!("/v1/devices/{}", segment(&self.device));
        let description = connection.document(&Request::get(device.as_str()))?;
        let body = match description["kind"].as_str() {
            Some("net") => self.of_an_interface(&description),
            _ if self.direction.is_some() => {
                return Err(Error::configuration(format!(
                    "'{}' is no network interface: it has no direction",
                    self.device
                ))
                .remedy("leaving out --direction"));
            }
            // Whether it can have limits, the machine knows.
            _ => self.limits(),
        };
        connection.ask(&Request::put(format!("{device}/limits")).body(body))?;
        Ok(ExitStatus::Success)
    }

    /// The limits as the control socket has them.
    fn limits(&self) -> Value {
        let fields = [
            ("operations_per_second", self.iops),
            ("operations_burst", self.iops_burst),
            ("bytes_per_second", self.bandwidth),
            ("bytes_burst", self.bandwidth_burst),
        ];
        let given = fields
            .into_iter()
            .filter_map(|(field, value)| Some((field.to_owned(), Value::from(value?))));
        Value::Object(Map::from_iter(given))
    }

    /// The limits of both directions, which the machine sets together: one
    /// that is not meant keeps those that `present` has.
    fn of_an_interface(&self, present: &Value) -> Value {
        let limits = if self.unlimited {
            Value::Null
        } else {
            self.limits()
        };
        let (receive, transmit) = match self.direction.unwrap_or(Direction::Both) {
            Direction::Receive => (limits, present["transmit"].clone()),
            Direction::Transmit => (present["receive"].clone(), limits),
            Direction::Both => (limits.clone(), limits),
        };
        json!({"receive": receive, "transmit": transmit})
    }
}
