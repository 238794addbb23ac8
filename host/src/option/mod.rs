//! The values of command-line options: text in, types that cannot be wrong
//! out.
//!
//! Each is parsed once, before anything is opened, into the types that a
//! machine's configuration is made of; those say themselves what they take.
//! Here is what they do not know: units, lists, names of files.

pub mod backing;
pub mod boot;
pub mod console;
pub mod disk;
pub mod huge_pages;
pub mod list;
pub mod net;
pub mod size;
pub mod smbios;
pub mod transport;
pub mod vsock;

use vmm::CpuCount;

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

/// A number of vCPUs.
///
/// # Errors
/// It is no number, zero, or more than a guest can have.
pub fn cpus(text: &str) -> Result<CpuCount, Invalid> {
    let count: u64 = text
        .parse()
        .map_err(|_| Invalid::new(format!("a number of vCPUs is from 1 to {}", CpuCount::MAX)))?;
    CpuCount::new(count).map_err(Invalid::because)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_has_1_to_64_vcpus() {
        assert_eq!(cpus("1").unwrap().get(), 1);
        assert_eq!(cpus("64").unwrap().get(), 64);
        for text in ["0", "65", "1000", "-1", "two", "", "99999999999999999999"] {
            let error = cpus(text).unwrap_err().to_string();
            assert!(error.contains("1 to 64"), "{text}: {error}");
        }
    }
}
