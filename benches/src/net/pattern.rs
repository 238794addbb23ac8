//! What traffic is measured.

/// A pattern of `guest traffic` (guest-images/init/src/programs/traffic.rs), which
/// the guest asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What it is called.
    pub name: &'static str,
    /// For people, with the unit.
    pub title: &'static str,
    /// What its figure is.
    pub(super) figure: Figure,
}

/// What is made of what arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    /// Microseconds for each; less is better.
    Time,
    /// Of bytes, 10⁹ bits in a second.
    Gigabits,
    /// In a second.
    Rate,
}

/// All patterns.
pub const PATTERNS: [Pattern; 5] = [
    pattern("round-trips", "UDP there and back, µs", Figure::Time),
    pattern("stream-out", "TCP from the guest, Gbit/s", Figure::Gigabits),
    pattern("stream-in", "TCP to the guest, Gbit/s", Figure::Gigabits),
    pattern("packets-out", "64-byte UDP from the guest/s", Figure::Rate),
    pattern("packets-in", "64-byte UDP to the guest/s", Figure::Rate),
];

const fn pattern(name: &'static str, title: &'static str, figure: Figure) -> Pattern {
    Pattern {
        name,
        title,
        figure,
    }
}

impl Pattern {
    /// The pattern called `name`.
    pub fn named(name: &str) -> Option<Self> {
        PATTERNS.into_iter().find(|pattern| pattern.name == name)
    }
}
