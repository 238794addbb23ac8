//! Addresses by which parts of a network are known outside.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::id::{Id, OfPort, OfPublicAddress};
use crate::name::Name;

/// Where addresses are from that nobody gave: 198.19.0.0/16, half of what is set
/// aside for measurements between networks (RFC 2544, RFC 6890). No host and no
/// service has one, unlike those of 100.64.0.0/10 (RFC 6598), one of which the
/// host itself may well have from its provider. Only the host knows the way to
/// them: others see what leaves by the host's own address.
pub const POOL: &str = "198.19.0.0/16";

/// An address that a network has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAddress {
    /// What machines call it.
    pub id: Id<OfPublicAddress>,
    /// What it is associated with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
}

/// What is known outside by a public address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// The guest at a port.
    Port(Id<OfPort>),
    /// Whoever leaves by a NAT gateway.
    NatGateway(Name),
}

/// [`POOL`].
pub fn pool() -> Cidr {
    POOL.parse().expect("it is a range")
}

/// Whether others but the host know the way to `address`.
pub fn is_known_outside(address: Ipv4Addr) -> bool {
    !pool().contains(address)
}
