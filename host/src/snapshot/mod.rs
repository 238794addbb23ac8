//! Snapshots: volumes as they were at a moment, in a store.
//!
//! A snapshot is two objects in a store, and the blocks that they name:
//!
//! ```text
//! records/snap-….json       what it is: its volume, size, time, wrapped key
//! manifests/snap-…          which block holds what, by SHA-256
//! chunks/ab/abcd…           the blocks, each once whoever needs it
//! ```
//!
//! A **chunk** is a block of 512 KiB ([`volume::BLOCK`]), named by the SHA-256
//! of what is in it, so that equal blocks of any snapshots are stored once, and
//! what is read can be checked against its name. Blocks of zeroes are not
//! stored. Chunks are written first, then the manifest, then the record: a
//! snapshot whose record is there is whole, and one without is none. Deletion
//! goes the other way, and [`collect`] removes what nobody names any more.
//!
//! - [`digest`], [`chunk`], [`manifest`], [`record`]: the formats.
//! - [`store`]: where objects are: a directory, or an S3 bucket.
//! - [`create`]: a volume is frozen, and what it held is stored.
//! - [`upload`], [`block_reader`]: a snapshot is written, and read.
//! - [`under_way`]: those that are not stored yet.
//! - [`catalog`]: those that there are; [`delete`], [`collect`], [`verify`],
//!   [`diff`]: what else is done with them.
//! - [`needs`]: which of them volumes need.
//! - [`lock`]: who must not be at work at the same time. One host owns a store.
//! - [`restore`]: a volume is made from a snapshot, at once.
//! - [`loader`]: fills a volume with what its snapshot holds.

pub mod block_reader;
pub mod catalog;
pub mod chunk;
pub mod collect;
pub mod create;
pub mod delete;
pub mod diff;
pub mod digest;
pub mod loader;
pub mod lock;
pub mod manifest;
pub mod needs;
pub mod object;
pub mod record;
pub mod restore;
pub mod store;
pub mod under_way;
pub mod upload;
pub mod verify;

#[cfg(test)]
mod test_blocks;
#[cfg(test)]
mod test_volume;
#[cfg(test)]
mod tests;
