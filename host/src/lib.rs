//! The layer above one virtual machine, and the `plinth` command line.
//!
//! Text becomes validated types in [`option`], names become open descriptors
//! in [`launch`], and a VM process of its own gets both: it parses no text
//! and opens nothing. From then on the machine is found in the [`registry`]
//! and operated by a [`client`]. Its disks may be in a [`volume`], its cables
//! end at a [`switch`]. [`doctor`]
//! says what this host can do.

pub mod amount;
pub mod boot_id;
pub mod cli;
pub mod client;
pub mod doctor;
pub mod durable;
pub mod error;
pub mod exit;
pub mod holder;
pub mod launch;
pub mod option;
pub mod printable;
pub mod private_directory;
pub mod progress;
pub mod registry;
pub mod resolvers;
pub mod shell;
pub mod snapshot;
pub mod switch;
pub mod volume;
