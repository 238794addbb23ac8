//! What micro-benchmarks measure of this crate's inside, which is private
//! otherwise: there with the feature `fake-driver` alone.

use std::io;
use std::sync::Arc;

use crate::block::disk::DiskInfo;
use crate::block::request;
use crate::clock::Timer;
use crate::rate_limit::{Gate, Limiter, Limits};
use crate::virtio::chain::Chain;

/// Takes a block request's header and status off `chain`, as a disk's worker does.
/// Whether it is one that `disk` can do.
pub fn parse_block_request(chain: &mut Chain, disk: &DiskInfo) -> bool {
    request::is_sound(chain, disk)
}

/// A worker's way past a rate limit.
pub struct LimitedPath(Gate<Timer>);

impl LimitedPath {
    /// Past `limits`, if there are any.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new(limits: Option<Limits>) -> io::Result<Self> {
        let limiter = Arc::new(Limiter::default());
        limiter.set(limits);
        Ok(Self(limiter.gate(Timer::new()?)?))
    }

    /// Whether an operation on `bytes` may pass.
    pub fn admits(&mut self, bytes: u64) -> bool {
        self.0.admits(bytes)
    }
}
