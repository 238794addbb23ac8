//! Counts as the numbers that figures are made of.

/// Counts, times in nanoseconds and sizes are far below 2⁵².
pub(crate) fn float(value: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let float = value as f64;
    float
}
