//! Guest memory: allocated ([`ram`]), shown to KVM ([`slots`]), filled
//! with what a boot plan names ([`load`]), and changed while the guest runs
//! ([`live`]), when a thread looks at how much of it there is ([`survey`]).

pub(crate) mod live;
pub(crate) mod load;
mod mapping;
pub(crate) mod ram;
pub(crate) mod slots;
mod survey;

pub use live::{BalloonStatus, MemoryStatus};
pub use ram::{Backing, MemoryConfig};
