//! What a switch is made of in the kernel: network namespaces, links, taps,
//! addresses, routes, policy rules, neighbours, sysctls and nftables.
//!
//! Nothing here knows what a switch is for; whoever does calls this from top
//! to bottom:
//!
//! ```no_run
//! # use host::switch::kernel::{KernelError, Namespace, Netlink, Route, Target};
//! # fn main() -> Result<(), KernelError> {
//! let router = Namespace::create("plinth-a")?;
//! let guest = Namespace::create("plinth-b")?;
//! let net = Netlink::in_namespace(&router)?;
//! let port = net.add_veth("port", "eth0", &guest)?;
//! net.set_up(port)?;
//! net.add_route(&Route {
//!     destination: "192.0.2.7/32".parse().expect("a prefix"),
//!     table: 254,
//!     target: Target::Link(port),
//! })
//! # }
//! ```
//!
//! What is asked for and there already, the same in every respect, is success:
//! a caller that died half-way does it all again. What is there and differs is
//! [`KernelError::Taken`], and is left as it is. What is to go and is not there
//! is success, too.
//!
//! No program runs but `nft`, and the calling thread never leaves its network
//! namespace.

mod address;
mod bridge_port;
mod error;
#[cfg(test)]
mod fixture;
mod flood;
pub mod flows;
mod link;
mod link_change;
mod link_events;
mod link_kind;
mod namespace;
mod neighbour;
mod netlink;
mod new_link;
pub mod nft;
mod route;
mod rule;
pub mod sysctl;
pub mod tap;
#[cfg(test)]
mod tests;

pub use address::Address;
pub use bridge_port::PortFlags;
pub use error::KernelError;
pub use link::{Link, LinkIndex};
pub use link_events::LinkEvents;
pub use link_kind::{LinkKind, TapState, Vxlan};
pub use namespace::Namespace;
pub use neighbour::Neighbour;
pub use netlink::Netlink;
pub use route::{Route, Target};
pub use rule::{Family, Rule};
