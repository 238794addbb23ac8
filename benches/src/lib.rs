//! Side-by-side benchmarks: plinth against other machine monitors, in one run
//! and under the same conditions.
//!
//! A [`peer`] says how one monitor boots a guest. [`boot`] runs the peers, each
//! in a deterministic machine of its own where the `boot-probe` binary watches
//! it, and [`table`] shows what was found. What the probe is told and what it
//! answers is in [`sample`].
//!
//! [`block`] has Debian's fio measure the peers' disks. [`limits`] measures
//! plinth alone: how exact rate limits are.

pub mod block;
pub mod boot;
mod fio;
mod libraries;
pub mod limits;
pub mod peer;
mod retry;
pub mod sample;
pub mod table;
