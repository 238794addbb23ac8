//! Tests that boot real guests under real KVM; they are in `tests/tests/`.
//!
//! They need a hardware KVM or the nested one of an outer machine, and fail
//! without one. `cargo xtask test --guest NAME` runs those that match NAME.
//!
//! This library is what the tests are told with: a [`Guest`], what it boots
//! ([`images`], [`BareKernel`]), and its surroundings ([`DiskFile`],
//! [`Network`], [`Vsock`], [`Terminal`]). Whatever goes wrong here is a failed test, so
//! everything panics with a message instead of returning an error.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::time::Duration;

mod bare_kernel;
mod disk;
mod guest;
pub mod images;
mod network;
mod outcome;
mod running;
mod stream;
mod terminal;
mod transcript;
mod vsock;

pub use bare_kernel::BareKernel;
pub use disk::DiskFile;
pub use guest::Guest;
pub use network::{Network, TapCounters};
pub use outcome::Outcome;
pub use running::Running;
pub use stream::{Stream, Tally};
pub use terminal::Terminal;
pub use transcript::Transcript;
pub use vsock::{Vsock, converse};

/// No wait takes this long, even where everything is emulated twice: a boot
/// to a login, the longest of all, takes a tenth of it.
pub const BOUND: Duration = Duration::from_secs(180);
