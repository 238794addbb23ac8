//! What a virtual network is: pure data and what follows from it. Nothing here
//! opens, sends or runs anything.
//!
//! A [`Vpc`](vpc::Vpc) is a routed network of its own: subnets, route tables,
//! security groups, network ACLs, gateways, and ports that guests are plugged
//! into; a [`Bridge`](bridge::Bridge) is one segment of Ethernet. Whoever changes it calls a method that refuses what cannot be; then
//!
//! - [`ruleset`] says which nftables rules filter its packets and translate
//!   their addresses, and by what one transaction the kernel gets from one state
//!   to another;
//! - [`plan`] says which routes and policy rules the kernel is to have;
//! - [`explain`] says what becomes of a packet, and why.
//!
//! All three are pure functions of the state, so that what is in the kernel can
//! be made anew, compared and mended at any time. What networks of one host must
//! not have in common is in [`claims`].
//!
//! The design that keeps this simple: ports are *routed*, not bridged. Each has
//! a tap with a route to its one address, and the network's router answers ARP
//! for everybody (as a VPC's does). So there is no broadcast between guests,
//! rules hold inside a subnet as they do between subnets, and everything is
//! tracked and filtered where IP packets are forwarded.

pub mod bridge;
pub mod cidr;
pub mod claims;
pub mod explain;
pub mod id;
pub mod mac;
pub mod name;
pub mod nat_gateway;
pub mod network_acl;
pub mod peering;
pub mod plan;
pub mod port;
pub mod public_address;
pub mod publication;
pub mod refused;
pub mod route_table;
pub mod ruleset;
pub mod security_group;
pub mod subnet;
pub mod traffic;
pub mod uplink;
pub mod vpc;
