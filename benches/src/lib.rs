//! Side-by-side benchmarks: plinth against other machine monitors, in one run
//! and under the same conditions.
//!
//! A [`peer`] says how one monitor boots a guest. Each [`benchmark`] runs the
//! peers in a [`testbed`], and what comes of it is a [`report`]. [`boot`],
//! [`memory`], [`growth`], [`density`] and [`control`] have the `monitor-probe`
//! binary watch a monitor from beside it; what the probe is told and what it
//! answers is in [`probe`].
//!
//! [`block`] has Debian's fio measure the peers' disks, and [`net`] our guests'
//! `guest traffic` their networks. [`limits`] measures plinth alone: how exact rate
//! limits are. [`volume`] does so, too: how long snapshots hold a guest back, how
//! late blocks come that are still in one, and how soon a volume made from one is
//! there; the `volume-probe` binary does it in the machine.

pub mod benchmark;
pub mod block;
pub mod boot;
pub mod control;
pub mod density;
pub mod family;
mod file_system;
mod fio;
mod float;
pub mod growth;
mod guest;
mod known;
mod libraries;
pub mod limits;
pub mod memory;
pub mod net;
pub mod peer;
pub mod probe;
pub mod report;
mod retry;
mod tap;
pub mod testbed;
mod traces;
pub mod volume;
mod watch;
