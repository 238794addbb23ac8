//! A block device (virtio 1.3 §5.2): a disk in a file.
//!
//! From the guest inwards: the [`device`] front and its worker; a request is
//! parsed into an operation on a [`disk`], which an engine carries out that
//! was chosen when the file was [opened](open). Whoever opens the file
//! [`lock`]s it.
//!
//! System calls on the data path, per batch of requests: one
//! `io_uring_enter` to begin them, one `write` to the interrupt's eventfd;
//! none to learn of notifications or completions, whose eventfds are watched
//! edge-triggered and never read. What the page cache holds completes within
//! the `io_uring_enter`. The synchronous engine makes one `preadv`, `pwritev`,
//! `fdatasync` or `fallocate` per request instead.

pub mod counters;
pub mod device;
pub mod disk;
pub mod error;
pub mod lock;
pub mod open;

mod aligned_disk;
mod backing;
mod config;
mod file_disk;
mod request;
mod uring_disk;
mod worker;

#[cfg(test)]
mod tests;
