//! Guest memory: allocated ([`ram`]), shown to KVM ([`slots`]) and filled
//! with what a boot plan names ([`load`]).

pub(crate) mod load;
mod mapping;
pub(crate) mod ram;
pub(crate) mod slots;

pub use ram::{Backing, MemoryConfig};
