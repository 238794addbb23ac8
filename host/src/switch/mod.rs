//! Virtual switches: what the taps of machines are connected to.

pub mod kernel;
