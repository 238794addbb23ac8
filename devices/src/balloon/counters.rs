//! What a balloon has done so far, counted by its workers and read by whoever
//! wants to know, at any time.

use crate::counter::Counter;

/// Memory by the way that it went, in bytes, and what went wrong.
#[derive(Debug, Default)]
pub struct Counters {
    /// Put into the balloon, and given back to the host.
    pub inflated_bytes: Counter,
    /// Taken out of the balloon.
    pub deflated_bytes: Counter,
    /// Reported free, and given back to the host.
    pub reported_bytes: Counter,
    /// Mistakes of the driver: pages that it does not have or names twice,
    /// requests that are malformed or too long.
    pub faults: Counter,
    /// Times that the host did not take memory back.
    pub refusals: Counter,
}
