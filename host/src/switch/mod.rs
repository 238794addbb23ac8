//! Virtual switches: what guests are plugged into, and what survives of it.
//!
//! The state of a switch is a [`record`] in the [`directory`] of this user's
//! switches; what follows from it is for the crate `network` to say. [`live`]
//! makes the kernel of this host have it: a network namespace with taps, routes
//! and rules. A [`change`] is stored first and made then, and completed by whoever
//! comes next if its process was killed between the two: everything in the kernel
//! can be made anew from the record.

pub mod change;
pub mod directory;
pub mod gateway;
pub mod kernel;
pub mod live;
pub mod plug;
pub mod record;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod internet;
mod outside;
mod rules_compared;
#[cfg(test)]
mod tests;
