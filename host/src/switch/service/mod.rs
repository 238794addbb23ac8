//! What a routed network answers its guests itself: addresses by DHCP, names by
//! DNS, and the metadata service.
//!
//! A process of its own for each network does, from the first machine that is
//! plugged in to the end of the last ([`process`]). It stays in the host's network
//! namespace, where the host's resolvers are, and has sockets in the network's.
//! A guest is known by the tap that a packet comes by: each has sockets of its own
//! that are bound to it, so that nothing a guest writes says who it is. Who asks a name
//! server is known by its address, which the network's rules have be its own.
//!
//! - [`guests`]: from what is stored to what each guest is told; pure.
//! - [`process`]: its beginning and end.
//! - [`run`]: all sockets, and who is asked when one is ready.
//! - [`sockets`]: how they are opened.
//! - [`stream`]: a guest's TCP connection, which waits for nobody.
//! - [`names`]: questions that are for the host's resolvers.
//! - [`watch`]: how it learns that anything has changed.
//!
//! What a guest can have it hold is bounded: connections, questions under way,
//! and the time of each.

mod guests;
mod names;
pub mod process;
mod run;
mod sockets;
mod stream;
#[cfg(test)]
mod tests;
mod watch;

pub use process::{is_missing, run, start};
