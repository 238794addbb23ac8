//! A way out for many under one address, by which nobody comes in.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::id::{Id, OfNatGateway};
use crate::name::Name;

/// A NAT gateway. What it sends on goes by the route table of its subnet, which
/// has to lead to the internet gateway. Which public address it has is said where
/// those are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGateway {
    /// What machines call it.
    pub id: Id<OfNatGateway>,
    /// Which subnet it is in.
    pub subnet: Name,
    /// Its address there: the next hop of the routes that lead to it.
    pub address: Ipv4Addr,
}
