//! What a guest is told about itself: bytes in, bytes out.
//!
//! One [`Instance`] says all that there is to tell, and is told in two ways: by
//! the metadata service at 169.254.169.254, as on EC2, and on a disk labelled
//! `cidata` where there is no such service. Beside them are the two protocols
//! that a guest needs to get that far: DHCP, which gives it the address that it
//! has, and DNS, which gives it and its neighbours names.
//!
//! Nothing here opens, listens, waits or draws a random number: whoever has the
//! sockets and taps calls these functions with what came in, the time, and the
//! interface that it came from. A guest is known by that interface and never by
//! an address that it wrote into a packet.
//!
//! - [`instance`] and what it is made of: [`id`], [`text`], [`name`],
//!   [`ssh_key`], [`user_data`], [`options`], [`interface`].
//! - [`tree`] and [`identity`]: the instance as the paths that a guest asks for.
//! - [`token`], [`request`], [`response`], [`rate`], [`service`] and
//!   [`connection`]: the metadata service, from a path to a TCP stream.
//! - [`seed`] and [`cidata`]: the same for cloud-init's NoCloud.
//! - [`dhcp`]: a lease as messages.
//! - [`zone`] and [`dns`]: the names of a network, and answers about them.
//! - [`router`]: what is said of IPv6, by which the metadata service is reached, too.
//!
//! Whatever a guest sends is hostile: it is answered, refused or ignored, within
//! bounds, and never makes any of this panic.

pub mod cidata;
pub mod connection;
pub mod dhcp;
pub mod dns;
#[cfg(test)]
mod fixture;
pub mod id;
pub mod identity;
pub mod instance;
pub mod interface;
pub mod name;
pub mod options;
pub mod rate;
pub mod request;
pub mod response;
pub mod router;
pub mod seed;
pub mod service;
pub mod ssh_key;
pub mod text;
pub mod token;
pub mod tree;
pub mod user_data;
pub mod zone;

pub use instance::Instance;
pub use interface::Interface;
pub use options::Options;
