//! A network interface of an instance, as the tree's `network/` tells it.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::id::InterfaceId;
use crate::text::Line;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An interface, with the network that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// What it is called.
    pub id: InterfaceId,
    /// Its Ethernet address, by which the tree names it.
    pub mac: Mac,
    /// Its place among the instance's; 0 is the first interface.
    pub device_number: u8,
    /// Its addresses, the one that DHCP gives first. A guest takes those after
    /// it for secondary ones.
    pub addresses: Vec<Ipv4Addr>,
    /// The address that reaches it from outside, if there is one.
    pub public_address: Option<Ipv4Addr>,
    /// Its subnet.
    pub subnet: Subnet,
    /// Its security groups.
    pub security_groups: Vec<SecurityGroup>,
}

/// A subnet, and the network that it is a part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// `subnet-…`.
    pub id: Line,
    /// Its addresses.
    pub cidr: Ipv4Net,
    /// `vpc-…`. Without it cloud-init believes in EC2-Classic.
    pub vpc: Line,
    /// The network's addresses, the first of them those it was made with.
    pub vpc_cidrs: Vec<Ipv4Net>,
}

/// A security group by both its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroup {
    /// `sg-…`.
    pub id: Line,
    /// What its maker called it.
    pub name: Line,
}
