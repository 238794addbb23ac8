//! Virtual switches: what guests are plugged into, and what survives of it.
//!
//! The state of a switch is a [`record`] in the [`directory`] of this user's
//! switches; what follows from it is for the crate `network` to say. [`live`]
//! makes the kernel of this host have it: a network namespace with taps, routes
//! and rules; for a bridge, `live_bridge` does. A [`change`] is stored first and
//! made then, and completed by whoever comes next if its process was killed between
//! the two: everything in the kernel can be made anew from the record. What guests
//! ask a routed network itself is answered by its [`service`].

mod cable;
pub mod change;
pub mod directory;
pub mod gateway;
pub mod instance;
pub mod kernel;
pub mod live;
mod live_bridge;
mod open_vswitch;
mod outside;
pub mod peering;
pub mod plug;
pub mod record;
mod rules_compared;
pub mod service;
mod side;
mod taps;
mod uplink;
mod ways;

#[cfg(test)]
mod bridge_fixture;
#[cfg(test)]
mod bridge_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod guard_tests;
#[cfg(test)]
mod internet;
#[cfg(test)]
mod network_acl_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod uplink_tests;
