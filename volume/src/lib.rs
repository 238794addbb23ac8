//! What a block volume is on disk.
//!
//! This crate is files in, bytes out: it opens nothing (whoever calls it hands
//! it open files), and knows no virtual machine, no virtio and no network. It
//! is the one place that both the process of a virtual machine, which writes a
//! volume, and the host's commands, which make, check, snapshot and load it,
//! have their knowledge of it from. It takes no C and no async runtime.
//!
//! A volume named NAME is a directory:
//!
//! ```text
//! volumes/NAME/volume.json   what it is: id, kind, speed, wrapped key, origin
//!              data          what the guest sees, byte for byte (or its
//!                            ciphertext): a plain sparse file
//!              map           state and generation of each block
//!              freeze-ID     for a snapshot under way, or a copy that lacks
//!                            blocks: what entries of the map were at the moment
//!              kept-ID       and what the blocks held that changed since
//! ```
//!
//! An offset in the guest's disk is the same offset in `data`, always: nothing
//! is ever relocated, so a settled volume is as fast as its file. A **block**
//! is 512 KiB ([`BLOCK`]); its **state** ([`entry::State`]) says whether `data`
//! holds it, and its **generation** when it last changed. Generations count
//! snapshots: taking one begins the next.
//!
//! - [`size`] and [`id`]: what is valid at all.
//! - [`entry`] and [`leaf`]: one block's entry, and the sector that holds 126.
//! - [`header`], [`journal`] and [`map`]: the file `map`, durable or not at all.
//! - [`freeze`] and [`frozen`]: a volume as it was at a moment, while it goes
//!   on changing: the writer's side and the reader's.
//! - [`fetch`]: how a block that is still in a snapshot is asked for.
//! - [`cipher`]: AES-256-XTS, which encrypts `data`.
//! - [`check`]: what is wrong with a volume.
//!
//! # Who changes what
//!
//! While a volume is attached, the process of the virtual machine alone changes
//! `map` and `freeze-*`; the loader writes into `data` only the block that it
//! was asked for, and only until it has answered. Readers of a frozen state
//! (upload, copy) change nothing but the "taken" marks of its freeze.

pub mod check;
pub mod cipher;
pub mod entry;
pub mod fetch;
mod field;
pub mod freeze;
pub mod frozen;
pub mod header;
pub mod id;
pub mod journal;
pub mod leaf;
pub mod map;
pub mod size;

/// Bytes in a block: what the map describes by one entry, and what a snapshot
/// stores as one chunk. The block of EBS snapshots (EBS direct APIs,
/// BlockSize).
pub const BLOCK: u64 = 512 * 1024;
