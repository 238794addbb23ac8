//! The volumes of this user on this host, each a directory by its name (the
//! crate [`volume`](::volume) draws what is in it).
//!
//! No process keeps them. A volume is there when its directory has its name,
//! which a rename gives it and takes from it, so that of two who want a name
//! one gets it, and nobody sees half a volume. It is in use as long as
//! somebody holds the lock on its `data`, which goes with the descriptor to
//! the process of a machine and ends with it: nothing has to be tidied up
//! after a crash.

pub mod blocks;
mod change;
pub mod check;
mod claim;
pub mod copies;
pub mod copy;
pub mod delete;
pub mod directory;
pub mod encryption;
pub mod export;
mod extents;
#[cfg(test)]
pub(crate) mod fixture;
pub mod freezes;
pub mod freezing;
mod grow;
pub mod image;
pub mod import;
pub(crate) mod lock;
pub mod name;
pub mod new_volume;
pub mod open;
pub mod plaintext;
pub mod qcow2;
pub mod record;
pub mod root;
pub mod selector;
pub mod speed;
mod transfer;
pub mod usage;
