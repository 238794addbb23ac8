//! The values of command-line options: text in, types that cannot be wrong
//! out.
//!
//! Each is parsed once, before anything is opened, into the types that a
//! machine's configuration is made of; those say themselves what they take.
//! Here is what they do not know: units, lists, names of files.

pub mod backing;
pub mod boot;
pub mod console;
pub mod cpus;
pub mod disk;
pub mod duration;
pub mod huge_pages;
pub mod in_vpc;
pub mod limits;
pub mod list;
pub mod metadata;
pub mod net;
pub mod on_reset;
pub mod queues;
pub mod rate;
pub mod seed;
pub mod size;
pub mod smbios;
pub mod transport;
pub mod uplink;
pub mod volume;
pub mod vsock;

/// Text that is not a value, with what a value would look like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Invalid {
    /// An explanation that stands for itself.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    /// The explanation that a type gives of what it does not take.
    pub fn because(why: impl std::error::Error) -> Self {
        Self(why.to_string())
    }
}
