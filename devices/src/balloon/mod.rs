//! A memory balloon (virtio 1.3 §5.5): the guest hands memory that it can do
//! without back to the host.
//!
//! The host sets a target through a [`BalloonHandle`](handle::BalloonHandle);
//! the driver inflates the balloon with pages of its choice, which the host
//! takes, or deflates it, and takes pages out of its own accord before it runs
//! out of memory. Independently of that, it reports pages as they become free,
//! and the host takes these too; the guest may use them again at any time.
//!
//! The [`device`] front starts a worker for each queue. What all of them and
//! the handle know in common is in [`shared`].

pub mod counters;
pub mod device;
pub mod handle;
pub mod statistics;

mod config;
mod page_numbers;
mod page_queue;
mod shared;
mod statistics_queue;

#[cfg(test)]
mod tests;
