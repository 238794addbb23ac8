//! A block device (virtio 1.3 §5.2): a disk in a file.
//!
//! From the guest inwards: the [`device`] front and its workers, one for each
//! queue; a request is parsed into an operation on a [`disk`], which an engine
//! carries out that was chosen when the file was [opened](open). Whoever opens
//! the file [`lock`]s it. With a map beside it the file is a volume, whose blocks are
//! [looked up](mapped_disk) first. A [`handle`] limits, resizes and watches the device while it
//! runs.
//!
//! System calls on the data path, per batch of requests: the reactor's
//! `epoll_wait`, one `io_uring_enter` to begin them all, one `write` to the
//! interrupt's eventfd if the driver wants it. Notifications and completions
//! are never read. What the page cache holds, and buffered writes where the
//! file system takes them at once, complete within the `io_uring_enter`; what
//! does not costs another `epoll_wait`. Writethrough adds one
//! `io_uring_enter`. The synchronous engine makes one `preadv`, `pwritev`,
//! `fdatasync` or `fallocate` per request instead.

pub mod capacity;
pub mod counters;
pub mod device;
pub mod disk;
pub mod error;
pub mod handle;
pub mod id;
pub mod lock;
pub mod mapped_disk;
pub mod open;
pub mod waits;

mod aligned_disk;
mod backing;
mod bounce;
mod bounced_disk;
mod carrier;
mod config;
mod encrypted_disk;
mod file_disk;
mod joint_flush_disk;
mod limited_disk;
mod loader;
mod loading;
mod own_flush;
pub(crate) mod request;
mod resting_disk;
mod ring;
mod severed_disk;
mod slots;
mod uring_disk;
mod waiting_disk;
mod worker;

#[cfg(test)]
mod tests;
