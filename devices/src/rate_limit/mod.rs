//! Rate limits: how many operations and bytes may pass in a second.
//!
//! Each of the two is a token bucket. A bucket holds up to its limit's *burst*
//! of tokens and gains *rate* of them in a second; an operation takes one from
//! one bucket and its bytes from the other. The semantics:
//!
//! - In any window of time pass at most burst + rate × time. With demand
//!   enough, just as many pass: tokens are counted in whole numbers from a
//!   fixed point in time, so nothing is rounded away, ever.
//! - Operations pass in the order in which they ask. One that must wait has
//!   taken its tokens already: none that is smaller overtakes it, and when it
//!   may pass is known to the nanosecond. So it costs nothing when a worker
//!   wakes late, or when the other of the two limits held the operation up: a
//!   window may hold that one more, for each worker.
//! - An operation that is larger than the burst passes when the bucket is
//!   full, and leaves it in debt: the next waits until the debt is paid.
//!   A window may then hold that operation instead of the burst.
//! - An operation whose size is known only when it is done passes while there
//!   is no debt, and is paid for by the next: a window may hold one more.
//! - What must not wait, since the device stops, passes at once and leaves a
//!   debt too: a limit stays exact across a pause.
//! - When limits change, a bucket stays as full as it was, as a fraction of
//!   its burst; a debt stays what it is, in tokens. A limit that there was not
//!   before begins with a full bucket.
//! - A burst that is not given is what the rate gives in 10 ms, at least one:
//!   small enough to be seen in no measurement, and large enough that a worker
//!   which wakes late by less has lost nothing.
//!
//! A [`Limiter`] is shared by everything that one pair of limits holds for and
//! by who changes them; each worker asks through a `Gate` of its own.
//!
//! Cost: while there is no limit, one load of an atomic for an operation. With
//! limits, two atomic exchanges and a look at the clock, and for a wait one
//! `timerfd_settime`. A lock is taken only to learn of limits that changed.

mod bucket;
mod gate;
mod limiter;
mod limits;

pub(crate) use gate::Gate;
pub use limiter::{Limiter, Throttled};
pub use limits::{BadLimit, Limit, Limits};
