//! The values of command-line options: text in, types that cannot be wrong
//! out.
//!
//! Each is parsed once, by `FromStr`, before anything is opened. Inner layers
//! see no text.

pub mod backing;
pub mod boot;
pub mod cmdline;
pub mod console;
pub mod cpus;
pub mod disk;
pub mod list;
pub mod mac;
pub mod net;
pub mod size;
pub mod smbios;

/// Text that is not a value, with what a value would look like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Invalid {
    /// An explanation that stands for itself.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}
