//! Tests that boot real guests under real KVM; they are in `tests/tests/`.
//!
//! They need a hardware KVM or the nested one of an outer machine, and fail
//! without one. `cargo xtask test --guest NAME` runs those that match NAME.
//!
//! This library is what the tests are told with: a [`Guest`], what it boots
//! ([`images`], [`BareKernel`]), its surroundings ([`DiskFile`], [`Volumes`],
//! [`Network`], [`Vsock`], [`Terminal`]), a [`Machine`] that is operated, and one that is
//! [`embedded`]. Whatever goes wrong here is a failed test, so everything panics
//! with a message instead of returning an error.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

mod bare_kernel;
mod disk;
mod embedded;
mod guest;
pub mod images;
mod machine;
mod network;
mod outcome;
mod running;
mod small_host;
mod stream;
mod terminal;
mod transcript;
mod volumes;
mod vsock;
pub mod write_log;

pub use bare_kernel::BareKernel;
pub use disk::DiskFile;
pub use embedded::{block, embedded, open_kvm};
pub use guest::Guest;
pub use machine::Machine;
pub use network::{Network, TapCounters};
pub use outcome::Outcome;
pub use running::Running;
pub use small_host::SmallHost;
pub use stream::{Stream, Tally};
pub use terminal::Terminal;
pub use transcript::Transcript;
pub use volumes::Volumes;
pub use vsock::{Vsock, converse};

/// No wait takes this long, even where everything is emulated twice: a boot
/// to a login, the longest of all, takes a tenth of it.
pub const BOUND: Duration = Duration::from_secs(180);

/// Looks until what it sees is what was waited for, and gives that; for what
/// nobody announces.
#[track_caller]
pub fn wait<T: Debug>(look: impl Fn() -> T, reached: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + BOUND;
    loop {
        let seen = look();
        if reached(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "it stays at {seen:?}");
        thread::sleep(Duration::from_millis(200));
    }
}
