//! Side-by-side benchmarks: plinth against other machine monitors, in one run
//! and under the same conditions.
//!
//! A [`peer`] says how one monitor boots a guest. [`boot`] runs the peers, each
//! in a deterministic machine of its own where the `boot-probe` binary watches
//! it, and [`table`] shows what was found. What the probe is told and what it
//! answers is in [`sample`].
//!
//! [`block`] has Debian's fio measure the peers' disks, and [`net`] our guests'
//! `guest traffic` their networks. [`limits`] measures plinth alone: how exact rate
//! limits are. [`volume`] does so, too: how long snapshots hold a guest back, how
//! late blocks come that are still in one, and how soon a volume made from one is
//! there; the `volume-probe` binary does it in the machine.

pub mod block;
pub mod boot;
mod fio;
mod libraries;
pub mod limits;
pub mod net;
pub mod peer;
mod retry;
pub mod sample;
pub mod table;
pub mod volume;
