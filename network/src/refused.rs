//! Why a network is not changed.

use std::net::{IpAddr, Ipv4Addr};

use crate::bridge::uplink::MOST_REMOTES;
use crate::bridge::{LARGEST_MTU, MOST_PORTS, SMALLEST_MTU};
use crate::cidr::Cidr;
use crate::id::{Id, OfInternetGateway, OfNatGateway, OfPeering, OfPort};
use crate::mac::Mac;
use crate::name::Name;
use crate::network_acl::{MOST_RULES as MOST_ACL_RULES, Number};
use crate::publication::Publication;
use crate::security_group::{Direction, MOST_RULES};
use crate::subnet::RESERVED;
use crate::vpc::{LONGEST_PREFIX, MOST_GROUPS_OF_A_PORT, SHORTEST_PREFIX};

/// A change that was refused; everything is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Too many addresses, or too few.
    #[error(
        "{0} does not do: networks and subnets are from /{SHORTEST_PREFIX} to /{LONGEST_PREFIX}"
    )]
    Size(Cidr),
    /// Addresses that mean something else to every host.
    #[error("{0} cannot be a network's: those addresses are of {1}")]
    Special(Cidr, &'static str),
    /// A subnet that is not in its network.
    #[error("subnet {subnet} is not within {vpc}, the network's addresses")]
    Outside {
        /// The subnet's addresses.
        subnet: Cidr,
        /// The network's.
        vpc: Cidr,
    },
    /// Two subnets with an address in common.
    #[error("{cidr} overlaps subnet '{other}' ({theirs})")]
    Overlap {
        /// What was asked for.
        cidr: Cidr,
        /// Who has it.
        other: Name,
        /// Their addresses.
        theirs: Cidr,
    },
    /// There is one of that name.
    #[error("there is a {what} '{name}' already")]
    Taken {
        /// A subnet, a security group, a route table.
        what: &'static str,
        /// Its name.
        name: Name,
    },
    /// There is none of that name.
    #[error("there is no {what} '{name}'{}", listed(there))]
    Unknown {
        /// A subnet, a security group, a route table.
        what: &'static str,
        /// What was asked for.
        name: Name,
        /// Those that there are.
        there: Vec<Name>,
    },
    /// There is no such port.
    #[error("there is no port {0}")]
    UnknownPort(Id<OfPort>),
    /// No port has the address.
    #[error("no port has {0}")]
    NoPortAt(Ipv4Addr),
    /// Something needs it.
    #[error("{what} '{name}' is in use by {by}")]
    InUse {
        /// A subnet, a security group, a route table.
        what: &'static str,
        /// Its name.
        name: Name,
        /// What uses it.
        by: String,
    },
    /// What every network has.
    #[error("{what} '{name}' belongs to every network and goes with it")]
    Permanent {
        /// A security group or route table.
        what: &'static str,
        /// Its name.
        name: Name,
    },
    /// All addresses are given away.
    #[error("subnet '{0}' has no address left")]
    Exhausted(Name),
    /// An address that no port can have.
    #[error(
        "{address} cannot be a port's: subnet '{subnet}' has {cidr}, of which the first \
         {RESERVED} addresses and the last are reserved"
    )]
    BadAddress {
        /// What was asked for.
        address: Ipv4Addr,
        /// Of which subnet.
        subnet: Name,
        /// Its addresses.
        cidr: Cidr,
    },
    /// Another port has the address.
    #[error("{address} is taken by {by}")]
    AddressTaken {
        /// What was asked for.
        address: Ipv4Addr,
        /// Whose it is.
        by: String,
    },
    /// Another port has the MAC address.
    #[error("MAC address {mac} is taken by {by}")]
    MacTaken {
        /// What was asked for.
        mac: Mac,
        /// Whose it is.
        by: String,
    },
    /// No groups, or too many.
    #[error("a port has from 1 to {MOST_GROUPS_OF_A_PORT} security groups, not {0}")]
    GroupCount(usize),
    /// The group has the rule.
    #[error("security group '{0}' has that rule already")]
    RuleExists(Name),
    /// The group does not have the rule.
    #[error("security group '{0}' has no such rule")]
    NoSuchRule(Name),
    /// The group is full.
    #[error("security group '{group}' has {MOST_RULES} {direction} rules, the most it can")]
    TooManyRules {
        /// The group.
        group: Name,
        /// In which direction.
        direction: Direction,
    },
    /// The network ACL has a rule there.
    #[error("network ACL '{acl}' has an {direction} rule {number} already")]
    AclRuleExists {
        /// The network ACL.
        acl: Name,
        /// In which direction.
        direction: Direction,
        /// The rule's number.
        number: Number,
    },
    /// The network ACL has no rule there.
    #[error("network ACL '{acl}' has no {direction} rule {number}")]
    NoSuchAclRule {
        /// The network ACL.
        acl: Name,
        /// In which direction.
        direction: Direction,
        /// The rule's number.
        number: Number,
    },
    /// The network ACL is full.
    #[error("network ACL '{acl}' has {MOST_ACL_RULES} {direction} rules, the most it can")]
    TooManyAclRules {
        /// The network ACL.
        acl: Name,
        /// In which direction.
        direction: Direction,
    },
    /// The route leads to where one leads already.
    #[error("route table '{table}' has a route to {destination} already")]
    RouteExists {
        /// The table.
        table: Name,
        /// Where to.
        destination: Cidr,
    },
    /// No route leads there.
    #[error("route table '{table}' has no route to {destination}")]
    NoSuchRoute {
        /// The table.
        table: Name,
        /// Where to.
        destination: Cidr,
    },
    /// It would take packets away from the network itself.
    #[error("{0} is within the network or around it, whose own route always holds")]
    Local(Cidr),
    /// A bridge that is too narrow, or too wide.
    #[error("a bridge has an MTU from {SMALLEST_MTU} to {LARGEST_MTU}, not {0}")]
    Mtu(u16),
    /// The bridge is full.
    #[error("a bridge has {MOST_PORTS} ports, the most that Linux lets it")]
    TooManyPorts,
    /// A number that a tunnel cannot have.
    #[error("the number of a VXLAN is from 1 to {last}, and its port from 1 to 65535")]
    Tunnel {
        /// The last of the numbers.
        last: u32,
    },
    /// An address that no other end can be at.
    #[error(
        "{0} cannot be an end of a tunnel: those are addresses of different hosts, all of IPv4 or \
         all of IPv6"
    )]
    End(IpAddr),
    /// More ends than frames are sent to one by one.
    #[error("a VXLAN has {MOST_REMOTES} other ends at most, not {0}")]
    TooManyRemotes(usize),
    /// There is no such NAT gateway.
    #[error("there is no NAT gateway {0}")]
    UnknownNatGateway(Id<OfNatGateway>),
    /// Nothing leads out.
    #[error("the network has no internet gateway")]
    NoInternetGateway,
    /// One is enough.
    #[error("the network has an internet gateway already, {0}")]
    HasInternetGateway(Id<OfInternetGateway>),
    /// Somebody is known outside.
    #[error("the internet gateway is in use by {by}, which has the public address {address}")]
    InternetGatewayInUse {
        /// What uses it.
        by: String,
        /// By which address.
        address: Ipv4Addr,
    },
    /// An address that means something else.
    #[error("{address} cannot be a public address: it is of {whose}")]
    NotPublic {
        /// What was asked for.
        address: Ipv4Addr,
        /// Whose it is.
        whose: String,
    },
    /// Another network has the address, or this one.
    #[error("the public address {address} is taken by network '{by}'")]
    PublicAddressTaken {
        /// What was asked for.
        address: Ipv4Addr,
        /// Who has it.
        by: Name,
    },
    /// All addresses are given away.
    #[error("no public address is left in {0}")]
    NoPublicAddressLeft(Cidr),
    /// The network has it.
    #[error("the network has the public address {0} already")]
    PublicAddressExists(Ipv4Addr),
    /// There is no such address.
    #[error("the network has no public address {0}")]
    UnknownPublicAddress(Ipv4Addr),
    /// The address is associated with something.
    #[error("the public address {address} is in use by {by}")]
    PublicAddressInUse {
        /// Which.
        address: Ipv4Addr,
        /// What has it.
        by: String,
    },
    /// Nothing has the address.
    #[error("the public address {0} is associated with nothing")]
    NotAssociated(Ipv4Addr),
    /// One is enough.
    #[error("{what} has a public address already, {address}")]
    HasPublicAddress {
        /// What has it.
        what: String,
        /// Which.
        address: Ipv4Addr,
    },
    /// It is the gateway's for as long as there is the gateway.
    #[error("{address} is the public address of NAT gateway '{gateway}' as long as there is that")]
    AddressOfNatGateway {
        /// Which.
        address: Ipv4Addr,
        /// Whose.
        gateway: Name,
    },
    /// The host's port leads elsewhere.
    #[error("{wanted} cannot be published: {by} has {theirs}")]
    PublicationTaken {
        /// What was asked for.
        wanted: Publication,
        /// Whose it is.
        by: String,
        /// What they have.
        theirs: Publication,
    },
    /// There is no such peering.
    #[error("there is no peering {0}")]
    UnknownPeering(Id<OfPeering>),
    /// One is enough.
    #[error("the two are peered already: network '{peer}' is at the other end of peering '{by}'")]
    Peered {
        /// The other network.
        peer: Name,
        /// The peering.
        by: Name,
    },
    /// Nobody could tell whose an address is.
    #[error(
        "networks that are peered have no address in common: {own} overlaps {theirs} of network '{peer}'"
    )]
    PeersOverlap {
        /// The addresses of the one.
        own: Cidr,
        /// The other.
        peer: Name,
        /// Its addresses.
        theirs: Cidr,
    },
    /// There are more than there can be.
    #[error("{0}: there are as many networks or publications as there can be")]
    Full(String),
    /// The kernel has no random numbers.
    #[error("there is no id to be had")]
    NoId(#[from] std::io::Error),
}

fn listed(names: &[Name]) -> String {
    /// More would not be read.
    const TOLD: usize = 8;
    if names.is_empty() {
        return String::new();
    }
    let told: Vec<&str> = names.iter().take(TOLD).map(Name::as_str).collect();
    let more = if names.len() > TOLD { ", ..." } else { "" };
    format!("; there is {}{more}", told.join(", "))
}
