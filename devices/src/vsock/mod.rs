//! The virtio socket device (virtio 1.3 §5.10): streams between programs of
//! the guest and programs of the host.
//!
//! On the host's side they are Unix sockets. A host program connects to the
//! machine's socket, writes `CONNECT port\n`, reads `OK port\n` and has a
//! stream to what listens on that port in the guest ([`greeting`]). A guest's
//! connection to port P of the host, context id 2, goes to the socket of the
//! same name with `_P` behind it ([`host`]).
//!
//! [`device`] is the front. Its `worker` moves packets between the queues and
//! the `switchboard`, which knows all connections and whose turn it is; a
//! `connection` is one of them, with its `credit`, and the `lobby` is where
//! programs wait that have not said what they want. Data goes straight between
//! guest memory and a Unix socket, one system call a packet. Only what a slow
//! host program does not take at once is copied, into its `stream`'s `outbox`,
//! as far as the window goes that the connection was promised from the `pool`;
//! so a slow program holds up nobody else.
//!
//! Invariants: all memory and all work per wake are bounded; every packet that
//! belongs to nothing is answered with a reset; a connection that is lost was
//! closed by one end, or broke the rules.

mod cid;
mod connection;
pub mod counters;
mod credit;
pub mod device;
mod greeting;
mod header;
pub mod host;
mod lobby;
mod outbox;
mod pool;
mod ports;
mod socket;
mod stream;
mod switchboard;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

pub use cid::{GuestCid, NotAGuestCid};
pub use device::Vsock;
pub use host::{HostEnd, NotASocketStem, SocketStem};
