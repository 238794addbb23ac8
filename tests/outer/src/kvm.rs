//! Whether this host has a KVM that can run unmodified guests, so that no
//! outer machine is needed.

use std::fs::{self, File};

/// How guests under test can run on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvmUse {
    /// Hardware KVM, usable by this process.
    Direct,
    /// Only in an outer machine, for this reason.
    Nested(String),
}

/// Decides for this host. Direct use needs the processor's virtualization
/// extension, an openable `/dev/kvm`, and root (tests make taps and mounts).
pub fn usable_kvm() -> KvmUse {
    let nested = |why: &str| KvmUse::Nested(why.to_owned());
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
        return nested(&format!("/dev/kvm does not open: {error}"));
    }
    // A KVM device without the flag is a paravirtualised KVM, which runs only
    // kernels built for it.
    if !has_extension(&processors) {
        return nested("the processor shows neither vmx nor svm");
    }
    if !rustix::process::geteuid().is_root() {
        return nested("not root");
    }
    KvmUse::Direct
}

fn has_extension(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter(|line| line.starts_with("flags"))
        .flat_map(str::split_whitespace)
        .any(|flag| flag == "vmx" || flag == "svm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_is_a_flag_and_nothing_else() {
        assert!(has_extension("processor : 0\nflags\t\t: fpu svm sse\n"));
        assert!(has_extension("flags\t\t: fpu vmx\n"));
        assert!(!has_extension(
            "flags\t\t: fpu svm_lock\nvmx flags\t: vnmi\n"
        ));
        assert!(!has_extension("model name : svm\nflags\t\t: fpu\n"));
    }
}
