//! What traffic is measured.

use crate::float::float;
use crate::report::{Figure, Unit};

/// A pattern of `guest traffic` (guest-images/init/src/programs/traffic.rs), which
/// the guest asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What it is called.
    pub name: &'static str,
    /// For people.
    title: &'static str,
    /// What is made of what arrived: time for each, a rate of bits, or of packets.
    unit: Unit,
}

/// All patterns.
pub const PATTERNS: [Pattern; 5] = [
    pattern("round-trips", "UDP there and back", Unit::Nanoseconds),
    pattern("stream-out", "TCP from the guest", Unit::BitsPerSecond),
    pattern("stream-in", "TCP to the guest", Unit::BitsPerSecond),
    pattern("packets-out", "64-byte UDP from the guest", Unit::PerSecond),
    pattern("packets-in", "64-byte UDP to the guest", Unit::PerSecond),
];

const fn pattern(name: &'static str, title: &'static str, unit: Unit) -> Pattern {
    Pattern { name, title, unit }
}

impl Pattern {
    /// The pattern called `name`.
    pub fn named(name: &str) -> Option<Self> {
        PATTERNS.into_iter().find(|pattern| pattern.name == name)
    }

    pub(super) fn figure(&self) -> Figure {
        match self.unit {
            Unit::Nanoseconds => Figure::less(self.name, self.title, self.unit),
            _ => Figure::more(self.name, self.title, self.unit),
        }
    }

    /// Its figure, where so many bytes or packets arrived in so long a time.
    pub(super) fn value(&self, arrived: u64, nanoseconds: u64) -> f64 {
        let (arrived, nanoseconds) = (float(arrived), float(nanoseconds));
        match self.unit {
            Unit::Nanoseconds => nanoseconds / arrived,
            Unit::BitsPerSecond => arrived * 8e9 / nanoseconds,
            _ => arrived * 1e9 / nanoseconds,
        }
    }
}
