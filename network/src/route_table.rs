//! Where the packets of a subnet's ports go. The longest prefix wins; the route
//! to the network itself is always there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::id::{Id, OfInternetGateway, OfNatGateway, OfPeering, OfPort, OfRouteTable};

/// The table that every network has, and subnets that are given no other.
pub const MAIN: &str = "main";

/// A route table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// What machines call it.
    pub id: Id<OfRouteTable>,
    /// What the kernel calls it: a table's number, and the mark of the packets
    /// that go by it. No other table of the network has it.
    pub number: u32,
    /// Routes other than the local one, by where they lead.
    pub routes: BTreeMap<Cidr, Target>,
}

/// Who takes the packets that go by a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// A guest that routes.
    Port(Id<OfPort>),
    /// Outside, for those that have a public address.
    InternetGateway(Id<OfInternetGateway>),
    /// Outside, under the gateway's public address.
    NatGateway(Id<OfNatGateway>),
    /// Another network.
    Peering(Id<OfPeering>),
    /// Nobody.
    Blackhole,
}

impl RouteTable {
    /// The route that all of `range` goes by if none is about a part of it.
    pub fn longest(&self, range: Cidr) -> Option<(Cidr, Target)> {
        let routes = self.routes.iter();
        routes
            .filter(|(destination, _)| destination.covers(range))
            .max_by_key(|(destination, _)| destination.prefix())
            .map(|(destination, target)| (*destination, *target))
    }
}
